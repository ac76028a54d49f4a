"""Showing a page in the user's browser."""

import os
import sys
import webbrowser
from pathlib import Path


def show_page(path: Path) -> str | None:
    """Open a page in a browser; if that cannot be, a sentence that says so.

    Without a display, a browser would take over the terminal, or say that there is none.
    """
    has_display = sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    if not has_display and "BROWSER" not in os.environ:
        return "There is no display here; open the page in a browser:"
    if not webbrowser.open(path.resolve().as_uri()):
        return "No browser could be started; open the page in one:"
    return None
