"""All colours of figures and pages: one strong colour for adaptation, a muted one of its own for every other planner.

They hold in every figure. A test computes that any two planners differ by 10 and more (CIEDE2000), also to an eye
without its middle cones, and that each has a contrast of 3 and more on white and on `DARK_GROUND`.
"""

import zlib
from collections.abc import Iterable, Mapping

from owma.results.analysis import OURS

INK, GREY, WALL, FAINT = "#2b2f36", "#6b7482", "#ccd2da", "#dde1e7"
EDGE, GROUND, DARK_GROUND = "#9aa1ac", "#ffffff", "#12161b"
STAR, PAYS = "#f2b705", "#f7c948"
"""The goal of a maze, and the cells for which its task pays."""

ADAPTED = "#0f6fb3"
"""Online adaptation, and what is adapted."""

PLANNERS: Mapping[str, str] = {
    OURS: ADAPTED,
    "static": "#7b8189",
    "random_shooting": "#729e49",
    "tilted_resampling": "#b05e5d",
    "guided_diffusion": "#ff5285",
    "twisted_smc": "#9f5068",
    "fk_steering": "#486f07",
    "svdd": "#ff5511",
    "noise_optimization": "#e966ad",
    "cem": "#d90e07",
    "published": "#3f9e7f",
    "adaptation_off": "#416c6c",
    "adaptation_draw": "#459baf",
    "adaptation_all_levels": "#a87fef",
    "adaptation_adam": "#4b6b41",
}
"""By the names of `owma.config.planners.NAMED`. A variation has the colour of what it is one of."""

_OF_ANOTHER: Mapping[str, str] = {
    "adaptation_no_proposals": "online_adaptation",
    "guided_diffusion_single": "guided_diffusion",
    "twisted_smc_256": "twisted_smc",
    "random_actions": "static",
}
"""Cheap variants: the same colour, with a mark that is not filled."""

_OTHERS = ("#5f6875", "#70757d", "#83868c")
"""Planners of users: greys, since the place beside the mark says the name."""

DARK: Mapping[str, str] = {
    INK: "#e9ecf1",
    GREY: "#a3adba",
    WALL: "#3b434f",
    FAINT: "#2c343f",
    EDGE: "#7d8794",
    GROUND: DARK_GROUND,
    ADAPTED: "#3d9be0",
}
"""What some colours become where a page is dark; those of the other planners are the same."""

SERIES = (ADAPTED, "#c05a00", "#5d7a1f", "#8a5cc2", "#6b7482")
"""Curves that are of no planner, in this order."""


def planner_colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each planner, whoever else is there."""
    return {name: _colour(name) for name in names}


def is_filled(name: str) -> bool:
    """Whether a planner's mark is filled; that of a cheap variant of another one is not."""
    return name.partition("-")[0] not in _OF_ANOTHER


def is_ours(name: str) -> bool:
    """Whether it is online adaptation with its own settings, which stands out; variations of them have its colour."""
    return name == OURS


def _colour(name: str) -> str:
    base = name.partition("-")[0]
    base = _OF_ANOTHER.get(base, base)
    return PLANNERS.get(base) or _OTHERS[zlib.crc32(base.encode()) % len(_OTHERS)]
