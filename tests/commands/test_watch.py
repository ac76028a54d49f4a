"""`owma watch`: what a run has written so far, once or as it goes on."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import owma.watch.__main__
from owma.runs.folder import RunFolder
from owma.watch.view import Watched, losses, promises, sparkline

LOSSES = [
    {"phase": "outcomes", "step": 100 * i, "world_loss": 1.0 / i, "policy_loss": 2.0, "world_held_out_loss": 1.5 / i}
    for i in (1, 2, 3)
]


def _episode(planner: str, **more: Any) -> dict[str, Any]:
    return {"planner": planner, "success": True, "value": 10.0, "promise_gap": 4.0} | more


@pytest.fixture
def run(elsewhere: Path) -> RunFolder:
    folder = RunFolder.create(elsewhere / "runs", "mine")
    folder.write_json("config.json", {"evaluation": {"episodes": 2}})
    folder.write_jsonl("metrics.jsonl", LOSSES)
    return folder


def test_losses_and_promises_are_those_of_the_rows() -> None:
    world, policy = losses([*LOSSES, {"phase": "task", "r2_linear": 0.9}])
    assert (world["name"], world["step"], world["now"], world["held_out"]) == ("world", 300, 1 / 3, 0.5)
    assert world["course"] == [1.0, 0.5, 1 / 3] and policy["held_out"] is None
    rows = [_episode("static"), _episode("static", success=False, promise_gap=0.0), _episode("cem", value=None)]
    static, cem = promises(rows)
    assert static == {"planner": "static", "episodes": 2, "success": 0.5, "promised": 10.0, "realised": 8.0}
    assert cem["promised"] is None and cem["realised"] is None and cem["success"] == 1.0


def test_a_course_is_drawn_from_its_highest_to_its_lowest() -> None:
    assert sparkline([8.0, 4.0, 2.0, 1.0]) == "█▆▃▁"  # halves are equal steps of a logarithm
    assert sparkline([1.0, float("nan"), 1.0]) == "▁▁" and sparkline([]) == ""
    assert len(sparkline([float(i) for i in range(1000)])) == 32


def test_where_nothing_is_a_terminal_it_looks_once(run: RunFolder, invoke) -> None:
    done = invoke(owma.watch.__main__.main, "runs/mine")
    assert done.code == 0 and "runs/mine/v1: outcomes, update 300" in done.stdout and "0.333" in done.stdout
    # A row that is being written is left for the next time; a newer version is the one that is looked at.
    run.write_jsonl("episodes.jsonl", [_episode("online_adaptation")])
    with run.episodes_jsonl.open("a") as file:
        file.write('{"planner": "sta')
    assert " 60" in invoke(owma.watch.__main__.main, "runs/mine").stdout
    RunFolder.create(run.path.parent.parent, "mine")
    assert "v2: nothing is written yet" in invoke(owma.watch.__main__.main, "runs/mine").stdout
    assert "evaluating; online_adaptation is done" in invoke(owma.watch.__main__.main, "runs/mine/v1").stdout


def test_an_end_and_a_silence_are_said(run: RunFolder) -> None:
    seen = Watched.read(run.path)
    assert not seen.is_finished and "no news" not in seen.state
    (run.path / "models").mkdir()
    assert not Watched.read(run.path).is_finished  # episodes are to come
    run.write_json("config.json", {"evaluation": {"episodes": 0}})
    assert Watched.read(run.path).state == "finished"
    assert "no news for 5 minutes" in Watched(run.path, seen.metrics, [], False, 300.0).state


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_it_follows_a_run_until_that_has_ended(run: RunFolder, invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(owma.watch.__main__, "result_stream", lambda: terminal)

    def metrics() -> None:
        run.append_jsonl("metrics.jsonl", LOSSES[-1] | {"step": 777})

    def episodes() -> None:
        run.append_jsonl("episodes.jsonl", _episode("twisted_smc"))

    def results() -> None:
        run.write_json("results.json", {})

    happens = iter((metrics, episodes, results))
    monkeypatch.setattr(owma.watch.__main__.time, "sleep", lambda seconds: next(happens)())
    assert invoke(owma.watch.__main__.main, "runs/mine", "--every", "0.05").code == 0
    shown = terminal.getvalue()
    assert (
        shown.index("update 300") < shown.index("update 777") < shown.index("twisted_smc") <= shown.rindex("finished")
    )


def test_ctrl_c_ends_the_looking_without_a_word(run: RunFolder, invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(owma.watch.__main__, "result_stream", lambda: terminal)

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(owma.watch.__main__.time, "sleep", interrupted)
    done = invoke(owma.watch.__main__.main, "runs/mine")
    assert (done.code, done.stderr) == (0, "") and terminal.getvalue().endswith("\x1b[?25h")  # the cursor is back


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["runs/none"], "There is no run at runs/none; choose one of runs/mine."),
        (["runs/mine", "--every", "0"], "every=0.0: seconds, more than 0."),
        (["runs/spoilt"], "runs/spoilt/metrics.jsonl, line 1, is not a JSON object"),
    ],
)
def test_refusals(arguments: list[str], sentence: str, run: RunFolder, invoke) -> None:
    Path("runs/spoilt").mkdir()
    Path("runs/spoilt/metrics.jsonl").write_text("what is this\n")
    assert sentence in invoke(owma.watch.__main__.main, *arguments).refused()


def test_it_is_there_by_name_and_imports_no_jax(run: RunFolder) -> None:
    code = "import sys, owma.__main__ as m; sys.argv = ['owma', 'watch', 'runs/mine']; m.main()"
    code += "; print('jax' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=run.path.parent.parent.parent
    )
    assert done.returncode == 0 and "outcomes, update 300" in done.stdout and done.stdout.endswith("False\n"), (
        done.stderr
    )
    json.loads(run.metrics_jsonl.read_text().splitlines()[0])  # nothing was written
