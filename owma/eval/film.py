"""Episodes side by side as one moving picture: what is written into each frame, and the files."""

import dataclasses
import functools
import importlib
import importlib.util
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from owma._internal.types import Float, UInt8
from owma.results.plots.colours import ADAPTED, GREY, GROUND, INK, PAYS, STAR, WALL

SIDE = 480
"""Pixels of a panel, at least: its height, or the width if that is less."""
_TITLE, _TOLD, _GAP = 34, 30, 12
_HELD = 25
"""Frames for which the end stands."""


@dataclasses.dataclass(frozen=True)
class Shot:
    """A frame of one episode."""

    image: UInt8[np.ndarray, "height width 3"]
    told: str
    """What is written below it."""


@dataclasses.dataclass(frozen=True)
class Ground:
    """A map seen from above, on which positions are drawn: `box` in metres (left, bottom, right, top)."""

    box: tuple[float, float, float, float]
    walls: Sequence[Sequence[int | str]] | None = None
    """Rows of cells from the top, 1 a wall."""
    goal: tuple[float, float] | None = None
    pays: Sequence[Sequence[float]] | None = None
    """Of each cell how much the task pays there, from 0 to 1."""

    def image(self, way: Float[np.ndarray, "steps 2"], *, is_ours: bool) -> UInt8[np.ndarray, "height width 3"]:
        """The way so far, with the ball at its end."""
        from PIL import Image, ImageDraw

        left, bottom, right, top = self.box
        scale = 2 * SIDE / min(right - left, top - bottom)  # drawn twice as large: lines are smooth then
        size = round((right - left) * scale), round((top - bottom) * scale)
        sheet = Image.new("RGB", size, GROUND)
        draw = ImageDraw.Draw(sheet)

        def at(x: float, y: float) -> tuple[float, float]:
            return (x - left) * scale, (top - y) * scale

        cells = [(row, col, _paid(share)) for row, line in enumerate(self.pays or ()) for col, share in enumerate(line)]
        for row, line in enumerate(self.walls or ()):
            cells += [(row, col, WALL) for col, cell in enumerate(line) if cell == 1]
        side = size[0] / len((self.walls or self.pays or ((),))[0] or (0,))
        for row, col, colour in cells:
            if colour is not None:
                draw.rectangle((col * side, row * side, (col + 1) * side, (row + 1) * side), fill=colour)
        if self.goal is not None:
            x, y = at(*self.goal)
            angles = np.pi * (np.arange(10) / 5 - 0.5)
            radii = np.where(np.arange(10) % 2, 9, 22)
            corners = [(x + r * np.cos(a), y + r * np.sin(a)) for r, a in zip(radii, angles)]
            draw.polygon(corners, fill=STAR, outline=INK)
        colour = ADAPTED if is_ours else GREY
        points = [at(float(x), float(y)) for x, y in way]
        if len(points) > 1:
            draw.line(points, fill=colour, width=6, joint="curve")
        x, y = points[-1]
        draw.ellipse((x - 15, y - 15, x + 15, y + 15), fill=colour, outline=GROUND, width=3)
        return np.asarray(sheet.resize((size[0] // 2, size[1] // 2), Image.Resampling.LANCZOS))


def _paid(share: float) -> str | None:
    if share <= 0:
        return None
    strength = 0.12 + 0.4 * share
    mixed = (round(255 + strength * (int(PAYS[i : i + 2], 16) - 255)) for i in (1, 3, 5))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def frames(panels: Mapping[str, Sequence[Shot]], *, ours: str) -> list[UInt8[np.ndarray, "height width 3"]]:
    """All panels beside each other, each under its title; one that ends sooner stands still, and so does the end.

    **Arguments:** `panels`: by title the shots of an episode. `ours`: the title that stands out.
    """
    longest = max(len(shots) for shots in panels.values())
    made = []
    for number in range(longest):
        parts = [_panel(title, shots[min(number, len(shots) - 1)], title == ours) for title, shots in panels.items()]
        height = max(part.shape[0] for part in parts)
        row = []
        for part in parts:
            row += [_wide(part, height, part.shape[1]), np.full((height, _GAP, 3), 255, np.uint8)]
        whole = np.concatenate(row[:-1], axis=1)
        # Films have even numbers of pixels.
        made.append(whole[: whole.shape[0] // 2 * 2, : whole.shape[1] // 2 * 2])
    return made + [made[-1]] * _HELD


def _panel(title: str, shot: Shot, is_ours: bool) -> UInt8[np.ndarray, "height width 3"]:
    from PIL import Image, ImageDraw

    image = Image.fromarray(shot.image)
    if min(image.size) < SIDE:
        scale = SIDE / min(image.size)
        size = round(image.width * scale), round(image.height * scale)
        image = image.resize(size, Image.Resampling.LANCZOS)
    sheet = Image.new("RGB", (image.width, image.height + _TITLE + _TOLD), GROUND)
    sheet.paste(image, (0, _TITLE))
    draw = ImageDraw.Draw(sheet)
    colour = ADAPTED if is_ours else INK
    draw.text((6, 7), title, font=_font(bold=is_ours), fill=colour)
    draw.text((6, _TITLE + image.height + 5), shot.told, font=_font(), fill=INK)
    if is_ours:
        draw.rectangle((0, _TITLE, image.width - 1, _TITLE + image.height - 1), outline=ADAPTED, width=3)
    return np.asarray(sheet)


@functools.cache
def _font(*, bold: bool = False) -> Any:
    """One that has λ, which comes with matplotlib."""
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), 17)


def _wide(part: UInt8[np.ndarray, "h w 3"], height: int, width: int) -> UInt8[np.ndarray, "height width 3"]:
    full = np.full((height, width, 3), 255, np.uint8)
    full[: part.shape[0]] = part
    return full


def save_gif(path: Path, film: Sequence[UInt8[np.ndarray, "height width 3"]], *, frames_per_second: float) -> Path:
    """A GIF that begins anew when it ends."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    # One palette for all, so that nothing flickers.
    palette = Image.fromarray(np.concatenate([film[0], film[-1]])).quantize(160, method=Image.Quantize.MAXCOVERAGE)
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in film]
    milliseconds = round(1000 / frames_per_second)
    images[0].save(path, save_all=True, append_images=images[1:], duration=milliseconds, loop=0, optimize=True)
    return path


def save_mp4(
    path: Path, film: Sequence[UInt8[np.ndarray, "height width 3"]], *, frames_per_second: float
) -> Path | None:
    """The same as MP4 (H.264), by ffmpeg; `None` where there is none, or it has no such encoder."""
    program = _ffmpeg()
    if program is None:
        return None
    height, width, _ = film[0].shape
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{frames_per_second:g}", "-i", "-"]
    wanted = ["-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart", str(path)]
    command = [program, "-y", "-loglevel", "error", *raw, *wanted]
    done = subprocess.run(command, input=b"".join(frame.tobytes() for frame in film), capture_output=True)
    if done.returncode != 0 or not path.exists():
        path.unlink(missing_ok=True)
        return None
    return path


def _ffmpeg() -> str | None:
    if (found := shutil.which("ffmpeg")) is not None:
        return found
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        return None
    return importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe()
