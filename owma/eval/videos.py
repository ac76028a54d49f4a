"""An episode as an animation: as the simulator shows it where it can draw here, and from above elsewhere."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import jax
import numpy as np
from gymnasium.envs.registration import EnvSpec

from owma._internal.errors import ConfigError
from owma._internal.types import Float
from owma.agent.act import Agent
from owma.envs import GOAL_CELL, MAZE_MAP, MOST_STEPS, TWO_ROUTES_ID, cell_center, env_json, make_env
from owma.results import plots

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
    agent: Agent,
    env: EnvSpec,
    path: Path,
    *,
    seed: int,
    rendered: bool,
    title: str,
    most_steps: int = MOST_STEPS,
    every: int = 5,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """One episode from environment seed `1000 * seed`, that of an evaluation's first, as a GIF.

    **Arguments:** `rendered`: by the simulator (see `find_renderer`), or else the position seen from above, which is
    taken to be the first two numbers of the state. `most_steps`: where the environment has no limit of its own.
    `every`: steps from frame to frame.

    **Returns:** `path`. Raises `ConfigError` where there is no position.
    """
    if agent.obs_size < 2:
        raise ConfigError("An animation from above needs a state that begins with a position x, y.")
    made = make_env(env, most_steps=most_steps, render_mode="rgb_array" if rendered else None)
    frames: list[np.ndarray] = []
    try:
        obs, _ = made.reset(seed=1000 * seed % 2**32)
        state, key, ended, step = agent.init(), jax.random.key(seed), False, 0
        while not ended:
            if step % every == 0:
                frames.append(np.asarray(made.render()) if rendered else agent.flatten(obs)[:2])
            key, act_key = jax.random.split(key)
            action, state, _ = agent.act(obs, state, key=act_key)
            obs, _, terminated, truncated, _ = made.step(action)
            ended, step = terminated or truncated, step + 1
            if progress is not None:
                progress(1)
    finally:
        made.close()
    if rendered:
        return _save(path, frames)
    known = env.id == TWO_ROUTES_ID
    positions: Float[np.ndarray, "frames 2"] = np.stack(frames)
    return plots.map_animation(
        path,
        positions,
        title=title,
        maze_map=MAZE_MAP if known else None,
        goal=cell_center(*GOAL_CELL) if known else None,
    )


def _save(path: Path, frames: list[np.ndarray]) -> Path:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    images = [Image.fromarray(frame) for frame in frames]
    for image in images:
        image.thumbnail((320, 320))
    images[0].save(path, save_all=True, append_images=images[1:], duration=50, loop=0)
    return path
