"""Reading Minari datasets, local or fetched, into flat transitions; every refusal names its cause and its remedy."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import error as gym_error, spaces

from owma._internal.errors import ConfigError, DatasetError
from owma._internal.types import Float, Int
from owma.collect.store import dataset_folder
from owma.config.data import command_for
from owma.data.dataset import ActionBounds, DatasetSource, OfflineDataset, row_bytes, rows_in_piece
from owma.data.hdf5 import check_hdf5
from owma.data.hub import download_dataset
from owma.data.minari_metadata import environment, is_collected_here, read_metadata, references, unreadable
from owma.data.observed import Choice, entries_to_read, state_size
from owma.data.seen import Seen, names_below
from owma.envs import read_env, statistics_note
from owma.outcomes.observations import flatten_obs
from owma.outcomes.transitions import Transitions


def load_minari(
    name: str, *, download: bool = False, obs_keys: Sequence[str] = (), goal_in_state: bool = True
) -> OfflineDataset:
    """Read a Minari dataset.

    Observations of the goal form become `observation`, preceded by `achieved_goal` unless `observation` holds it in
    every row already (so in PointMaze; not in AntMaze), or it is itself a dict with an entry an object, which names
    what `observation` holds of them (so in FrankaKitchen); and followed by `desired_goal` where that is not the same
    throughout. Of other dicts all entries are read. An episode whose last step has neither flag counts as truncated
    there.

    **Arguments:**

    - `name`: the id of a dataset, or the path of a folder that holds one (with `data/` in it, or `data` itself).
    - `download`: fetch a dataset that is not here from Minari's hub.
    - `obs_keys`: the entries of observations to read, in this order, if they are not to be chosen.
    - `goal_in_state`: where it is false, `desired_goal` is not read, and `achieved_goal` is unless it is the leading
        part of `observation`. So are data that owma has collected in any case, whose tasks name their goals.

    **Returns:** the dataset, all of it in host memory.

    **Raises:** `DatasetError` if it is missing, unreadable, incomplete, empty or not finite, or if its spaces are other
    than a flat vector (or a dict of vectors) and continuous actions.
    """
    dataset, obs_parts, data_path, goal = _opened(name, download, obs_keys, goal_in_state)
    folder = data_path.parent
    episodes = list(_read(dataset, obs_parts, folder))
    _check_total(sum(len(episode["action"]) for episode in episodes), dataset, name, folder)
    choice = Choice(episodes, obs_parts, obs_keys, goal=goal)
    transitions, seen = _join(episodes, choice.keys, name), Seen()
    seen.see(episodes, choice.keys)
    source = _source(data_path, dataset, choice, lambda: iter([transitions]), seen)
    _check_spaces(transitions, source, name)
    bounds = ActionBounds()
    bounds.see(np.asarray(transitions.action))
    return source.dataset(transitions, bounds)


def open_minari(
    name: str, *, download: bool = False, obs_keys: Sequence[str] = (), goal_in_state: bool = True
) -> DatasetSource:
    """A Minari dataset whose episodes are read when they are asked for; as `load_minari`, which has all in memory.

    A dataset whose observations have goals to read is read once in any case, to see what they repeat.
    """
    dataset, obs_parts, data_path, goal = _opened(name, download, obs_keys, goal_in_state)
    folder = data_path.parent
    choice = Choice(_read(dataset, obs_parts, folder), obs_parts, obs_keys, goal=goal)
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
        transitions = _join(episodes, choice.keys, name, strict=False)
        _check_spaces(transitions, source, name)
        seen.see(episodes, choice.keys)
        return transitions

    source = _source(data_path, dataset, choice, pieces, seen)
    rows = rows_in_piece(source.obs_dim, source.action_dim)
    return source


def minari_bytes(name: str, *, download: bool = False, obs_keys: Sequence[str] = ()) -> int:
    """Of the dataset's transitions in memory, at most, by what it says of itself; raises as `load_minari` does."""
    dataset, obs_parts, *_ = _opened(name, download, obs_keys)
    dims = state_size(dataset.observation_space, obs_parts)
    return int(dataset.total_steps) * row_bytes(dims, dataset.action_space.shape[0])


