"""The parts of a page: HTML from plain values, with everything that it needs inside."""

import base64
import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from html import escape
from importlib import resources
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a page under a heading."""

    title: str
    body: str
    """HTML."""


def page(title: str, sections: Sequence[Section]) -> str:
    """A whole document, complete without any other file."""
    names = [_name(section.title) for section in sections]
    links = "".join(f'<a href="#{name}">{escape(section.title)}</a>' for name, section in zip(names, sections))
    parts = "".join(
        f'<section id="{name}"><h2>{escape(section.title)}</h2>{section.body}</section>'
        for name, section in zip(names, sections)
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Nothing is fetched, whatever a row may hold.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title><style>{_asset("page.css")}</style></head>'
        f"<body><header><h1>{escape(title)}</h1><nav>{links}</nav></header><main>{parts}</main></body></html>\n"
    )


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f"<p{_class(kind)}>{escape(text)}</p>"


def table(headings: Sequence[str], rows: Sequence[Sequence[object]], marked: Sequence[str] = ()) -> str:
    """A table that scrolls by itself where it is wider than the page; the first column holds names.

    `marked`: a class for each row.
    """
    kinds = marked or [""] * len(rows)
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(
        f"<tr{_class(kind)}>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row, kind in zip(rows, kinds)
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def picture(draw: Callable[[Path], object], caption: str) -> str:
    """What `draw` writes to the PNG file that it is given."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figure.png"
        draw(path)
        return image(path, caption)


def image(path: Path, caption: str) -> str:
    """A picture from a file."""
    data = base64.b64encode(path.read_bytes()).decode()
    kind = "gif" if path.suffix == ".gif" else "png"
    # The caption is what the picture says; a reader that does not see it has that.
    return (
        f'<figure><img alt="{escape(caption)}" src="data:image/{kind};base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def folded(summary: str, body: str) -> str:
    """HTML that is shown on demand."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def code(text: str) -> str:
    """Commands or JSON, as they are."""
    return f"<pre><code>{escape(text)}</code></pre>"


def script(data_json: str, data_id: str) -> str:
    """JSON for the page's script, and the script."""
    # `</script>` inside a string would end the element.
    safe = data_json.replace("<", "\\u003c")
    data = f'<script type="application/json" id="{escape(data_id)}">{safe}</script>'
    return f"{data}<script>{_asset('explorer.js')}</script>"


def _asset(name: str) -> str:
    return resources.files("owma.report").joinpath(name).read_text(encoding="utf-8")


def _class(kind: str) -> str:
    return f' class="{escape(kind)}"' if kind else ""


def _name(title: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in title.lower()).split())
