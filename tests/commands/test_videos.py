"""`--video`: from above where nothing draws, and by the simulator where it can."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from line_world import line_world
from PIL import Image

import owma.eval.__main__
from owma.agent.act import Agent
from owma.envs import TWO_ROUTES_ID
from owma.eval.film import SIDE, Ground, Shot, frames, save_mp4
from owma.eval.videos import find_renderer, record
from owma.planners import Static
from owma.results.plots.colours import ADAPTED, GROUND, STAR, WALL

CHECKOUT = Path(__file__).parent.parent.parent
FLAGS = ("planner:static", "--episodes", "1", "--timed-decisions", "0", "--video")


def _frames(path: Path) -> int:
    with Image.open(path) as image:
        return getattr(image, "n_frames", 1)


def test_episodes_side_by_side_on_a_map(gaussian_model, tmp_path: Path) -> None:
    agent = Agent(gaussian_model([0.0, 1.0], [1.0, 1.0], [1.0, 0.0]), Static().build())
    steps: list[int] = []
    agents = {"static": agent, "online adaptation, λ = 0.25": agent}
    path = tmp_path / "video.gif"
    files = record(
        agents, line_world(), path, seed=3, rendered=False, ours="online adaptation, λ = 0.25", every=1,
        progress=steps.append,
    )  # fmt: skip
    assert files[0] == path and sum(steps) == 2 * 3  # seed 3000 ends after three steps
    with Image.open(path) as image:
        # Three frames, and the end that stands; equal ones are stored once.
        assert getattr(image, "n_frames", 1) == 3 and image.width >= 2 * SIDE and image.height >= SIDE


def test_what_is_seen_from_above_is_the_whole_maze() -> None:
    pays = [[0.0] * 3, [0.0, 1.0, 0.0], [0.0] * 3]
    ground = Ground((-3.0, -3.0, 3.0, 3.0), walls=[[1, 1, 1], [1, 0, 0], [1, 1, 1]], goal=(2.0, 0.0), pays=pays)
    image = ground.image(np.array([[0.0, -0.5], [0.0, 0.5]]), is_ours=True)
    assert image.shape == (SIDE, SIDE, 3)

    def colour(x: float, y: float) -> str:
        rows, columns = round((3 - y) / 6 * SIDE), round((x + 3) / 6 * SIDE)
        return "#" + "".join(f"{part:02x}" for part in image[rows, columns])

    assert colour(0.0, 0.5) == ADAPTED and colour(2.0, 0.0) == STAR
    assert colour(-2.5, 2.5) == colour(2.9, -2.9) == WALL
    assert colour(-0.8, 0.0) not in (GROUND, WALL) and colour(1.2, 0.0) == GROUND  # paid, and not


def test_an_end_stands_and_a_shorter_episode_waits() -> None:
    def shots(count: int, size: tuple[int, int]) -> list[Shot]:
        return [Shot(np.full((*size, 3), 40 * i, np.uint8), f"step {i}") for i in range(count)]

    film = frames({"one": shots(2, (200, 300)), "other": shots(4, (SIDE, SIDE))}, ours="other")
    assert len(film) > 4 + 20 and len({frame.shape for frame in film}) == 1
    assert all(size % 2 == 0 for size in film[0].shape[:2])  # as H.264 wants it
    np.testing.assert_array_equal(film[3], film[-1])
    half = round(300 * SIDE / 200)  # the smaller one is enlarged
    np.testing.assert_array_equal(film[1][:, :half], film[3][:, :half])
    assert not np.array_equal(film[2], film[3])


def test_an_mp4_is_made_where_ffmpeg_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = [np.zeros((4, 6, 3), np.uint8)] * 5
    monkeypatch.setattr("owma.eval.film._ffmpeg", lambda: None)
    assert save_mp4(tmp_path / "a.mp4", film, frames_per_second=20.0) is None
    stand_in = tmp_path / "ffmpeg"
    stand_in.write_text(
        f"#!{sys.executable}\nimport sys\n"
        "open(sys.argv[-1], 'w').write(f'{sys.argv} {len(sys.stdin.buffer.read())}')\n"
    )
    stand_in.chmod(0o755)
    monkeypatch.setattr("owma.eval.film._ffmpeg", lambda: str(stand_in))
    assert save_mp4(tmp_path / "a.mp4", film, frames_per_second=20.0) == tmp_path / "a.mp4"
    given = (tmp_path / "a.mp4").read_text()
    assert given.endswith(f" {5 * 4 * 6 * 3}") and "'6x4'" in given and "libx264" in given
    stand_in.write_text(f"#!{sys.executable}\nraise SystemExit(1)\n")
    assert save_mp4(tmp_path / "b.mp4", film, frames_per_second=20.0) is None


def test_a_library_that_is_not_there_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "nonsense")
    assert find_renderer(gym.spec(TWO_ROUTES_ID)) is None


def test_the_command_draws_the_map_where_nothing_renders(invoke, smoke_run, elsewhere: Path, monkeypatch) -> None:
    shutil.copytree(smoke_run.folder, elsewhere / "runs" / "smoke" / "v1")
    monkeypatch.setattr("owma.eval.videos.find_renderer", lambda env, modules=(): None)
    monkeypatch.setattr("owma.eval.film._ffmpeg", lambda: None)
    done = invoke(owma.eval.__main__.main, "runs/smoke", *FLAGS)
    assert done.code == 0 and "recording" in done.stderr, done.stderr
    assert "no MP4, which ffmpeg makes: install ffmpeg" in done.stderr
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
        assert image.width == SIDE and image.height > SIDE and 30 < _frames(path) <= 60