def _opened(
    name: str, download: bool, obs_keys: Sequence[str], goal_in_state: bool = True
) -> tuple[Any, tuple[str, ...] | None, Path, bool]:
    """Minari's dataset, the entries of its observations to look at, its folder of data, and whether its goals are part
    of the state where they differ.
    """
    data_path = _locate(name, download)
    dataset = _open(data_path)
    goal = goal_in_state and not is_collected_here(data_path)
    obs_parts = entries_to_read(dataset.observation_space, obs_keys, name, goal=goal)
    _check_actions(dataset.action_space, name)
    return dataset, obs_parts, data_path, goal


def _source(
    data_path: Path,
    dataset: Any,
    choice: Choice,
    pieces: Callable[[], Iterator[Transitions]],
    seen: Seen,
) -> DatasetSource:
    space, actions, keys = dataset.observation_space, dataset.action_space, choice.keys
    env_spec, env_refusal = environment(data_path)
    return DatasetSource(
        dataset_id=dataset.id,
        form="Minari dataset",
        files=tuple(sorted(path for path in data_path.iterdir() if path.is_file())),
        options={} if keys is None or choice.is_as_before else {"obs_keys": list(keys)},
        rows=int(dataset.total_steps),
        obs_dim=state_size(space, keys),
        action_dim=actions.shape[0],
        dtypes={"obs": str((space if keys is None else space.spaces[keys[0]]).dtype), "action": str(actions.dtype)},
        pieces=pieces,
        action_low=actions.low.astype(np.float32),
        action_high=actions.high.astype(np.float32),
        obs_keys=keys,
        env_spec=env_spec,
        env_refusal=env_refusal,
        references=references(data_path),
        notes=tuple(filter(None, [statistics_note(env_spec, f"Dataset {dataset.id}"), choice.note(space)])),
        row_facts=seen.row_facts,
    )


def _check_spaces(transitions: Transitions, source: DatasetSource, name: str) -> None:
    """Rows are as wide as the spaces say, which is what they are copied by."""
    for field, rows, width in (
        ("observation", transitions.obs, source.obs_dim),
        ("action", transitions.action, source.action_dim),
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
    """Whether all recorded rewards are the same. Deprecated: ask the rewards themselves."""
    said = "owma.data.reward_is_constant goes with the next minor version; look at np.ptp(transitions.reward)."
    warnings.warn(said, DeprecationWarning, stacklevel=2)
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
                    "obs": {key: _columns(obs[key]) for key in obs_parts} if obs_parts else obs,
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


def _columns(part: Any) -> np.ndarray:
    """A single number a step is a vector of one."""
    array = np.asarray(part)
    return array[:, None] if array.ndim == 1 else array


def _check_numbers(episode: Any, obs_parts: tuple[str, ...] | None, folder: Path) -> None:
    """The arrays of an episode are of numbers, and of as many axes as their names say."""
    obs = episode.observations
    parts = {f"observations[{key!r}]": _columns(obs[key]) for key in obs_parts or ()}
    arrays = parts or {"observations": obs}
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


def _join(
    episodes: list[dict[str, Any]], obs_keys: tuple[str, ...] | None, name: str, *, strict: bool = True
) -> Transitions:
    """`strict`: raise `DatasetError` for what is not finite."""
    ids = np.array([episode["id"] for episode in episodes])
    for field, parts in (("observations", obs_keys or ()), ("actions", ())):
        _check_widths(field, episodes, parts, name)
    # What does not fit into float32 becomes infinite, and is reported below, as is any NaN.
    with np.errstate(over="ignore", invalid="ignore"):
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
