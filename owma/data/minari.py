"""Reading Minari datasets, local or fetched, into flat transitions; every refusal names its cause and its remedy."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import error as gym_error, spaces

from owma._errors import ConfigError, DatasetError
from owma._types import Float, Int
from owma.data.collect import command_for
from owma.data.hdf5 import check_hdf5
from owma.data.hub import download_dataset
from owma.data.minari_metadata import environment, read_metadata, references, unreadable
from owma.data.recording import ActionBounds, OfflineDataset, Recording, row_bytes, rows_in_piece
from owma.data.seen import Seen, names_below
from owma.data.store import dataset_folder
from owma.envs import read_env, statistics_note
from owma.observations import flatten_obs
from owma.transitions import Transitions

_GOAL_FORM = frozenset({"achieved_goal", "desired_goal", "observation"})
_AS_VECTORS = "choose another dataset, or write this one again with each observation as one vector"


def load_minari(name: str, *, download: bool = False) -> OfflineDataset:
    """Read a Minari dataset.

    Observations of the goal form become `observation`, preceded by `achieved_goal` unless that is the leading part of
    `observation` in every row already (so in PointMaze; not in AntMaze), or itself a dict with an entry an object: that
    names what `observation` holds of them (so in FrankaKitchen). `desired_goal` is never part of the state. An episode
    whose last step has neither flag counts as truncated there.

    **Arguments:**

    - `name`: the id of a dataset, or the path of a folder that holds one (with `data/` in it, or `data` itself).
    - `download`: fetch a dataset that is not here from Minari's hub.

    **Returns:** the dataset, all of it in host memory.

    **Raises:** `DatasetError` if it is missing, unreadable, incomplete, empty or not finite, or if its spaces are other
    than a flat vector (or a dict of the goal form) and continuous actions.
    """
    dataset, obs_parts, data_path = _opened(name, download)
    folder = data_path.parent
    episodes = list(_read(dataset, obs_parts, folder))
    _check_total(sum(len(episode["action"]) for episode in episodes), dataset, name, folder)
    obs_keys = _obs_keys(episodes, obs_parts)
    transitions, seen = _join(episodes, obs_keys, name), Seen()
    seen.see(episodes, obs_keys)
    recording = _recording(data_path, dataset, obs_keys, lambda: iter([transitions]), seen)
    _check_spaces(transitions, recording, name)
    bounds = ActionBounds()
    bounds.see(np.asarray(transitions.action))
    return recording.dataset(transitions, bounds)


def open_minari(name: str, *, download: bool = False) -> Recording:
    """A Minari dataset whose episodes are read when they are asked for; as `load_minari`, which has all in memory.

    A dataset whose observations have an `achieved_goal` to read is read once in any case, to see what they repeat.
    """
    dataset, obs_parts, data_path = _opened(name, download)
    folder = data_path.parent
    obs_keys = _obs_keys(_read(dataset, obs_parts, folder), obs_parts)
    seen = Seen()

    def pieces() -> Iterator[Transitions]:
        total, held, steps = 0, [], 0
        for episode in _read(dataset, obs_parts, folder):
            held.append(episode)
            steps += len(episode["action"])
            if steps >= rows:
                yield joined(held)
                total, held, steps = total + steps, [], 0
        if held:
            yield joined(held)
        _check_total(total + steps, dataset, name, folder)

    def joined(episodes: list[dict[str, Any]]) -> Transitions:
        transitions = _join(episodes, obs_keys, name, strict=False)
        _check_spaces(transitions, recording, name)
        seen.see(episodes, obs_keys)
        return transitions

    recording = _recording(data_path, dataset, obs_keys, pieces, seen)
    rows = rows_in_piece(recording.obs_dim, recording.action_dim)
    return recording


def minari_bytes(name: str, *, download: bool = False) -> int:
    """Of the dataset's transitions in memory, at most, by what it says of itself; raises as `load_minari` does."""
    dataset, obs_parts, _ = _opened(name, download)
    space = dataset.observation_space
    parts = [space] if obs_parts is None else [space.spaces[key] for key in obs_parts]
    dims = sum(part.shape[0] for part in parts)
    return int(dataset.total_steps) * row_bytes(dims, dataset.action_space.shape[0])


