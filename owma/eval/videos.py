"""Episodes as a film: as the simulator shows them where it can draw here, and on a map elsewhere."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from gymnasium.envs.registration import EnvSpec

from owma._internal.errors import ConfigError
from owma._internal.types import Float
from owma.agent.act import Agent
from owma.envs import (
    GOAL_CELL,
    MOST_STEPS,
    TWO_ROUTES_ID,
    cell_center,
    env_json,
    make_env,
    maze_of,
    paid_ground,
    reported_success,
)
from owma.eval.film import SIDE, Ground, Shot, frames, save_gif, save_mp4

_FRAMES_PER_SECOND = 20.0
_PROBE = """
import sys, numpy, owma.envs
owma.envs.import_modules(sys.argv[2:])
env = owma.envs.make_env(owma.envs.read_env(sys.argv[1], "it"), render_mode="rgb_array")
env.reset(seed=0)
assert isinstance(env.render(), numpy.ndarray)
"""


def find_renderer(env: EnvSpec, modules: Iterable[str] = ()) -> str | None:
    """What `MUJOCO_GL` must be for the environment to be drawn without a display; `None` where nothing does.

    A library that is missing can end the process that asks for it, so that another one is asked to. To be called, and
    its answer put into the environment's variables, before MuJoCo is imported. `modules` register the environment.
    """
    chosen = os.environ.get("MUJOCO_GL")
    for name in [chosen] if chosen else ["egl", "osmesa"]:
        variables = os.environ | {"MUJOCO_GL": name, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-c", _PROBE, env_json(env), *modules]
        try:
            done = subprocess.run(command, env=variables, capture_output=True, timeout=120)
        except subprocess.TimeoutExpired:
            continue
        if done.returncode == 0:
            return name
    return None


def record(
    agents: Mapping[str, Agent],
    env: EnvSpec,
    path: Path,
    *,
    seed: int,
    rendered: bool,
    ours: str = "",
    most_steps: int = MOST_STEPS,
    every: int = 5,
    progress: Callable[[int], None] | None = None,
) -> list[Path]:
    """One episode of each agent, side by side, from environment seed `1000 * seed`, that of an evaluation's first.

    Burnt in are the titles, the step, the nats of the plan that is followed, and at the end whether it succeeded, or
    the return where the environment does not say.

    **Arguments:** `agents`: by their titles. `path`: the GIF file; an MP4 comes beside it where ffmpeg is. `rendered`:
    by the simulator (see `find_renderer`), mazes from above so that all of them is seen; or else the position on the
    map, which is taken to be the first two numbers of the state. `ours`: the title that stands out. `most_steps`: where
    the environment has no limit of its own. `every`: steps from frame to frame.

    **Returns:** the files. Raises `ConfigError` where there is no position.
    """
    if any(agent.obs_size < 2 for agent in agents.values()):
        raise ConfigError("An animation from above needs a state that begins with a position x, y.")
    about: dict[str, Any] = {"seed": seed, "rendered": rendered, "most_steps": most_steps, "every": every}
    episodes = {title: _episode(agent, env, progress=progress, **about) for title, agent in agents.items()}
    if rendered:
        images = {title: seen for title, (seen, _) in episodes.items()}
    else:
        ground = _ground(env, np.concatenate([np.stack(seen) for seen, _ in episodes.values()]))
        images = {
            title: [ground.image(np.stack(seen[: i + 1]), is_ours=title == ours) for i in range(len(seen))]
            for title, (seen, _) in episodes.items()
        }
    panels = {title: [Shot(*shot) for shot in zip(images[title], told)] for title, (_, told) in episodes.items()}
    film = frames(panels, ours=ours)
    written = [save_gif(path, film, frames_per_second=_FRAMES_PER_SECOND)]
    beside = save_mp4(path.with_suffix(".mp4"), film, frames_per_second=_FRAMES_PER_SECOND)
    return written if beside is None else [*written, beside]


def _episode(
    agent: Agent,
    env: EnvSpec,
    *,
    seed: int,
    rendered: bool,
    most_steps: int,
    every: int,
    progress: Callable[[int], None] | None,
) -> tuple[list[np.ndarray], list[str]]:
    """What is seen, images or positions, and the words for each."""
    made = make_env(env, most_steps=most_steps, render_mode="rgb_array" if rendered else None)
    seen: list[np.ndarray] = []
    told: list[str] = []
    try:
        if rendered:
            _overlook(made, env)
        obs, _ = made.reset(seed=1000 * seed % 2**32)
        state, key, ended, step, paid, returned = agent.init(), jax.random.key(seed), False, 0, 0.0, 0.0
        success: bool | None = None
        while not ended:
            if step % every == 0:
                seen.append(np.asarray(made.render()) if rendered else agent.flatten(obs)[:2])
                told.append("")
            key, act_key = jax.random.split(key)
            action, state, info = agent.act(obs, state, key=act_key)
            paid = max(0.0, float(info.plan.kl))
            if not told[-1]:
                told[-1] = f"step {step}, {paid:.1f} nats" + ("; success" if success else "")
            obs, reward, terminated, truncated, said = made.step(action)
            returned += float(reward)
            reached = reported_success({name: [value] for name, value in said.items()})
            success = success if reached is None else bool(success) or bool(reached[0])
            ended, step = terminated or truncated, step + 1
            if progress is not None:
                progress(1)
        told[-1] = f"step {step}, {paid:.1f} nats; {_outcome(success, returned)}"
    finally:
        made.close()
    return seen, told


def _outcome(success: bool | None, returned: float) -> str:
    return f"return {returned:.3g}" if success is None else "success" if success else "no success"


def _overlook(made: Any, env: EnvSpec) -> None:
    """Let the simulator draw frames of some size, and a maze from above and whole: from the side its near wall hides
    the way along it.
    """
    holder: Any = made.unwrapped
    for name in ("_maze", "point_env", "ant_env"):
        holder = getattr(holder, name, holder)
    renderer = getattr(holder, "mujoco_renderer", None)
    if renderer is None:
        return  # drawn by other means, at their size
    renderer.width = renderer.height = SIDE
    maze = maze_of(env)
    if maze is not None:
        cells, side = maze
        extent = max(len(cells), len(cells[0])) * side
        distance = 1.06 * extent / 2 / np.tan(np.radians(float(renderer.model.vis.global_.fovy) / 2))
        renderer.camera_id = -1
        renderer.default_cam_config = {
            "lookat": np.zeros(3),
            "distance": float(distance),
            "elevation": -90.0,
            "azimuth": 90.0,
        }


def _ground(env: EnvSpec, ways: Float[np.ndarray, "n 2"]) -> Ground:
    maze = maze_of(env)
    if maze is None:
        low, high = ways.min(axis=0), ways.max(axis=0)
        middle, half = (low + high) / 2, 0.55 * max(float((high - low).max()), 1e-3)
        left, bottom, right, top = *(middle - half), *(middle + half)
        return Ground((float(left), float(bottom), float(right), float(top)))
    cells, side = maze
    half = len(cells[0]) * side / 2, len(cells) * side / 2
    known = env.id == TWO_ROUTES_ID
    return Ground(
        (-half[0], -half[1], half[0], half[1]),
        walls=cells,
        goal=cell_center(*GOAL_CELL) if known else None,
        pays=paid_ground(env.kwargs.get("preferred", "lower")) if known else None,
    )
