"""Figures: what is drawn is what was given, in files small enough to commit, without matplotlib's global state."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.image as mimage
import numpy as np
import pytest
from matplotlib.figure import Figure

from owma._internal.errors import ConfigError
from owma.results import plots
from owma.results.pictures import run_pictures
from owma.results.plots.canvas import spread
from owma.results.plots.colours import DARK, INK

_RNG = np.random.default_rng(0)
_MAZE = ((1, 1, 1, 1), (1, "r", 0, 1), (1, 0, "g", 1), (1, 1, 1, 1))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures saved during a test, for looking at what they hold."""
    figures: list[Figure] = []
    save = Figure.savefig

    def record(self: Figure, *args: Any, **kwargs: Any) -> None:
        if kwargs["format"] == "png":  # the same figure is an SVG, too
            figures.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", record)
    return figures


def _metrics(steps: int) -> list[dict[str, Any]]:
    return [
        {"phase": phase, "step": 10 * i, "loss": float(np.exp(-i / 20)), "rate": 3.0}
        for phase in ("world", "policy")
        for i in range(steps)
    ]


def _trajectories(planners: int, episodes: int) -> dict[str, list[np.ndarray]]:
    walk = 0.05 * _RNG.normal(size=(planners, episodes, 300, 2))
    return {f"planner_{i}": list(np.cumsum(paths, axis=1)) for i, paths in enumerate(walk)}


def _results(**planners: dict[str, Any]) -> dict[str, Any]:
    base = {"success": 0.5, "ms_p50": 2.0, "ms_p95": 3.0, "intervals": {"success": [0.3, 0.7]}}
    return {"planners": {name: base | entry for name, entry in planners.items()}}


def _budgets(planners: int) -> list[dict[str, Any]]:
    return [
        {
            "planner": f"planner_{i}",
            "ms": 10.0 * 4**j,
            "attained": 0.1 * i - j,
            "attained_error": 0.1,
            "kl": j,
            "value": i,
        }
        for i in range(planners)
        for j in range(3)
    ]


_FIGURES: dict[str, Callable[[Path], Path]] = {
    "training": lambda path: plots.training_curves(path, _metrics(200)),
    "decision": lambda path: plots.decision_histogram(
        path, _RNG.normal(size=500), _RNG.normal(1.0, size=300), optimum=np.array([[0.0, 0.1], [1.0, 0.5]])
    ),
    "equal values": lambda path: plots.decision_histogram(path, np.ones(5), np.ones(5)),
    "adaptation": lambda path: plots.adaptation_curves(
        path, np.arange(10.0), np.arange(10.0), np.arange(10.0), prior_value=1.0, optimum=12.0
    ),
    "maze": lambda path: plots.maze_trajectories(
        path,
        _MAZE,
        _trajectories(8, 50),
        start=(0.0, 0.0),
        goal=(1.0, 1.0),
        successes={f"planner_{i}": 0.5 for i in range(8)},
    ),
    "attainment": lambda path: plots.attainment_against_latency(path, _budgets(12), title="of a test"),
    "divergence": lambda path: plots.value_against_divergence(
        path, _budgets(12), np.array([[0.0, 0.0], [5.0, 3.0]]), title="of a test"
    ),
    "skew": lambda path: plots.skew_curve(path, {s: _results(static={}, other={}) for s in ("0.02", "0.001")}),
    "latency": lambda path: plots.success_against_latency(path, _results(static={}, other={"ms_p50": 200.0})),
}


@pytest.mark.parametrize("name", _FIGURES)
def test_writes_one_small_legible_png_and_an_svg(tmp_path: Path, name: str) -> None:
    path = tmp_path / "plots" / "figure.png"
    assert _FIGURES[name](path) == path
    assert path.stat().st_size < 300_000
    height, width, _ = mimage.imread(path).shape
    assert 150 < height < 2000 and 400 < width < 2000
    assert {p.name for p in path.parent.iterdir()} == {"figure.png", "figure.svg"}
    drawn = path.with_suffix(".svg")
    assert drawn.stat().st_size < 800_000 and ElementTree.parse(drawn).getroot().tag.endswith("svg")


def test_an_svg_is_the_same_every_time_and_fits_a_dark_page(tmp_path: Path) -> None:
    once, again = (_FIGURES["latency"](tmp_path / name / "a.png").with_suffix(".svg") for name in ("once", "again"))
    text = once.read_text()
    assert text == again.read_text()
    # Words are words, there is no ground, and the ink of the words is replaced where the page is dark.
    assert ">static<" in text and "#ffffff" not in text.partition("</style>")[2].partition("axes_1")[0]
    assert f'fill: {INK}"]{{fill:{DARK[INK]} !important}}' in text and f"fill: {INK}" in text.partition("</style>")[2]


