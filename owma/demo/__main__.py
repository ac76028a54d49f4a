"""`owma demo`: one page that shows what adaptation does, with the small model that comes with owma.

Nothing is trained or computed for it: the numbers of the page are shipped, too.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

from owma._internal.browser import show_page
from owma._internal.command import command, enable_compilation_cache, parse, require_platform
from owma._internal.errors import ConfigError
from owma._internal.json import replace_text
from owma._internal.stdout import show_result


@dataclasses.dataclass(frozen=True)
class Demo:
    """Writes a page that shows what adaptation does, and opens it: data of two ways, of which the rare one pays."""

    out: Path = Path("owma-demo.html")
    """The file to write, which needs no other and no network."""
    open: bool = True
    """Show it in a browser, where there is one."""
    run: Path | None = None
    """A trained run on the two routes, runs/NAME, to make the page of; by default the model that comes with owma."""
    gif: Path | None = None
    """Instead of a page: the file of a moving picture of it, six seconds long."""
    drawing: Path | None = None
    """Instead of a page: the file of a drawing of one decision, as SVG."""
    act: int = 0
    """Instead of a page: episodes that the model acts in the simulator, with and without adaptation."""

    def __post_init__(self) -> None:
        if self.act < 0:
            raise ConfigError(f"act={self.act}: a number of episodes, 1 or more; 0 writes the page.")
        if self.gif is not None and self.gif.suffix != ".gif":
            raise ConfigError(f"gif={self.gif}: the name of a GIF file ends with .gif.")
        if self.drawing is not None and self.drawing.suffix != ".svg":
            raise ConfigError(f"drawing={self.drawing}: the name of an SVG file ends with .svg.")


def main() -> None:
    """Parse, write the page and open it, or act."""
    arguments = parse(Demo, prog="python -m owma.demo")
    if arguments.act:
        _act(arguments)
        return
    from owma.demo.page import page, shipped

    told = shipped() if arguments.run is None else _told(arguments.run)
    if arguments.gif is not None:
        from owma.demo.hero import moving_picture

        show_result(moving_picture(told, arguments.gif))
        return
    if arguments.drawing is not None:
        from owma.demo.drawing import decision_svg

        arguments.drawing.parent.mkdir(parents=True, exist_ok=True)
        replace_text(arguments.drawing, decision_svg(told))
        show_result(arguments.drawing)
        return
    text = page(told)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    replace_text(arguments.out, text)
    if arguments.open and (refusal := show_page(arguments.out)):
        print(refusal, file=sys.stderr)
    show_result(arguments.out)


def _told(path: Path) -> dict[str, Any]:
    enable_compilation_cache()
    require_platform()
    from owma.demo.told import open_run, tell

    run = open_run(path)
    print("letting the model decide and act at each λ; this takes about two minutes", file=sys.stderr)
    return tell(run)


def _act(arguments: Demo) -> None:
    enable_compilation_cache()
    require_platform()
    from owma.config.planners import Static
    from owma.demo.act import acting_table, let_act
    from owma.demo.model import demo_agent
    from owma.demo.told import MOST_STEPS, open_run
    from owma.results.show import show_table

    if arguments.run is None:
        agents = {"trained": demo_agent(Static()), "adapted": demo_agent()}
    else:
        run = open_run(arguments.run)
        every = run.config.evaluation.replan_every
        agents = {"trained": run.agent(Static(), replan_every=every), "adapted": run.agent(replan_every=every)}
    print("compiling, then acting: about half a minute", file=sys.stderr)
    show_table(acting_table(let_act(agents, arguments.act, seed=0, most_steps=MOST_STEPS)))


if __name__ == "__main__":
    command(main)
