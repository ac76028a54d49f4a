"""An agent compiled ahead of time: one file that a robot's process loads and calls, without tracing the planner."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import equinox as eqx
import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from owma._internal.errors import CheckpointError, ConfigError
from owma._internal.npz import read_npz
from owma._internal.types import Array, Float, HostArray, PRNGKeyArray
from owma.agent.act import Agent, StepInfo, step
from owma.outcomes.observations import read_obs


@dataclasses.dataclass(frozen=True)
class ExportedInfo:
    """What an exported agent says of one step."""

    psi: Float[np.ndarray, " x"]
    """The outcome that the action is meant to bring about."""
    value: float
    """V(ψ*): the return that the plan promises."""
    kl: float
    """Divergence of the plan's law from the trained model, in nats."""
    result: int
    """A `PlanResult`."""
    planned: bool
    clipped: bool
    """Whether the policy's action was moved to the boundary of the action space."""


class ExportedAgent:
    """An agent from a file: `Agent` as far as acting goes. Immutable; `state` is the caller's to keep.

    ```python
    agent = owma.load_exported("agent.npz")
    state = agent.init()
    action, state, info = agent.act(obs, state, key=key)
    ```
    """

    def __init__(
        self,
        program: jax.export.Exported,
        start: Sequence[np.ndarray],
        obs_keys: tuple[str, ...] | None,
        obs_size: int,
    ) -> None:
        self._call = jax.jit(program.call)
        self._start = tuple(start)
        self._obs_keys = obs_keys
        self._obs_size = obs_size

    def init(self) -> list[Array]:
        """The state at the start of an episode."""
        start = [jax.device_put(leaf) for leaf in self._start]
        # Committed to their device, as what the program returns is: JAX would compile it once for either.
        return [jax.device_put(leaf, leaf.sharding) for leaf in start]

    def act(
        self, obs: Mapping[str, HostArray] | HostArray, state: list[Array], *, key: PRNGKeyArray
    ) -> tuple[Float[np.ndarray, " act"], list[Array], ExportedInfo]:
        """As `Agent.act`; the same action for the same state and key. Raises `OwmaError` as that does."""
        flat = read_obs(obs, self._obs_keys, self._obs_size)
        action, state, info = self._call(flat, state, jax.random.key_data(key))
        psi, *numbers = jax.device_get(info)
        value, kl, result, planned, clipped = (number.item() for number in numbers)
        return np.array(action), state, ExportedInfo(psi, value, kl, result, planned, clipped)


def export_agent(
    agent: Agent, path: str | Path, *, platforms: str | Sequence[str] | None = None, compact: bool = False
) -> Path:
    """Write `agent` to one file: its model, planner and policy as a program, with their numbers in it.

    **Arguments:**

    - `path`: where to; the ending `.npz` is added if it is not there.
    - `platforms`: of cpu, cuda, rocm and tpu, such as `("cpu", "cuda")`; by default the one that JAX has here.
    - `compact`: write a program whose loops are not written out, and which compiles to less. It is ready to act in
      less than half of the time, and takes twice as long for each decision (`benchmarks/cold_start.py`).

    **Returns:** the file. A file of one version of JAX can be read by those of the next six months at least.

    **Raises:** `ConfigError` for an agent with a deadline, and for a platform that is none of these.
    """
    platforms = (platforms,) if isinstance(platforms, str) else tuple(platforms or ())
    if unknown := [platform for platform in platforms if platform not in _PLATFORMS]:
        raise ConfigError(
            f"export_agent(platforms={platforms!r}): {unknown[0]!r} is none of {', '.join(_PLATFORMS)}, which is what "
            "JAX calls what it compiles for."
        )
    if agent.deadline_ms is not None:
        raise ConfigError(
            f"export_agent: the agent has deadline_ms={agent.deadline_ms:g}, which takes the host's clock, and the "
            "program of a file has none. Export one without a deadline, with as many steps as there is time for: "
            "run.agent(planner=owma.OnlineAdaptation(adaptation_steps=...))."
        )
    if compact:
        chain = dataclasses.replace(agent.model.world.chain, compact=True)
        agent = eqx.tree_at(lambda agent: agent.model.world.chain, agent, chain)
    state, structure = jax.tree.flatten(agent.init())

    def program(
        obs: Float[Array, " obs"], state: list[Array], key_data: Array
    ) -> tuple[Array, list[Array], tuple[Array, ...]]:
        key = jax.random.wrap_key_data(key_data)
        action, next_state, info = step(agent, obs, jax.tree.unflatten(structure, state), key)
        return action, jax.tree.leaves(next_state), _told(info)

    shapes = jax.eval_shape(lambda: (jnp.zeros(agent.obs_size), state, jax.random.key_data(jax.random.key(0))))
    exported = jax.export.export(jax.jit(program), platforms=platforms or None)(*shapes)
    meta = {"obs_keys": agent.obs_keys, "obs_size": agent.obs_size}
    path = Path(path)
    path = path if path.suffix == ".npz" else path.with_name(f"{path.name}.npz")
    path.parent.mkdir(parents=True, exist_ok=True)
    leaves = [np.asarray(leaf) for leaf in state]  # arr_0, arr_1, … of the archive
    np.savez(path, *leaves, program=np.frombuffer(exported.serialize(), np.uint8), meta=np.array(json.dumps(meta)))
    return path


_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def load_exported(path: str | Path) -> ExportedAgent:
    """The agent in a file that `export_agent` wrote. Raises `CheckpointError` if it is none, or cannot run here.

    Unlike a run or a dataset, such a file is a program, which runs when the agent acts: take it from those you trust.
    """
    path = Path(path)
    try:
        file = read_npz(path)
        meta = json.loads(str(file["meta"]))
        start = tuple(file[f"arr_{i}"] for i in range(len(file) - 2))  # all but program and meta
        program = jax.export.deserialize(bytearray(file["program"].tobytes()))
    except FileNotFoundError:
        raise CheckpointError(f"There is no exported agent at {path}; write one with `owma.export_agent`.") from None
    except Exception as error:
        raise CheckpointError(
            f"{path} is not an agent that this version can read ({error}); write it again with `owma.export_agent`."
        ) from error
    here = jax.export.default_export_platform()  # cuda or rocm, where the backend is called gpu
    if here not in program.platforms:
        raise CheckpointError(
            f"{path} was exported for {', '.join(program.platforms)} and this process runs on {here}; "
            f"write it again with `owma.export_agent(agent, path, platforms=(..., {here!r}))`."
        )
    obs_keys = None if meta["obs_keys"] is None else tuple(meta["obs_keys"])
    return ExportedAgent(program, start, obs_keys, meta["obs_size"])


def _told(info: StepInfo) -> tuple[Array, ...]:
    """In the order of `ExportedInfo`."""
    return info.psi, info.plan.value, info.plan.kl, info.plan.result, info.planned, info.clipped