def _opened(name: str, download: bool) -> tuple[Any, tuple[str, ...] | None, Path]:
    """Minari's dataset, the entries of its observations to read, and its folder of data."""
    data_path = _locate(name, download)
    dataset = _open(data_path)
    obs_parts = _obs_parts(dataset.observation_space, name)
    _check_actions(dataset.action_space, name)
    return dataset, obs_parts, data_path


def _recording(
    data_path: Path,
    dataset: Any,
    obs_keys: tuple[str, ...] | None,
    pieces: Callable[[], Iterator[Transitions]],
    seen: Seen,
) -> Recording:
    space, actions = dataset.observation_space, dataset.action_space
    parts = [space] if obs_keys is None else [space.spaces[key] for key in obs_keys]
    env_spec, env_refusal = environment(data_path)
    return Recording(
        dataset_id=dataset.id,
        form="Minari dataset",
        files=tuple(sorted(path for path in data_path.iterdir() if path.is_file())),
        options={},
        rows=int(dataset.total_steps),
        obs_dim=sum(part.shape[0] for part in parts),
        action_dim=actions.shape[0],
        dtypes={"obs": str(parts[0].dtype), "action": str(actions.dtype)},
        pieces=pieces,
        action_low=actions.low.astype(np.float32),
        action_high=actions.high.astype(np.float32),
        obs_keys=obs_keys,
        env_spec=env_spec,
        env_refusal=env_refusal,
        references=references(data_path),
        notes=tuple(filter(None, [statistics_note(env_spec, f"Dataset {dataset.id}")])),
        found=seen.found,
    )


def _check_spaces(transitions: Transitions, recording: Recording, name: str) -> None:
    """Rows are as wide as the spaces say, which is what they are copied by."""
    for field, rows, width in (
        ("observation", transitions.obs, recording.obs_dim),
        ("action", transitions.action, recording.action_dim),
    ):
        if rows.shape[1] != width:
            raise DatasetError(
                f"Dataset {name} has {field}s of {rows.shape[1]} numbers, and its {field} space has {width}; write it "
                "again with the space that they are of."
            )


def _check_total(total: int, dataset: Any, name: str, folder: Path) -> None:
    if total != dataset.total_steps:
        raise DatasetError(
            f"{folder} holds {total} steps but its metadata promise {dataset.total_steps} (an interrupted download?); "
            "delete the folder, then fetch or collect it again."
        )
    if total == 0:
        raise DatasetError(f"Dataset {name} is empty; collect or choose another one.")


def reward_is_constant(transitions: Transitions) -> bool:
    """Whether all recorded rewards are the same: nothing to fit a value to (fine for training a world model)."""
    return bool(np.ptp(np.asarray(transitions.reward)) == 0)


def _locate(name: str, download: bool) -> Path:
    """The `data` folder of a dataset."""
    given = Path(name).expanduser()
    candidates = [dataset_folder(name) / "data", given / "data", given]
    for path in candidates:
        if any((path / file).is_file() for file in ("metadata.json", "main_data.hdf5")):
            return path
    if download:
        download_dataset(name)
        return candidates[0]
    own = command_for(name)
    how = f"collect it with `{own}`" if own else "fetch it with --download"
    raise DatasetError(
        f"There is no dataset {name!r}: {how}, or put its folder at {dataset_folder(name)} "
        "(MINARI_DATASETS_PATH says where), or name the folder that holds data/main_data.hdf5."
    )


def _open(data_path: Path) -> Any:
    """Minari's dataset, once its metadata are known to describe the spaces, and its file to be one whole."""
    import minari

    folder, metadata = data_path.parent, read_metadata(data_path)
    missing = [key for key in ("observation_space", "action_space") if key not in metadata]
    if missing:
        if "env_spec" not in metadata:
            raise DatasetError(f"{folder} does not say what its {missing[0]} is; write it again with Minari.")
        try:
            read_env(metadata["env_spec"], f"Dataset {folder}")  # Minari would make it, to look at its spaces
        except ConfigError as error:
            raise DatasetError(str(error)) from error
    check_hdf5(data_path / "main_data.hdf5")
    try:
        return minari.MinariDataset(data_path)
    except ImportError as error:
        raise DatasetError(
            f"{folder} is written in a form ({metadata.get('data_format')}) that needs a package which is missing "
            f"({str(error).rstrip('.')}); the data are as they were."
        ) from error
    except (
        *(OSError, AssertionError, AttributeError, KeyError, TypeError, ValueError, RecursionError),
        *(NotImplementedError, gym_error.Error),
    ) as error:
        raise unreadable(folder, error) from error


