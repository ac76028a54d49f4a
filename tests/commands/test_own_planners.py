"""Planners of one's own, `planner:MODULE:Class`: they act if the command line names them, and not if a folder does."""

import dataclasses
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import owma
import owma.eval.__main__
import owma.train.__main__
import owma.transfer.__main__
from owma.api.evaluate import _by_name
from owma.config.experiment import EvaluationConfig, imported_modules
from owma.config.json import to_json
from owma.config.planners import OwnPlanner, own_planner
from owma.config.transfer import TransferConfig
from owma.eval.__main__ import Eval
from owma.planners import RandomShootingPlanner, TiltedResampling
from owma.runs.folder import RunFolder
from owma.transfer.__main__ import Transfer

pytestmark = pytest.mark.cases

MINE = """
import dataclasses, pathlib, owma
pathlib.Path(__file__).with_suffix(".imported").touch()

@dataclasses.dataclass(frozen=True)
class FewDraws(owma.AbstractPlannerConfig):
    kl_coef: float = 0.25

    def build(self):
        return owma.TiltedResampling(num_samples=3, kl_coef=self.kl_coef).build()

class BestOfTwo(owma.RandomShootingPlanner):
    num_samples: int = 2
    num_elites: int = 1

class NeedsMore(owma.RandomShootingPlanner):
    pass

class Raises(FewDraws):
    def __init__(self):
        raise RuntimeError("no licence")

class RaisesLater(owma.AbstractPlannerConfig):
    def build(self):
        raise KeyError("depth")

class BuildsNone(owma.AbstractPlannerConfig):
    def build(self):
        return 3

Static = FewDraws
number = 3
"""


