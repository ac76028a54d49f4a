"""`python -m owma.train` from dataset to table, and what an interrupt leaves."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

import owma.train.__main__
from owma.config.experiment import ExperimentConfig
from owma.config.value import ValueConfig
from owma.config.world import WorldConfig
from owma.envs import TWO_ROUTES_ID
from owma.outcomes.features import FeaturesConfig
from owma.results.show import show_fit

PLANNERS = ("static", "random_shooting", "guided_diffusion_single", "online_adaptation", "published")

TINY = (
    *("smoke", "--data.episodes", "4", "--data.steps", "100", "--data.skew", "0.5", "--evaluation.episodes", "0"),
    *("--world.width", "8", "--world.embed-width", "8", "--policy.width", "8", "--policy.embed-width", "8"),
    *("--training.updates", "4", "--training.report-every", "2", "--training.batch-size", "16"),
    *("--value.updates", "4", "--value.report-every", "2", "--value.width", "8", "--value.batch-size", "16"),
)


def _rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_smoke_writes_every_file(smoke_run) -> None:
    folder = smoke_run.folder
    assert folder == smoke_run.runs / "smoke" / "v1"
    config, versions = (json.loads((folder / name).read_text()) for name in ("config.json", "versions.json"))
    assert config["class"] == "ExperimentConfig" and config["name"] == "smoke"
    assert versions["packages"]["owma"] and versions["packages"]["jax"]
    assert {row["phase"] for row in _rows(folder / "metrics.jsonl")} == {"outcomes", "value", "task"}
    episodes = _rows(folder / "episodes.jsonl")
    assert [(row["planner"], row["seed"], row["episode"]) for row in episodes] == [
        (name, 0, episode) for name in PLANNERS for episode in (0, 1)
    ]
    fields = "success return value promise_gap kl nfe ms_p50 ms_p95 fallbacks overruns clipped".split()
    assert all(set(fields) <= set(row) for row in episodes)
    results = json.loads((folder / "results.json").read_text())["planners"]
    assert tuple(results) == PLANNERS
    assert all(entry["episodes"] == 2 and entry["kl"] is not None for entry in results.values())
    assert any((folder / "checkpoints").iterdir()) and any((folder / "models").iterdir())
    pictures = {path.name for path in (folder / "plots").glob("*.png")}
    assert {"training.png", "trajectories.png", "online_adaptation_adaptation.png"} <= pictures
    assert all((folder / "plots" / name).stat().st_size > 1000 for name in pictures)


def test_smoke_says_what_it_did(smoke_run) -> None:
    assert smoke_run.stdout.splitlines()[-1] == f"{smoke_run.folder.relative_to(smoke_run.runs.parent)}"
    for said in ("collecting owma/two-routes", "training p(psi|s)", "training V(psi, z)", "R^2 = ", "value_scale"):
        assert said in smoke_run.stderr
    table = smoke_run.stdout
    assert "p50" in table and "p50" not in smoke_run.stderr  # of its heading
    assert all(name.split("_")[0] in table for name in PLANNERS) and "discounted return" in table


def test_smoke_stays_below_four_gigabytes(smoke_run) -> None:
    assert smoke_run.peak_bytes < 4e9


@pytest.mark.slow
def test_an_interrupt_says_how_to_go_on_and_that_works(invoke, elsewhere: Path, monkeypatch) -> None:
    shown = owma.train.__main__.open_shared_progress

    def interrupted(label: str, total: int, done: int):
        if label.startswith("training V"):
            # What Python's own handler does; a background job starts with the signal ignored.
            signal.default_int_handler(signal.SIGINT, None)
        return shown(label, total, done)

    monkeypatch.setattr(owma.train.__main__, "open_shared_progress", interrupted)
    stopped = invoke(owma.train.__main__.main, *TINY, "--runs", "my runs")
    assert stopped.code == 130 and stopped.stdout == ""
    remedy = "owma: interrupted; go on with: python -m owma.train --resume 'my runs/smoke/v1'"
    assert stopped.stderr.splitlines()[-1] == remedy
    monkeypatch.undo()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(elsewhere.parent / "datasets"))
    resumed = invoke(owma.train.__main__.main, "--resume", "my runs/smoke/v1")
    assert resumed.code == 0 and resumed.stdout == "my runs/smoke/v1\n"
    rows = _rows(elsewhere / "my runs" / "smoke" / "v1" / "metrics.jsonl")
    assert [(row["phase"], row.get("step")) for row in rows] == [
        *(("outcomes", step) for step in (2, 4)),
        *(("value", step) for step in (2, 4)),
        ("task", None),
    ]
    # Without episodes there is nothing to show but the run.
    assert not (elsewhere / "my runs" / "smoke" / "v1" / "results.json").exists()
    # It knows its environment all the same, for `owma.eval` and `owma.transfer`.
    assert owma.load("my runs/smoke").env_id == TWO_ROUTES_ID


def _fit_said(capsys, config: ExperimentConfig, linear: float | None, decoder: float | None, **sizes: int) -> str:
    row = {"labels": 1000, "value_scale_linear": 1.0, "value_scale_decoder": 2.0}
    bound = {"r2_pessimistic": linear, "value_scale_pessimistic": 1.5}
    show_fit(row | {"r2_linear": linear, "r2_decoder": decoder} | bound, config, **sizes)
    return capsys.readouterr().err


def test_a_value_that_explains_little_is_called_a_guess(capsys) -> None:
    linear, decoder = (ExperimentConfig(value=ValueConfig(kind=kind)) for kind in ("linear", "decoder"))
    assert "warning" not in _fit_said(capsys, decoder, 0.2, 0.9, obs_dim=4, kept=32)
    said = _fit_said(capsys, linear, 0.2, 0.9, obs_dim=4, kept=32)
    assert "warning: the linear value explains little of the task's returns (R^2 = 0.20)" in said
    assert "--value.kind decoder, of which R^2 = 0.90" in said
    said = _fit_said(capsys, decoder, None, None, obs_dim=4, kept=32)
    assert "undefined (all returns are equal)" in said


def _of_features(**fields: Any) -> ExperimentConfig:
    return ExperimentConfig(world=WorldConfig(features=FeaturesConfig(**fields)))


def test_the_advice_is_of_the_features_that_there_are(capsys) -> None:
    """A flag that does nothing for a kind of features is not advised with it; nor is training, which psi is not of."""
    polynomial = _of_features(kind="polynomial", coordinates=7)
    said = _fit_said(capsys, polynomial, 0.4, 0.4, obs_dim=17, kept=32)
    assert (
        "outcomes of all 17 numbers of an observation and not of 0 to 6 alone (--world.features.coordinates 0)" in said
    )
    assert "--world.features.degree 3" in said and "--world.max-dims (now 32)" in said
    assert "num-features" not in said and "updates" not in said
    said = _fit_said(capsys, _of_features(), 0.4, 0.4, obs_dim=4, kept=14)
    assert "--world.features.num-features 128 (now 64)" in said and "--world.min-variance (now 0.003)" in said
    assert "max-dims" not in said and "coordinates 0" not in said
    said = _fit_said(capsys, _of_features(kind="identity"), 0.4, 0.4, obs_dim=4, kept=4)
    assert "--world.features.kind fourier" in said and not any(w in said for w in ("max-dims", "min-variance", "num-f"))
    # Two thousand numbers have more products than are allowed.
    assert "polynomial" not in _fit_said(capsys, _of_features(), 0.4, 0.4, obs_dim=2000, kept=14)
