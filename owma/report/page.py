"""The parts of a page: HTML from plain values, with everything that it needs inside.

The HTML is in `templates/`. Jinja escapes all that is not `Markup`, so text may hold whatever rows and configurations
hold.
"""

import base64
import dataclasses
import functools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

_LARGEST_SVG = 150_000
"""Bytes; a picture with more is shown as a PNG."""


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a page under a heading."""

    title: str
    body: Markup
    folded: bool = False
    """Shown on demand."""
    folds: bool = False
    """Shown on demand where the page is narrow."""

    @property
    def anchor(self) -> str:
        """What a link within the page names it by."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.title.lower()).split())


def page(title: str, verdict: str, facts: Mapping[str, str], sections: Sequence[Section]) -> str:
    """A whole document, complete without any other file: what came of it, of what, and then the sections."""
    about = {"style": asset("explorer.css") + asset("page.css"), "code": asset("page.js")}
    template = templates().get_template("page.html")
    return template.render(title=title, verdict=verdict, facts=facts, sections=sections, **about)


def heading(text: str) -> Markup:
    """Of a part of a section; nothing where `text` is empty."""
    return _part("heading", text) if text else Markup()


def paragraph(text: str, kind: str = "") -> Markup:
    """A paragraph of plain text."""
    return _part("paragraph", text, kind)


def table(
    headings: Sequence[str], rows: Sequence[Sequence[object]], kinds: Sequence[str] = (), *, body_id: str = ""
) -> Markup:
    """A table that scrolls by itself where it is wider than the page; the first column holds names.

    `kinds`: a class for each row. `body_id`: by which a script finds the rows, if one does.
    """
    return _part("table", headings, list(zip(kinds or [""] * len(rows), rows)), body_id)


def picture(draw: Callable[[Path], object], caption: str) -> Markup:
    """What `draw` writes to the PNG file that it is given, or rather the SVG beside it unless that is large."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figure.png"
        draw(path)
        drawn = path.with_suffix(".svg")
        return image(drawn if drawn.exists() and drawn.stat().st_size < _LARGEST_SVG else path, caption)


def image(path: Path, caption: str) -> Markup:
    """A picture from a file."""
    kind = {".gif": "gif", ".svg": "svg+xml"}.get(path.suffix, "png")
    return _part("figure", f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}", caption)


def figures(pictures: Markup) -> Markup:
    """Pictures beside each other, where there is room."""
    return _part("figures", pictures)


def folded(summary: str, body: Markup) -> Markup:
    """What is shown on demand."""
    return _part("folded", summary, body)


def code(text: str) -> Markup:
    """Commands or JSON, as they are."""
    return _part("code", text)


def claim(verdict: str, kind: str, text: str, evidence: str) -> Markup:
    """A sentence, whether it is true, and by what. `kind`: the class of the verdict."""
    return _part("claim", verdict, kind, text, evidence)


def explorer(decisions: Mapping[str, Any], optimum: Sequence[str], note: str) -> Markup:
    """Decisions to go through step by step, at any λ.

    **Arguments:** `decisions`: what the page's script reads, as JSON has it. `optimum`: the headings of the table that
    it fills. `note`: below that.
    """
    rows = table(optimum, [], body_id="decision-optimum")
    has_psi = any("psi" in plan for state in decisions["states"] for plan in state["plans"])
    code = asset("outcomes.js") + asset("explorer.js")
    return _part("explorer", "map" in decisions, has_psi, rows, paragraph(note, "note"), decisions, code)


def _part(name: str, *values: object) -> Markup:
    return getattr(templates().get_template("parts.html").module, name)(*values)


@functools.cache
def templates(package: str = "owma.report") -> jinja2.Environment:
    """The HTML in the folder `templates` of a package."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    found.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return found


def asset(name: str, package: str = "owma.report") -> Markup:
    """A file of owma's own, which goes into a page as it is."""
    return Markup(resources.files(package).joinpath(name).read_text(encoding="utf-8"))