def _obs_parts(space: spaces.Space, name: str) -> tuple[str, ...] | None:
    """The entries to read of an observation of the goal form; `None` if observations are flat vectors."""
    if isinstance(space, spaces.Box):
        _check_vector(space, "observations", name)
        return None
    if isinstance(space, spaces.Dict) and set(space.spaces) == _GOAL_FORM:
        by_object = isinstance(space.spaces["achieved_goal"], spaces.Dict)
        parts = ("observation",) if by_object else ("achieved_goal", "observation")
        for key in parts:
            _check_vector(space.spaces[key], f"observations[{key!r}]", name)
        return parts
    raise DatasetError(
        f"Dataset {name} has observations of {space}; owma reads flat vectors and dicts with the entries observation, "
        f"achieved_goal and desired_goal: {_AS_VECTORS}."
    )


def _check_vector(space: spaces.Space, field: str, name: str) -> None:
    if isinstance(space, spaces.Box) and len(space.shape) == 1 and space.dtype != np.uint8:
        return
    what = f"{space.dtype} arrays of shape {space.shape}" if isinstance(space, spaces.Box) else str(space)
    raise DatasetError(
        f"Dataset {name} has {what} as {field}; owma reads vectors of numbers, not images or symbols: {_AS_VECTORS}."
    )


def _check_actions(space: spaces.Space, name: str) -> None:
    if isinstance(space, spaces.Box) and len(space.shape) == 1 and np.issubdtype(space.dtype, np.floating):
        return
    raise DatasetError(
        f"Dataset {name} has actions in {space}; owma needs continuous actions, a flat Box of floats: choose another "
        "dataset."
    )


