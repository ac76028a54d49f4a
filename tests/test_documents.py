"""What the README and the guides show is run or read as flags, and what they link to is there."""

import dataclasses
import importlib
import inspect
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documents import CHECKOUT, GUIDES, README, anchors, commands, fenced, links, pages

import owma
from owma._internal.progress import open_progress
from owma.config.experiment import EvaluationConfig
from owma.config.tune import TuneConfig
from owma.data.given import given_data
from owma.outcomes.given import read_task

PACKAGE = CHECKOUT / "owma"


class _Parsed(Exception):
    """Raised in the place of what a command does after it has read its flags."""


def _main_module(command: str) -> str:
    """Where `python -m` finds the `main` of a command: a module, or the `__main__` of a package."""
    return command if (PACKAGE / f"{command.removeprefix('owma.')}.py").is_file() else f"{command}.__main__"


def _commands() -> list[str]:
    return list(dict.fromkeys(line for page in (README, *GUIDES) for line in commands(page)))


@pytest.mark.parametrize("line", _commands())
def test_commands_are_understood(line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # `smoke`, `eval` and `--resume` are run for real in tests/commands; here it is the flags that must exist.
    words = shlex.split(line, comments=True)
    module, flags = (words[2], words[3:]) if words[0] == "python" else (f"owma.{words[1]}", words[2:])
    monkeypatch.chdir(tmp_path)

    def stop(*args: object, **kwargs: object) -> None:
        raise _Parsed

    for name in (
        "owma.train.inputs.prepare_experiment",
        "owma.train.__main__.RunFolder.open",
        "owma.runs.load.load_run",
        "owma.data.open_by_name",
        "owma.collect.claim.is_collected",
        "owma.sweep.__main__._need_ray",
        "owma.report.source.Source.read",
        "owma.doctor.examine",
        "owma.demo.page.page",
        "owma.docs.site.write_site",
    ):
        monkeypatch.setattr(name, stop)
    monkeypatch.setattr(sys, "argv", [module, *flags])
    with pytest.raises(_Parsed):
        importlib.import_module(_main_module(module)).main()


class _Run:
    """In the place of a trained run, with a model that compiles quickly; `tests/test_front_door.py` has a real one."""

    def __init__(self, model: owma.AgentModel) -> None:
        self.model, self.tasks = model, []

    def agent(self, planner: owma.OnlineAdaptation | None = None, **options: Any) -> owma.Agent:
        inspect.signature(owma.Run.agent).bind(self, planner, **options)
        built = dataclasses.replace(planner or owma.OnlineAdaptation(), adaptation_steps=2, adapt="all").build()
        # Acting and exporting are the same for all planners; what stands in for others is there sooner.
        return owma.Agent(self.model, built if options.get("deadline_ms") else owma.Static().build(), **options)

    def evaluate(self, planners: Any, **options: Any) -> list[Any]:
        inspect.signature(owma.evaluate).bind(self, planners, **options)
        EvaluationConfig(planners=tuple(planner for planner in planners if isinstance(planner, str)))
        return []

    def tune(self, **options: Any) -> "_Run":
        TuneConfig(**options)
        return self

    def tell(self, task: Any) -> "_Run":
        self.tasks.append(read_task(task).config)
        return self


def test_the_python_of_the_guides_runs(
    gaussian_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _Run(gaussian_model([0.0, 0.0], [1.0, 1.0], [1.0, 0.0]))
    read: list[tuple[int, ...]] = []

    def fit(data: Any, **options: Any) -> _Run:
        inspect.signature(real_fit).bind(data, **options)
        read_task(options["task"])
        with given_data(data, open_progress) as given:
            read.append(given.dataset.transitions.obs.shape)
        return run

    def steps() -> tuple[np.ndarray, ...]:
        rng, cut = np.random.default_rng(0), np.arange(1, 41) % 8 == 0
        return rng.normal(size=(40, 2)).cumsum(0), rng.uniform(-1, 1, (40, 2)), rng.normal(size=40), cut

    real_fit = owma.fit
    monkeypatch.setattr(owma, "fit", fit)
    monkeypatch.setattr(owma, "load", lambda path: run)
    monkeypatch.chdir(tmp_path)
    sent: list[np.ndarray] = []
    for page in GUIDES:
        given = {"owma": owma, "steps": steps, "read_sensors": lambda: np.zeros(2), "send": sent.append}
        for block in fenced(page, "python"):
            exec(compile(block, str(page), "exec"), given)
    assert read == [(35, 2)] * 2, "of each of five episodes that were cut the last step is dropped"
    assert len(run.tasks) == 4 and len(sent) == 3 and all(np.isfinite(action).all() for action in sent)
    assert (tmp_path / "robot.npz").exists() and "not finite" in capsys.readouterr().out


def test_links_lead_somewhere() -> None:
    written = [(page, target) for page in pages() for target in links(page)]
    assert len(written) > 20
    wrong = []
    for page, target in written:
        path, _, anchor = target.partition("#")
        to = (page.parent / path).resolve() if path else page
        if not to.exists() or not to.is_relative_to(CHECKOUT):
            wrong.append(f"{page.relative_to(CHECKOUT)}: {target} is not there")
        elif anchor and anchor not in anchors(to):
            wrong.append(f"{page.relative_to(CHECKOUT)}: {target} has no such heading")
    assert not wrong, "\n".join(wrong)


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('# A b\n[one](no.md#x) ![two](no.png) `[three](code.md)` <img src="no.gif">\n```\n[4](5)\n```\n')
    assert links(page) == ["no.md#x", "no.png", "no.gif"] and anchors(page) == {"a-b"}


def test_guides_are_short_and_say_what_is_theirs() -> None:
    for page in GUIDES:
        assert len(page.read_text().splitlines()) <= 170, page
    (glossary,) = re.findall(r"^## Eight words\n\n(.*?)\n\n", GUIDES[0].read_text(), re.MULTILINE | re.DOTALL)
    assert len(glossary.splitlines()) == 2 + 8