def test_nothing_is_left_in_pyplot_and_nothing_is_imported_early() -> None:
    code = "import sys, owma.results.plots, owma.results.tables; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_walls_and_markers_lie_where_the_simulator_has_them(tmp_path: Path, drawn: list[Figure]) -> None:
    """Cells centred on (col + 0.5 − cols/2, rows/2 − row − 0.5), times the cell size; letters are free cells."""
    positions = np.array([[-2.0, 2.0], [2.0, -2.0]])
    plots.maze_trajectories(
        tmp_path / "maze.png",
        _MAZE,
        {"static": [positions]},
        start=(-2.0, 2.0),
        goal=(2.0, -2.0),
        successes={"static": 0.25},
        cell_size=4.0,
    )
    (axes,) = drawn[0].axes
    walls = {tuple(map(float, patch.get_center())) for patch in axes.patches}  # pyright: ignore[reportAttributeAccessIssue]
    assert len(walls) == 12 and (-6.0, 6.0) in walls and not walls & {(-2.0, 2.0), (2.0, 2.0), (2.0, -2.0)}
    assert np.array_equal(axes.lines[0].get_xydata(), positions)  # pyright: ignore[reportArgumentType]
    assert axes.get_title(loc="left") == "static: 25 %"
    assert axes.get_xlim() == (-8.0, 8.0) and axes.get_aspect() == 1.0


def test_trainings_are_compared_on_one_axis(tmp_path: Path, drawn: list[Figure]) -> None:
    def entries(returns: float, task: str = "mine:early") -> list[dict[str, Any]]:
        each = {"task": task, "fit": "linear", "planner": "static", "intervals": {"return": None}}
        return [each | {"labels": labels, "return": returns} for labels in (16, 256)]

    path = plots.few_shot_of_trainings(tmp_path / "a.png", {"one": entries(1.0), "two": entries(100.0)})
    assert path.exists() and path.with_suffix(".svg").exists()
    one, two = drawn[-1].axes
    assert one.get_ylim() == two.get_ylim() and one.get_ylim()[0] < 1 and one.get_ylim()[1] > 100
    assert (one.get_ylabel(), two.get_ylabel()) == ("return (95 % interval)", "")
    # Returns of another task are in other units.
    plots.few_shot(tmp_path / "b.png", [*entries(1.0), *entries(100.0, "mine:late")])
    early, late = drawn[-1].axes
    assert early.get_ylim()[1] < 2 < 90 < late.get_ylim()[0] and late.get_title(loc="left") == "late"
    with pytest.raises(ConfigError, match="for one task, not for 2"):
        plots.few_shot_of_trainings(tmp_path / "c.png", {"one": entries(1.0), "two": entries(1.0, "mine:late")})


def test_what_is_no_divergence_is_not_called_one(tmp_path: Path, drawn: list[Figure]) -> None:
    """The published surrogate starts above 0 with Δφ = 0, where a KL is 0."""
    steps = np.arange(3.0)
    trace = {"objective": steps, "value": steps, "kl": 5 + steps, "prior_values": steps, "values": steps}
    charged = {
        "published": True,
        "online_adaptation": False,
        "online_adaptation-divergence=hybrid": True,
        "published-divergence=path": False,
    }
    planners = {name: {"success": None, "ms_p50": None} for name in charged}
    pictures = run_pictures({"planners": planners}, traces=dict.fromkeys(charged, trace))
    for name, surrogate in charged.items():
        pictures[f"{name}_adaptation.png"](tmp_path / "a.png")
        pays = drawn[-1].axes[2]
        assert ("which is no KL" in pays.get_title(loc="left")) == surrogate, name
        assert pays.get_ylabel().startswith("surrogate" if surrogate else "KL from the trained model, nats")


def test_planners_without_a_success_are_left_out_of_pictures_of_it(tmp_path: Path, drawn: list[Figure]) -> None:
    untold = {"success": None, "intervals": {"success": None}}
    plots.success_against_latency(tmp_path / "a.png", _results(static={}, other=untold))
    assert [text.get_text() for text in drawn[-1].axes[0].texts] == ["static"]
    with pytest.raises(ConfigError, match="No planner in these results has a latency and a success"):
        plots.success_against_latency(tmp_path / "b.png", _results(other=untold))
    plots.skew_curve(tmp_path / "c.png", {s: _results(static={}, other=untold) for s in ("0.1", "0.01")})
    assert [label.get_text() for label in drawn[-1].axes[0].get_yticklabels()] == ["static"]
    ways, end = _trajectories(1, 2), (1.0, 1.0)
    plots.maze_trajectories(tmp_path / "d.png", _MAZE, ways, start=end, goal=end, successes={"planner_0": None})
    assert drawn[-1].axes[0].get_title(loc="left") == "planner 0"


def test_a_lone_episode_stays_visible_among_many(tmp_path: Path, drawn: list[Figure]) -> None:
    plots.maze_trajectories(
        tmp_path / "m.png",
        _MAZE,
        _trajectories(1, 200),
        start=(0.0, 0.0),
        goal=(1.0, 1.0),
        successes={"planner_0": 1.0},
    )
    assert (drawn[0].axes[0].lines[0].get_alpha() or 0.0) >= 0.25


