"""`owma docs`: the guides and the reference of all public names, as pages that need no network."""

import dataclasses
import sys
from pathlib import Path

from owma._internal.browser import show_page
from owma._internal.command import command, parse
from owma._internal.stdout import show_result


@dataclasses.dataclass(frozen=True)
class Docs:
    """Writes the guides and the reference of all public names as HTML pages, and opens them."""

    out: Path = Path("owma-docs")
    """The folder to write them into."""
    open: bool = True
    """Show them in a browser, where there is one."""
    check: bool = False
    """Whether every public name is there and every link leads somewhere; names what is not so, and opens nothing."""


def main() -> None:
    """Parse, write the pages and open them."""
    arguments = parse(Docs, prog="python -m owma.docs")
    from owma.docs.site import faults, write_site

    first = write_site(arguments.out)
    if arguments.check and (wrong := faults(arguments.out)):
        print("\n".join(wrong), file=sys.stderr)
        sys.exit(1)
    if arguments.open and not arguments.check and (refusal := show_page(first)):
        print(refusal, file=sys.stderr)
    show_result(first)


if __name__ == "__main__":
    command(main)
