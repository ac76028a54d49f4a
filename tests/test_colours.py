"""Planners are told apart by their colours: on white, on a dark page, and by an eye without its middle cones."""

import itertools

import numpy as np

from owma.config.planners.budgets import COMPARED
from owma.results.plots.colours import DARK, DARK_GROUND, GREY, GROUND, INK, PLANNERS, SERIES, planner_colours

_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
"""On linear sRGB (Machado, Oliveira and Fernandes 2009, severity 1)."""


def _linear(colour: str) -> np.ndarray:
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def _lab(linear: np.ndarray) -> np.ndarray:
    x, y, z = np.cbrt(_XYZ @ np.clip(linear, 0, 1) / [0.95047, 1.0, 1.08883])  # none here is near black
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def _ciede2000(one: np.ndarray, other: np.ndarray) -> float:
    """Sharma, Wu and Dalal 2005, equations 2 to 22."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    g = 0.5 * (1 - np.sqrt(c7 / (c7 + 25**7)))
    c1, c2 = np.hypot((1 + g) * a1, b1), np.hypot((1 + g) * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, (1 + g) * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180
    hue, chroma, light = (h1 + turn / 2) % 360, (c1 + c2) / 2, (l1 + l2) / 2 - 50
    cosine = [np.cos(np.radians(k * hue - by)) for k, by in ((1, 30), (2, 0), (3, -6), (4, 63))]
    t = 1 + np.dot([-0.17, 0.24, 0.32, -0.20], cosine)
    d_light = (l2 - l1) / (1 + 0.015 * light**2 / np.sqrt(20 + light**2))
    d_chroma = (c2 - c1) / (1 + 0.045 * chroma)
    d_hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * chroma * t)
    rotation = (
        -2 * np.sqrt(chroma**7 / (chroma**7 + 25**7)) * np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    )
    return float(np.sqrt(d_light**2 + d_chroma**2 + d_hue**2 + rotation * d_chroma * d_hue))


def _contrast(one: str, other: str) -> float:
    dark, light = sorted(float(_XYZ[1] @ _linear(colour)) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def test_the_difference_of_colours_is_that_of_its_authors() -> None:
    """Pairs 1, 4 and 25 of the data of Sharma, Wu and Dalal."""
    pairs = (
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    )
    for one, other, difference in pairs:
        assert abs(_ciede2000(np.array(one), np.array(other)) - difference) < 1e-4


def test_any_two_planners_differ_also_without_middle_cones() -> None:
    assert set(PLANNERS) == set(COMPARED)
    for (a, one), (b, other) in itertools.combinations(PLANNERS.items(), 2):
        for seen in (np.eye(3), _DEUTERANOPIA):
            assert _ciede2000(_lab(seen @ _linear(one)), _lab(seen @ _linear(other))) >= 10, (a, b)


def test_lines_stand_out_on_white_and_on_a_dark_page() -> None:
    users = planner_colours(["my_planner", "top_share", "third"]).values()
    for colour in (*PLANNERS.values(), *users, *SERIES, GREY):
        assert _contrast(colour, GROUND) >= 3, colour
        assert _contrast(DARK.get(colour, colour), DARK_GROUND) >= 3, colour
    assert _contrast(DARK[INK], DARK_GROUND) >= 7


def test_a_planner_has_one_colour_whoever_else_is_there() -> None:
    names = ["zebra", "online_adaptation", "aardvark", "static"]
    assert planner_colours(names) == {name: planner_colours([name])[name] for name in names}
    # A variation is one of its planner, a cheap variant of the one that it is cheaper than.
    many = planner_colours(["online_adaptation-kl_coef=0.5", "twisted_smc_256", *PLANNERS])
    assert many["online_adaptation-kl_coef=0.5"] == many["online_adaptation"]
    assert many["twisted_smc_256"] == many["twisted_smc"]
