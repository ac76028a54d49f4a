"""Pages of the guides and of the reference, by pdoc, which the extra `docs` brings; LaTeX becomes MathML."""

import ast
import importlib.util
import inspect
import re
import warnings
from collections.abc import Callable
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

from markupsafe import Markup

from owma._internal.errors import ConfigError
from owma._internal.help import FIELDS
from owma._internal.json import replace_text

PUBLIC = ("owma", *(f"owma.{name}" for name in ("adaptation", "planners", "diffusion", "envs", "data")))
"""The modules whose names are public."""

GUIDES = {"guide": "", "data": "data", "planners": "planners", "agent": "agent"}
"""By the name of its page: the folder of the package whose README.md it is."""

PACKAGE = Path(__file__).parent.parent

_NEEDED = ("pdoc", "latex2mathml")
_CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)
_MATH = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+(?:\n[^$\n]+)*)\$", re.DOTALL)
_HELD = "HELDMATH{}HELD"


def write_site(out: Path) -> Path:
    """Write all pages into a folder, over those of before.

    **Returns:** the first page, the guide. Raises `ConfigError` where the extra `docs` is not installed.
    """
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise ConfigError(
            f"The pages are made by {' and '.join(missing)}, which is not installed: pip install 'owma[docs]'."
        )
    import pdoc.doc
    from pdoc import render

    render.configure(
        docformat="markdown", show_source=False, template_directory=Path(__file__).parent / "templates", search=True
    )
    filters: dict[str, Any] = render.env.filters
    # Of a page before this one, in the same process, the filter is ours already.
    plain = getattr(filters["to_html"], "plain", filters["to_html"])
    filters["to_html"] = _with_math(plain)
    for name in PUBLIC:
        module = import_module(name)
        vars(module)["__all__"] = public_names(module)  # what pdoc shows
    modules = {name: pdoc.doc.Module.from_name(name) for name in PUBLIC}
    with warnings.catch_warnings():
        # Of a TypedDict it does not know which class a key is of.
        warnings.filterwarnings("ignore", "Cannot determine where", UserWarning)
        for name, module in modules.items():
            _write(out / f"{name.replace('.', '/')}.html", render.html_module(module, modules))
        _write(out / "search.js", render.search_index(modules))
    template = render.env.get_template("guide.html.jinja2")
    for page, folder in GUIDES.items():
        text = (PACKAGE / folder / "README.md").read_text(encoding="utf-8")
        body = Markup(_relinked(str(filters["to_html"](text)), folder))
        _write(out / f"{page}.html", template.render(body=body, pages=_titles(), page=page, public=PUBLIC))
    _write(out / "index.html", '<!doctype html><meta http-equiv="refresh" content="0; url=guide.html"/>\n')
    return out / "guide.html"


def public_names(module: ModuleType) -> list[str]:
    """The names that a package re-exports as themselves (`import X as X`), in the order of its source."""
    imports = [node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.ImportFrom)]
    return [alias.name for node in imports for alias in node.names if alias.asname == alias.name]


def faults(folder: Path) -> list[str]:
    """Of its pages: public names that have no place, and links that lead nowhere, each with its page."""
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    wrong = [
        f"{name}: {public} is not there"
        for name in PUBLIC
        for public in public_names(import_module(name))
        if public not in pages[folder / f"{name.replace('.', '/')}.html"].places
    ]
    for path, page in pages.items():
        for link in dict.fromkeys(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            target = next((known for known in pages if known.resolve() == target.resolve()), target)
            is_there = target.exists()
            if is_there and parts.fragment and target in pages:
                is_there = unquote(parts.fragment) in pages[target].places
            if not is_there:
                wrong.append(f"{path.relative_to(folder)}: {link} leads nowhere")
    return wrong


class _Page(HTMLParser):
    """What a page links to, and the places in it that can be linked to."""

    def __init__(self, text: str) -> None:
        HTMLParser.__init__(self)
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name == "id":
                self.places.add(value)
            elif value and name in ("href", "src"):
                self.links.append(value)


def _with_math(plain: Callable[[str], str]) -> Callable[[str], str]:
    """pdoc's Markdown, where `$...$` outside of code is MathML: a browser shows it without a program or a network."""

    def to_html(text: str) -> str:
        held: list[str] = []

        def hold(found: re.Match[str]) -> str:
            held.append(_mathml(found[1] or found[2], display=found[1] is not None))
            return _HELD.format(len(held) - 1)

        parts = _CODE.split(text.partition(FIELDS)[0])  # pdoc shows them below the class, each by itself
        parts[::2] = [_MATH.sub(hold, part) for part in parts[::2]]
        html = str(plain("".join(parts)))
        for number, math in enumerate(held):
            html = html.replace(_HELD.format(number), math)
        return type(plain(""))(html)

    to_html.plain = plain  # type: ignore[attr-defined]
    return to_html


def _mathml(latex: str, *, display: bool) -> str:
    from latex2mathml.converter import convert

    return convert(" ".join(latex.split()), display="block" if display else "inline")


def _relinked(html: str, folder: str) -> str:
    """A guide's links to other guides as links to their pages; of those to files of the repository the text remains."""
    homes = {(PACKAGE / path / "README.md").resolve(): page for page, path in GUIDES.items()}

    def link(found: re.Match[str]) -> str:
        path, mark, anchor = found[1].partition("#")
        if not path or urlsplit(path).scheme:
            return found[0]
        page = homes.get((PACKAGE / folder / path).resolve())
        return found[2] if page is None else f'<a href="{page}.html{mark}{anchor}">{found[2]}</a>'

    return re.sub(r'<a href="([^"]*)">(.*?)</a>', link, html, flags=re.DOTALL)


def _titles() -> dict[str, str]:
    titles = {}
    for page, folder in GUIDES.items():
        first, _, _ = (PACKAGE / folder / "README.md").read_text(encoding="utf-8").partition("\n")
        titles[page] = first.removeprefix("# ")
    return titles


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, text)
