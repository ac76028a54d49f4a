"""`--video`: from above where nothing draws, and by the simulator where it can."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest
from line_world import line_world
from PIL import Image

import owma.eval.__main__
from owma.agent.act import Agent
from owma.envs import TWO_ROUTES_ID
from owma.eval.videos import find_renderer, record
from owma.planners import Static

CHECKOUT = Path(__file__).parent.parent.parent
FLAGS = ("planner:static", "--episodes", "1", "--timed-decisions", "0", "--video")


def _frames(path: Path) -> int:
    with Image.open(path) as image:
        return getattr(image, "n_frames", 1)


def test_an_episode_from_above(gaussian_model, tmp_path: Path) -> None:
    agent = Agent(gaussian_model([0.0, 1.0], [1.0, 1.0], [1.0, 0.0]), Static().build())
    steps: list[int] = []
    path = record(
        agent, line_world(), tmp_path / "video.gif", seed=3, rendered=False, title="x", every=1, progress=steps.append
    )
    # Seed 3000 ends after three steps; the last state is not shown.
    assert _frames(path) == 3 and sum(steps) == 3


def test_a_library_that_is_not_there_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "nonsense")
    assert find_renderer(gym.spec(TWO_ROUTES_ID)) is None


def test_the_command_draws_the_map_where_nothing_renders(invoke, smoke_run, elsewhere: Path, monkeypatch) -> None:
    shutil.copytree(smoke_run.folder, elsewhere / "runs" / "smoke" / "v1")
    monkeypatch.setattr("owma.eval.videos.find_renderer", lambda env, modules=(): None)
    done = invoke(owma.eval.__main__.main, "runs/smoke", *FLAGS)
    assert done.code == 0 and "recording" in done.stderr, done.stderr
    # A frame every five steps of three hundred; equal ones are stored once.
    assert 30 < _frames(Path(done.stdout.splitlines()[-1]) / "video.gif") <= 60


@pytest.mark.slow
def test_the_simulator_draws_where_it_can(smoke_run, elsewhere: Path) -> None:
    renderer = find_renderer(gym.spec(TWO_ROUTES_ID))
    if renderer is None:
        pytest.skip("neither EGL nor OSMesa draws here")
    shutil.copytree(smoke_run.folder, elsewhere / "runs" / "smoke" / "v1")
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "owma.eval", "runs/smoke", *FLAGS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.splitlines()[-1]) / "video.gif"
    with Image.open(path) as image:
        assert image.size == (320, 320) and 30 < _frames(path) <= 60