def test_mean_lines_of_a_decision(tmp_path: Path, drawn: list[Figure]) -> None:
    plots.decision_histogram(tmp_path / "d.png", np.array([0.0, 2.0]), np.array([3.0, 5.0]))
    (axes,) = drawn[0].axes
    rows = [np.asarray(line.get_xdata(), float).tolist() for line in axes.lines]
    assert rows == [[1.0, 1.0], [0.0, 2.0], [4.0, 4.0], [3.0, 5.0]]  # a mean, its draws, and so once more
    assert axes.get_title(loc="left").endswith("from 1 to 4")


def test_a_panel_a_phase_with_gaps_for_what_is_no_loss(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = _metrics(6)
    rows[2]["loss"] = None
    plots.training_curves(tmp_path / "t.png", rows)
    assert [axes.get_title(loc="left") for axes in drawn[0].axes] == ["world", "policy"]
    assert [len(axes.lines) for axes in drawn[0].axes] == [1, 1]
    assert np.isnan(np.asarray(drawn[0].axes[0].lines[0].get_ydata())).tolist() == [False] * 2 + [True] + [False] * 3
    assert all(axes.get_yscale() == "log" for axes in drawn[0].axes)


def test_nothing_to_plot_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no loss in these rows"):
        plots.training_curves(tmp_path / "t.png", [{"step": 1, "rate": 2.0}])
    with pytest.raises(ConfigError, match="No planner in these results has a latency"):
        plots.success_against_latency(tmp_path / "s.png", _results(static={"ms_p50": None}))
    assert not list(tmp_path.iterdir())


def test_planners_are_drawn_where_their_numbers_are(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = [{"planner": "static", "ms": ms, "attained": a, "attained_error": 0.0} for ms, a in ((40, 0.9), (10, -3.0))]
    plots.attainment_against_latency(tmp_path / "a.png", rows, title="")
    lines = [np.asarray(line.get_xydata()) for line in drawn[-1].axes[0].lines]
    # By rising budget. What is far below is not drawn as if it were measured on the edge: an arrow stands there, and
    # its number beside the name.
    assert any(np.array_equal(line, [[10, -3.0], [40, 0.9]]) for line in lines)
    assert any(line.get_marker() == "v" and list(line.get_xdata()) == [10] for line in drawn[-1].axes[0].lines)  # pyright: ignore
    assert [text.get_text() for text in drawn[-1].axes[0].texts] == ["static (down to -3)"]
    plots.skew_curve(tmp_path / "s.png", {"0.1": _results(static={"success": 0.25}), "0.01": _results(static={})})
    assert [axes.get_title(loc="left") for axes in drawn[-1].axes] == ["1 % of the data", "10 % of the data"]
    for axes, success in zip(drawn[-1].axes, (50, 25)):
        assert any(np.array_equal(line.get_xydata(), [[success, 0]]) for line in axes.lines)  # pyright: ignore


def test_latency_has_a_line_a_planner_and_a_panel_an_axis(tmp_path: Path, drawn: list[Figure]) -> None:
    def row(group: str, name: str, ms: float) -> dict[str, object]:
        return {"group": group, "name": name, "ms_p50": ms}

    rows = [row("planners", "static", 1.0), row("planners", "published_unet", 1000.0)]
    plots.latency(tmp_path / "few.png", rows)
    (axes,) = drawn[-1].axes
    assert [float(line.get_xdata()[0]) for line in axes.lines] == [1000.0, 1.0]  # pyright: ignore
    plots.latency(tmp_path / "all.png", [*rows, *(row("width", f"{w}", w / 10) for w in (32, 64))])
    assert np.array_equal(drawn[-1].axes[1].lines[0].get_xydata(), [[32, 3.2], [64, 6.4]])  # pyright: ignore


def test_labels_keep_their_order_and_their_distance() -> None:
    heights = spread([0.2, 0.5, 0.5, 0.51, 0.98, 0.99], 0.05)
    assert np.diff(heights).min() > 0.05 - 1e-9 and heights[0] == 0.2
    assert np.isclose(np.mean(heights[1:4]), np.mean([0.5, 0.5, 0.51])) and heights[-1] <= 1
    assert spread([], 0.1) == []


def test_ground_that_pays_is_shaded_and_adaptation_comes_first(tmp_path: Path, drawn: list[Figure]) -> None:
    ways = {"static": _trajectories(1, 1)["planner_0"], "online_adaptation": []}
    pays = [[0.0] * 4, [0.0, 0.0, 0.5, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0] * 4]
    shares = dict.fromkeys(ways, 0.5)
    plots.maze_trajectories(
        tmp_path / "m.png", _MAZE, ways, start=(0.0, 0.0), goal=(1.0, 1.0), successes=shares, pays=pays
    )
    first, second = drawn[0].axes
    assert first.get_title(loc="left") == "online adaptation: 50 %" and first.spines["top"].get_visible()
    assert not second.spines["top"].get_visible()
    shaded = [patch.get_center() for patch in first.patches][:2]  # pyright: ignore[reportAttributeAccessIssue]
    assert np.allclose(shaded, [(0.5, 0.5), (0.5, -0.5)])
