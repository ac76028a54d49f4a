import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: object
    stdout: str
    stderr: str

    def refused(self) -> str:
        """The one sentence that a mistake is answered with."""
        lines = [line for line in self.stderr.splitlines() if line.startswith("owma: error: ")]
        assert self.code == 2 and self.stdout == "" and len(lines) == 1 and "Traceback" not in self.stderr, self
        return lines[0]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run a command in this process, as `python -m` would: `invoke(main, *arguments)`."""

    def invoke(main: Callable[[], None], *arguments: object) -> Outcome:
        from owma._internal.command import command

        monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        capsys.readouterr()
        code: object = 0
        try:
            command(main)
        except SystemExit as stop:
            code = stop.code
        shown = capsys.readouterr()
        return Outcome(code, shown.out, shown.err)

    return invoke


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, with datasets of its own."""
    (tmp_path / "datasets").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("MINARI_DATASETS_PATH", os.fspath(tmp_path / "datasets"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def write_dataset(elsewhere: Path) -> Callable[..., str]:
    """Write two episodes of ten random steps in the given spaces; the reward is 1 throughout. Gives the id."""
    import minari
    from minari.data_collector import EpisodeBuffer

    def write(obs_space: gym.Space[Any], act_space: gym.Space[Any]) -> str:
        def rows(space: gym.Space[Any], count: int) -> Any:
            samples = [space.sample() for _ in range(count)]
            if isinstance(space, gym.spaces.Dict):
                return {key: np.stack([sample[key] for sample in samples]) for key in space.spaces}
            return np.stack(samples)

        buffers = [
            EpisodeBuffer(
                id=number,
                observations=rows(obs_space, 11),
                actions=rows(act_space, 10),
                rewards=[1.0] * 10,
                terminations=[False] * 10,
                truncations=[False] * 9 + [True],
            )
            for number in range(2)
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what this dataset does not say of itself
            minari.create_dataset_from_buffers(
                "test/mine-v0", buffers, observation_space=obs_space, action_space=act_space
            )
        return "test/mine-v0"

    return write