def _read(dataset: Any, obs_parts: tuple[str, ...] | None, folder: Path) -> Iterator[dict[str, Any]]:
    """The episodes, as recorded, those without a step left out."""
    try:
        for episode in dataset.iterate_episodes():
            obs = episode.observations
            _check_numbers(episode, obs_parts, folder)
            lengths = set(_lengths(obs))
            steps = len(episode.actions)
            if lengths != {steps + 1} or len(episode.rewards) != steps or len(episode.truncations) != steps:
                raise DatasetError(
                    f"Episode {episode.id} of {folder} has {steps} actions, {len(episode.rewards)} rewards and "
                    f"{min(lengths)} observations (there must be one more than actions); it was not written whole."
                )
            if steps:
                yield {
                    "id": episode.id,
                    "obs": {key: obs[key] for key in obs_parts} if obs_parts else obs,
                    "action": episode.actions,
                    "reward": episode.rewards,
                    "terminated": episode.terminations,
                    "truncated": episode.truncations,
                    "unread": _unread(episode, obs_parts),
                }
    except DatasetError:
        raise
    except (OSError, AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise unreadable(folder, error) from error


def _unread(episode: Any, obs_parts: tuple[str, ...] | None) -> list[str]:
    rest = {key: part for key, part in episode.observations.items() if key not in obs_parts} if obs_parts else {}
    return names_below(rest, "observations") + names_below(episode.infos or {}, "infos")


def _lengths(obs: Any) -> Iterator[int]:
    """Of every array of an episode's observations, however deep."""
    if isinstance(obs, Mapping):
        for part in obs.values():
            yield from _lengths(part)
    else:
        yield len(obs)


def _check_numbers(episode: Any, obs_parts: tuple[str, ...] | None, folder: Path) -> None:
    """The arrays of an episode are of numbers, and of as many axes as their names say."""
    obs = episode.observations
    arrays = {f"observations[{key!r}]": obs[key] for key in obs_parts} if obs_parts else {"observations": obs}
    arrays |= {"actions": episode.actions, "rewards": episode.rewards}
    arrays |= {"terminations": episode.terminations, "truncations": episode.truncations}
    for name, array in arrays.items():
        axes = 1 if name in ("rewards", "terminations", "truncations") else 2
        array = np.asarray(array)
        if array.dtype.kind not in "biuf" or (array.ndim != axes and array.size):
            raise DatasetError(
                f"Episode {episode.id} of {folder} has {name} of {array.dtype} and shape {array.shape}; owma reads "
                f"numbers, {'one' if axes == 1 else 'a vector'} a step: write the dataset again."
            )


def _obs_keys(episodes: Iterable[dict[str, Any]], obs_parts: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The entries that make up the state: without an `achieved_goal` that repeats the first columns of `observation`.

    `None` if observations are flat vectors.
    """
    if obs_parts is None or "achieved_goal" not in obs_parts:
        return obs_parts
    for episode in episodes:
        achieved, observation = episode["obs"]["achieved_goal"], episode["obs"]["observation"]
        if not np.array_equal(achieved, observation[:, : achieved.shape[1]], equal_nan=True):
            return obs_parts
    return ("observation",)


def _join(
    episodes: list[dict[str, Any]], obs_keys: tuple[str, ...] | None, name: str, *, strict: bool = True
) -> Transitions:
    """`strict`: raise `DatasetError` for what is not finite."""
    ids = np.array([episode["id"] for episode in episodes])
    for field, parts in (("observations", obs_keys or ()), ("actions", ())):
        _check_widths(field, episodes, parts, name)
    with np.errstate(over="ignore"):  # What does not fit into float32 becomes infinite, and is reported below.
        obs = [flatten_obs(episode["obs"], obs_keys) for episode in episodes]
        action, reward = (
            np.concatenate([np.asarray(episode[key], np.float32) for episode in episodes])
            for key in ("action", "reward")
        )
    steps = np.array([len(episode["action"]) for episode in episodes])
    if strict:
        _check_finite("observations", np.concatenate(obs), ids, steps + 1, name)
        _check_finite("actions", action, ids, steps, name)
        _check_finite("rewards", reward[:, None], ids, steps, name)
    terminated, truncated = (
        np.concatenate([np.asarray(episode[key], bool) for episode in episodes]) for key in ("terminated", "truncated")
    )
    last = np.cumsum(steps) - 1
    truncated[last] |= ~terminated[last]
    return Transitions(
        obs=np.concatenate([rows[:-1] for rows in obs]),
        action=action,
        reward=reward,
        next_obs=np.concatenate([rows[1:] for rows in obs]),
        terminated=terminated,
        truncated=truncated,
    )


def _check_widths(field: str, episodes: list[dict[str, Any]], parts: tuple[str, ...], name: str) -> None:
    """All episodes of one width."""
    key = {"observations": "obs", "actions": "action"}[field]
    widths = [sum(np.shape(e[key][p])[1] for p in parts) if parts else np.shape(e[key])[1] for e in episodes]
    odd = [number for number, width in enumerate(widths) if width != widths[0]]
    if odd:
        raise DatasetError(
            f"Dataset {name} has {field} of {widths[0]} numbers in episode {episodes[0]['id']} and of {widths[odd[0]]} "
            f"in episode {episodes[odd[0]]['id']}; write it again with one of the two."
        )


def _check_finite(
    field: str,
    values: Float[np.ndarray, "rows columns"],
    ids: Int[np.ndarray, " episodes"],
    lengths: Int[np.ndarray, " episodes"],
    name: str,
) -> None:
    bad = np.logical_not(np.isfinite(values)).any(axis=1)
    if not bad.any():
        return
    row = int(np.argmax(bad))
    ends = np.cumsum(lengths)
    episode = int(np.searchsorted(ends, row, side="right"))
    step = row - int(ends[episode] - lengths[episode])
    raise DatasetError(
        f"Dataset {name} has {field} that are not finite: {int(bad.sum())} rows, the first in episode {ids[episode]} "
        f"at step {step}; drop those episodes and write it again."
    )
