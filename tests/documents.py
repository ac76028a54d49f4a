"""The pages that users read, and what stands in them: Python, commands, links."""

import re
import textwrap
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent
README = CHECKOUT / "README.md"
GUIDES = tuple(
    CHECKOUT / "owma" / name for name in ("README.md", *(f"{r}/README.md" for r in ("data", "planners", "agent")))
)
"""They are in the wheel."""


def pages() -> list[Path]:
    """All Markdown of the repository, without what a tool left in a folder that git ignores."""
    folders = ("owma", "benchmarks", "runs/reference")
    below = [path for folder in folders for path in (CHECKOUT / folder).rglob("*.md")]
    return [*sorted(CHECKOUT.glob("*.md")), *sorted((CHECKOUT / "runs").glob("*.md")), *sorted(below)]


def fenced(page: Path, language: str) -> list[str]:
    """The blocks of a page that are in a language, `python` or `sh`, without the indentation of a list."""
    pattern = rf"^( *)```{language}\n(.*?)^\1```"
    found = re.findall(pattern, page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for _, block in found]


def commands(page: Path) -> list[str]:
    """The lines of its shell blocks that call owma."""
    lines = [line for block in fenced(page, "sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith(("python -m owma.", "owma "))]


def links(page: Path) -> list[str]:
    """Targets within the repository, as they are written: of links, of pictures, and of HTML's `src` and `href`."""
    text = re.sub(r"^( *)```.*?^\1```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`\n]*`", "code", text)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page: small letters, words joined by dashes."""
    text = re.sub(r"^( *)```.*?^\1```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.*?) *$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