@pytest.fixture
def mine(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module on the path; the file beside it tells that it has been imported."""
    (elsewhere / "my_planners.py").write_text(MINE)
    monkeypatch.syspath_prepend(elsewhere)
    yield elsewhere / "my_planners.imported"
    sys.modules.pop("my_planners", None)


def test_a_class_is_made_without_arguments_at_the_price_that_is_asked_for(mine: Path) -> None:
    config = EvaluationConfig(planners=("static", "planner:my_planners:FewDraws", "planner:my_planners:BestOfTwo"))
    planners = dataclasses.replace(config, kl_coef=2.0).named_planners()
    assert list(planners) == ["static", "few_draws", "best_of_two"]
    assert imported_modules((), None, (), config.planners) == ("my_planners",) and not mine.exists()
    assert planners["few_draws"].build() == TiltedResampling(num_samples=3, kl_coef=2.0).build()
    assert config.named_planners()["few_draws"].build() == TiltedResampling(num_samples=3).build()
    assert isinstance(planners["best_of_two"].build(), RandomShootingPlanner) and mine.exists()
    assert own_planner("planner:a.b:C") == OwnPlanner("a.b", "C")
    assert [own_planner(name) for name in ("static", "planner:C", "planner:a-b:C", "planner:a:b c")] == [None] * 4


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere_at_all:FewDraws", "planner:nowhere_at_all:FewDraws cannot be imported (ModuleNotFoundError: No mod"),
        ("my_planners:Missing", "cannot be imported (AttributeError: module 'my_planners' has no attribute 'Missing'"),
        ("my_planners:number", "planner:my_planners:number is no planner: name a class of owma.AbstractPlanner"),
        ("my_planners:NeedsMore", "planner:my_planners:NeedsMore cannot be made without arguments"),
        ("my_planners:Raises", "cannot be made without arguments (RuntimeError: no licence); give"),
        ("my_planners:RaisesLater", "planner:my_planners:RaisesLater cannot be built (KeyError: 'depth')"),
        ("my_planners:BuildsNone", "builds a int; its `build` has to return an owma.AbstractPlanner"),
        ("my_planners:Static", "rows of another planner are called 'static'; rename it"),
        ("my_planners", "there is none of that name; choose from static, "),
    ],
)
def test_a_mistake_is_told_before_anything_is_trained(mine: Path, invoke, name: str, sentence: str) -> None:
    done = invoke(owma.train.__main__.main, "smoke", "--evaluation.planners", "static", f"planner:{name}")
    assert sentence in done.refused() and not Path("runs").exists()


def test_a_run_of_this_session_compares_them_again(mine: Path) -> None:
    config = EvaluationConfig(planners=("planner:my_planners:FewDraws",))
    # `owma.fit` has built them already; a folder's are refused below.
    assert _by_name((), config, trusted=True) == config.named_planners()
    with pytest.raises(owma.ConfigError, match="whose code would run"):
        _by_name((), config, trusted=False)
    assert not mine.exists()


def test_whether_they_keep_a_deadline_is_asked_of_the_planner() -> None:
    def deadline(*planners: str) -> Eval:
        return Eval(Path("runs/mine"), evaluation=EvaluationConfig(planners=planners), deadline_ms=20.0)

    assert list(deadline("online_adaptation", "planner:my_planners:Mine").acting()) == ["online_adaptation", "mine"]
    with pytest.raises(owma.ConfigError, match="only planner:online-adaptation"):
        deadline("cem", "planner:my_planners:Mine")


def test_what_a_transfer_varies_of_them_imports_nothing_else(mine: Path, invoke, elsewhere: Path) -> None:
    folder = elsewhere / "runs" / "mine" / "v1" / "transfers" / "theirs" / "v1"

    folder.mkdir(parents=True)

    def refused(planner: str, each: str, *trust: str) -> str:
        arguments = Transfer(
            Path("runs/mine"), TransferConfig(task=("recorded",)), EvaluationConfig(planners=(planner,))
        )
        written: Any = to_json(arguments)
        written["config"]["each"] = [each]  # as somebody may have written it
        RunFolder(folder).write_json("config.json", written)
        return invoke(owma.transfer.__main__.main, "--resume", folder, *trust).refused()

    code = "static_planner.module:static_planner.class_name=my_planners:BestOfTwo"
    told = refused("planner:owma.planners.static:StaticPlanner", code)
    assert "of planner:owma.planners.static:StaticPlanner only kl_coef can be varied" in told and not mine.exists()
    assert "only kl_coef can be varied, not num_samples" in refused(
        "planner:my_planners:FewDraws", "few_draws.num_samples=3"
    )
    price = "planner:my_planners:BestOfTwo", "best_of_two.kl_coef=2"
    assert "imports my_planners, whose code would run" in refused(*price) and not mine.exists()
    assert "BestOfTwo has no kl_coef to vary" in refused(*price, "--trust", "my_planners")


def test_on_a_run_they_act_and_a_folder_imports_none(mine: Path, invoke, smoke_run, elsewhere: Path) -> None:
    run = RunFolder(Path(shutil.copytree(smoke_run.folder, elsewhere / "runs" / "mine" / "v1")))
    brief = ("--episodes", "1", "--timed-decisions", "0", "--max-steps", "20")
    done = invoke(owma.eval.__main__.main, "runs/mine", *brief, "--planners", "static", "planner:my_planners:BestOfTwo")
    assert done.code == 0, done.stderr
    rows = RunFolder(Path(done.stdout.splitlines()[-1])).read_jsonl("episodes.jsonl")
    assert [row["planner"] for row in rows] == ["static", "best_of_two"] and rows[1]["nfe"] == 2 * 5

    mine.unlink()
    sys.modules.pop("my_planners")
    config = run.read_json("config.json")
    named = {"planners": ["static", "planner:my_planners:BestOfTwo"]}
    run.write_json("config.json", config | {"evaluation": config["evaluation"] | named})
    loaded = owma.load("runs/mine")
    assert loaded.config.evaluation.planners[1] == "planner:my_planners:BestOfTwo"
    with pytest.raises(owma.ConfigError, match=r"run.evaluate\(\['static', 'planner:my_planners:BestOfTwo'\]\)"):
        loaded.evaluate(episodes=1, progress=False)
    refused = invoke(owma.train.__main__.main, "--resume", "runs/mine").refused()
    assert "imports my_planners, whose code would run" in refused and "--trust my_planners" in refused
    assert not mine.exists()
