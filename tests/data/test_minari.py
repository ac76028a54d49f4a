import hashlib
import importlib.util
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from owma._internal.errors import DatasetError
from owma._internal.json import canonical
from owma.config.json import fingerprint, from_json
from owma.config.task import MinariDataset
from owma.data import (
    OfflineDataset,
    Origin,
    env_settings,
    load_minari,
    open_minari,
    read_whole,
    summarise_dataset,
)
from owma.data.dataset import ActionBounds
from owma.outcomes.observations import flatten_obs
from owma.results.scores import with_scores

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:minari")

FLAT = gym.spaces.Box(-np.inf, np.inf, (3,), np.float64)


def goal_form(steps, achieved_leads, seed=0):
    rng = np.random.default_rng(seed)
    observation = rng.normal(size=(steps + 1, 4))
    achieved = observation[:, :2] if achieved_leads else rng.normal(size=(steps + 1, 2))
    return {"observation": observation, "achieved_goal": achieved, "desired_goal": rng.normal(size=(steps + 1, 2))}


def goal_space(**replaced):
    box = {"observation": (4,), "achieved_goal": (2,), "desired_goal": (2,)}
    parts = {key: gym.spaces.Box(-np.inf, np.inf, shape, np.float64) for key, shape in box.items()}
    return gym.spaces.Dict({**parts, **replaced})


def test_flat_observations(write, episode):
    episodes = [episode(5, 0), episode(1, 1, terminated=True, truncated=False), episode(4, 2)]
    write(episodes, FLAT)
    dataset = load_minari("test/mine-v0")
    data = dataset.transitions
    assert len(data) == 10 and data.num_episodes == 3 and dataset.obs_keys is None and dataset.env_spec is None
    assert dataset.dataset_id == "test/mine-v0"
    for field in (data.obs, data.action, data.reward, data.next_obs, dataset.action_low, dataset.action_high):
        assert isinstance(field, np.ndarray) and field.dtype == np.float32
    np.testing.assert_array_equal(data.obs, np.concatenate([e[0][:-1] for e in episodes]).astype(np.float32))
    np.testing.assert_array_equal(data.next_obs, np.concatenate([e[0][1:] for e in episodes]).astype(np.float32))
    np.testing.assert_array_equal(data.action, np.concatenate([e[1] for e in episodes]))
    np.testing.assert_array_equal(data.reward, np.concatenate([e[2] for e in episodes]).astype(np.float32))
    assert np.flatnonzero(data.terminated).tolist() == [5]
    assert np.flatnonzero(data.truncated).tolist() == [4, 9]
    assert dataset.action_low.tolist() == [-1, -1] and dataset.action_high.tolist() == [1, 1]


def test_by_folder_as_well_as_by_id(write, episode, datasets, monkeypatch):
    write([episode()], FLAT)
    monkeypatch.delenv("MINARI_DATASETS_PATH")
    folder = datasets / "test" / "mine-v0"
    assert len(load_minari(str(folder)).transitions) == len(load_minari(str(folder / "data")).transitions) == 5


def test_an_end_without_a_flag_is_a_truncation(write, episode):
    write([episode(5, truncated=False), episode(3, 1)], FLAT)
    data = load_minari("test/mine-v0").transitions
    assert np.flatnonzero(data.truncated).tolist() == [4, 7] and not data.terminated.any()


@pytest.mark.parametrize("goal", [True, False])
@pytest.mark.parametrize(
    ("achieved_leads", "keys", "width"),
    [(True, ("observation",), 4), (False, ("achieved_goal", "observation"), 6)],
)
def test_goal_form(write, episode, achieved_leads, keys, width, goal):
    # The first episode alone would look like PointMaze: all of the data decide.
    parts = [goal_form(5, True, 0), goal_form(5, achieved_leads, 1)]
    write([episode(5, obs=part) for part in parts], goal_space())
    dataset = load_minari("test/mine-v0", goal_in_state=goal)
    keys, width = (*keys, "desired_goal") if goal else keys, width + 2 * goal
    assert dataset.obs_keys == keys and dataset.transitions.obs.shape == (10, width)
    # What acting sees is what training saw, one observation or a batch of them.
    one = {key: value[2] for key, value in parts[1].items()}
    np.testing.assert_array_equal(flatten_obs(one, dataset.obs_keys), dataset.transitions.obs[5 + 2])
    np.testing.assert_array_equal(flatten_obs(parts[1], dataset.obs_keys)[:-1], dataset.transitions.obs[5:])


def test_the_goal_is_part_of_the_state_where_it_differs_and_what_is_read_is_said(write, episode):
    def form(seed, desired, first=1):
        parts = goal_form(5, False, seed)
        columns = parts["observation"][:, first : first + 2]
        return parts | {"achieved_goal": columns, "desired_goal": np.tile(desired, (6, 1))}

    for name, goals, keys, said in (
        (
            "fixed",
            [(1.0, 2.0)] * 2,
            ("observation",),
            "The state is observation (coordinates 0 to 3); achieved_goal is not read again, it is coordinates 1 to 2; "
            "desired_goal is not read, it is the same throughout: --data.obs-keys chooses",
        ),
        (
            "varied",
            [(1.0, 2.0), (1.0, 2.5)],
            ("observation", "desired_goal"),
            "The state is observation (coordinates 0 to 3) and desired_goal (coordinates 4 to 5); achieved_goal is not "
            "read again, it is coordinates 1 to 2: --data.obs-keys chooses",
        ),
    ):
        parts = [form(seed, goal) for seed, goal in enumerate(goals)]
        write([episode(5, obs=part) for part in parts], goal_space(), dataset_id=f"test/{name}-v0")
        for recording in (load_minari(f"test/{name}-v0"), open_minari(f"test/{name}-v0")):
            assert recording.obs_keys == keys and any(said in note for note in recording.notes), recording.notes
        state = load_minari(f"test/{name}-v0").transitions.obs[5]
        np.testing.assert_array_equal(state, flatten_obs({key: part[0] for key, part in parts[1].items()}, keys))
        # As before there was a choice, by which runs of then go on, or as the user says.
        assert load_minari(f"test/{name}-v0", goal_in_state=False).obs_keys == ("achieved_goal", "observation")
        chosen = ("desired_goal", "observation")
        assert load_minari(f"test/{name}-v0", obs_keys=chosen).obs_keys == chosen
    with pytest.raises(DatasetError, match="entries .*achieved_goal.* not observation goal; name each"):
        load_minari("test/varied-v0", obs_keys=("observation", "goal"))
    # A copy on disk of one choice is not that of another.
    options = [open_minari("test/varied-v0", goal_in_state=kept).options for kept in (True, False)]
    assert options == [{"obs_keys": ["observation", "desired_goal"]}, {}]


def test_runs_of_before_read_what_they_did() -> None:
    """Their configurations do not say that the goal is left out, and their fingerprints are what they were."""
    old = {"class": "MinariDataset", "dataset": "D4RL/pointmaze/umaze-v2", "download": False}
    config = from_json(MinariDataset, old)
    assert config == MinariDataset("D4RL/pointmaze/umaze-v2", goal_in_state=False)
    assert (
        fingerprint(config)
        == hashlib.sha256(canonical(old).encode()).hexdigest()
        != fingerprint(MinariDataset("D4RL/pointmaze/umaze-v2"))
    )


def test_entries_of_any_name_are_read_a_single_number_as_one(write, episode):
    """As of the DeepMind Control Suite; an image among them has to be left out by name."""
    box = lambda *shape: gym.spaces.Box(-np.inf, np.inf, shape, np.float64)  # noqa: E731
    rng = np.random.default_rng(0)
    parts = {"height": rng.normal(size=6), "position": rng.normal(size=(6, 2)), "velocity": rng.normal(size=(6, 1))}
    space = gym.spaces.Dict({"height": box(), "position": box(2), "velocity": box(1)})
    write([episode(5, obs=parts)], space)
    dataset = load_minari("test/mine-v0")
    assert dataset.obs_keys == ("height", "position", "velocity") and dataset.transitions.obs.shape == (5, 4)
    one = {key: part[3] for key, part in parts.items()}
    np.testing.assert_array_equal(flatten_obs(one, dataset.obs_keys), dataset.transitions.obs[3])
    np.testing.assert_array_equal(flatten_obs(parts, dataset.obs_keys)[:-1], dataset.transitions.obs)
    pixels = parts | {"camera": np.zeros((6, 4, 4, 3), np.uint8)}
    space = gym.spaces.Dict({**space.spaces, "camera": gym.spaces.Box(0, 255, (4, 4, 3), np.uint8)})
    write([episode(5, obs=pixels)], space, dataset_id="test/seen-v0")
    with pytest.raises(DatasetError, match=r"observations\['camera'\].*name the entries to read by --data.obs-keys"):
        load_minari("test/seen-v0")
    assert load_minari("test/seen-v0", obs_keys=("position", "height")).transitions.obs.shape == (5, 3)
    with pytest.raises(DatasetError, match="single numbers only"):
        load_minari("test/seen-v0", obs_keys=("height",))


def test_flatten_obs_copies_and_refuses():
    flat = np.ones((2, 3), np.float32)
    assert not np.shares_memory(flatten_obs(flat, None), flat)
    assert not np.shares_memory(flatten_obs({"a": flat}, ("a",)), flat)
    assert flatten_obs({"a": flat, "b": 2 * flat[:, :1]}, ("b", "a")).tolist() == [[2, 1, 1, 1]] * 2
    with pytest.raises(ValueError, match="lacks.*'b'"):
        flatten_obs({"a": flat}, ("a", "b"))
    with pytest.raises(ValueError, match="`obs_keys` is None"):
        flatten_obs({"a": flat}, None)


def test_unbounded_actions_take_the_range_of_the_data(write, episode):
    space = gym.spaces.Box(np.array([-np.inf, -1]), np.array([np.inf, 1]), (2,), np.float64)
    rows = episode(50)
    write([rows], FLAT, space)
    dataset = load_minari("test/mine-v0")
    np.testing.assert_array_equal(dataset.action_low, [rows[1][:, 0].min(), -1])
    np.testing.assert_array_equal(dataset.action_high, [rows[1][:, 0].max(), 1])


@pytest.mark.parametrize(("field", "index", "row"), [("observations", 0, 6), ("actions", 1, 4), ("rewards", 2, 5)])
def test_not_finite(write, episode, field, index, row):
    bad = episode(6, 1)
    bad[index][row] = np.nan
    write([episode(5), bad], FLAT)
    with pytest.raises(DatasetError, match=rf"{field} that are not finite: 1 rows, .* episode 1 at step {row};"):
        load_minari("test/mine-v0")


def test_too_large_for_float32_is_not_finite(write, episode):
    rows = episode(5)
    rows[0][2] = 1e39
    write([rows], FLAT)
    with pytest.raises(DatasetError, match="observations that are not finite.*step 2"):
        load_minari("test/mine-v0")


def test_goals_by_object_may_be_left_unread(write, episode):
    by_object = {key: {"a": np.ones((6, 2)), "b": np.ones((6, 1))} for key in ("achieved_goal", "desired_goal")}
    box = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    goals = gym.spaces.Dict({"a": box, "b": gym.spaces.Box(-np.inf, np.inf, (1,), np.float64)})
    space = goal_space(achieved_goal=goals, desired_goal=goals)
    observation = np.random.default_rng(0).normal(size=(6, 4))
    write([episode(5, obs={"observation": observation} | by_object)], space)
    dataset = load_minari("test/mine-v0")
    assert dataset.obs_keys == ("observation",)
    np.testing.assert_array_equal(dataset.transitions.obs, observation[:-1].astype(np.float32))
    bad = observation.copy()
    bad[3, 1] = np.nan
    write([episode(5, obs={"observation": bad} | by_object)], space, dataset_id="test/nan-v0")
    with pytest.raises(DatasetError, match="observations that are not finite: 1 rows, .* step 3;"):
        load_minari("test/nan-v0")
    short = by_object | {"achieved_goal": {"a": np.ones((6, 2)), "b": np.ones((5, 1))}}
    write([episode(5, obs={"observation": observation} | short)], space, dataset_id="test/short-v0")
    with pytest.raises(DatasetError, match="5 actions, 5 rewards and 5 observations"):
        load_minari("test/short-v0")


def test_unsupported_spaces(write, episode):
    steps = 4
    images = np.zeros((steps + 1, 8, 8, 3), np.uint8)
    write([episode(steps, obs=images)], gym.spaces.Box(0, 255, (8, 8, 3), np.uint8), dataset_id="test/image-v0")
    discrete = gym.spaces.Discrete(3)
    write([episode(steps, actions=np.zeros(steps, int))], FLAT, discrete, dataset_id="test/discrete-v0")
    box = gym.spaces.Box(-1, 1, (2,), np.float64)
    pair = (np.zeros((steps + 1, 2)), np.zeros((steps + 1, 2)))
    write([episode(steps, obs=pair)], gym.spaces.Tuple([box, box]), dataset_id="test/tuple-v0")
    pixels = {**goal_form(steps, True), "observation": images}
    space = goal_space(observation=gym.spaces.Box(0, 255, (8, 8, 3), np.uint8))
    write([episode(steps, obs=pixels)], space, dataset_id="test/goal-image-v0")
    for name, match in [
        ("image", "uint8 arrays of shape .8, 8, 3. as observations.*one again with each observation as one vector"),
        ("discrete", "actions in Discrete.*choose another dataset"),
        ("tuple", "Tuple.* as observations; owma reads vectors"),
        ("goal-image", r"as observations\['observation'\]"),
    ]:
        with pytest.raises(DatasetError, match=match):
            load_minari(f"test/{name}-v0")


def edit_metadata(folder, change):
    path = folder / "data" / "metadata.json"
    metadata = json.loads(path.read_text())
    change(metadata)
    path.write_text(json.dumps(metadata))


def test_incomplete_or_damaged(write, episode, datasets):
    folder = datasets / "test" / "mine-v0"
    write([episode(5), episode(5, 1)], FLAT)
    edit_metadata(folder, lambda metadata: metadata.update(total_steps=11))
    with pytest.raises(DatasetError, match="10 steps but its metadata promise 11.*delete the folder"):
        load_minari("test/mine-v0")
    edit_metadata(folder, lambda metadata: metadata.update(total_steps=10, total_episodes=3))
    with pytest.raises(DatasetError, match="cannot be read.*interrupted download"):
        load_minari("test/mine-v0")
    edit_metadata(folder, lambda metadata: metadata.pop("action_space"))
    with pytest.raises(DatasetError, match="does not say what its action_space is"):
        load_minari("test/mine-v0")
    data = folder / "data" / "main_data.hdf5"
    edit_metadata(folder, lambda metadata: metadata.update(action_space='{"type": "Discrete"'))
    data.write_bytes(data.read_bytes()[:2000])
    with pytest.raises(DatasetError, match="cannot be read.*delete it"):
        load_minari("test/mine-v0")
    (folder / "data" / "metadata.json").unlink()
    with pytest.raises(DatasetError, match="metadata.json"):
        load_minari("test/mine-v0")


def test_truncated_file(write, episode, datasets):
    write([episode(50)], FLAT)
    data = datasets / "test" / "mine-v0" / "data" / "main_data.hdf5"
    data.write_bytes(data.read_bytes()[:2000])
    with pytest.raises(DatasetError, match="cannot be read"):
        load_minari("test/mine-v0")


def test_empty(write):
    write([], FLAT)
    with pytest.raises(DatasetError, match="is empty"):
        load_minari("test/mine-v0")


def test_episode_with_too_few_observations(write, episode):
    write([episode(5, obs=np.zeros((5, 3)))], FLAT)
    with pytest.raises(DatasetError, match="Episode 0 .* 5 actions, 5 rewards and 5 observations"):
        load_minari("test/mine-v0")


def test_unknown_names_say_what_to_do(datasets):
    with pytest.raises(DatasetError, match="fetch it with --download, or put its folder at .*MINARI_DATASETS_PATH"):
        load_minari("D4RL/pen/human-v2")
    own = "owma/two-routes-skew0p05-100x250-seed3-v0"
    with pytest.raises(DatasetError, match="owma.collect two-routes --seed 3 --skew 0.05 --episodes 100 --steps 250`"):
        load_minari(own)


def test_failed_download_is_one_sentence(monkeypatch):
    import minari

    def unreachable(name):
        raise ConnectionError("no route to host")

    monkeypatch.setitem(sys.modules, "huggingface_hub", _hub(lambda url, timeout: None))
    monkeypatch.setattr(minari, "download_dataset", unreachable)
    with pytest.raises(DatasetError, match="Could not download 'D4RL/pen/human-v2' .*no route to host.*by hand"):
        load_minari("D4RL/pen/human-v2", download=True)
    monkeypatch.setattr(minari, "download_dataset", lambda name: None)
    with pytest.raises(DatasetError, match="left no dataset"):
        load_minari("D4RL/pen/human-v2", download=True)


def test_a_download_without_the_hubs_client_says_both_ways(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    both = r"pip install 'owma\[hub\]', or put the dataset's folder at .*D4RL/pen/human-v2 by hand"
    with pytest.raises(DatasetError, match=both):
        load_minari("D4RL/pen/human-v2", download=True)


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch):
    import minari

    asked = []

    def unreachable(url, timeout):
        asked.append((url, timeout))
        raise ConnectionError("no route to host")

    monkeypatch.delenv("MINARI_REMOTE", raising=False)
    monkeypatch.setitem(sys.modules, "huggingface_hub", _hub(unreachable))
    monkeypatch.setattr(minari, "download_dataset", lambda name: pytest.fail("the client, which tries for long"))
    with pytest.raises(DatasetError, match="Could not download 'D4RL/pen/human-v2' .*no route to host.*by hand"):
        load_minari("D4RL/pen/human-v2", download=True)
    ((url, timeout),) = asked
    assert url == "https://hub.test" and timeout <= 10


def _hub(head):
    """A stand-in for the hub's client, which an extra installs, with `head` for its requests."""
    return SimpleNamespace(
        constants=SimpleNamespace(ENDPOINT="https://hub.test"), get_session=lambda: SimpleNamespace(head=head)
    )


def test_reference_scores_are_those_that_minari_normalises_by(write, episode) -> None:
    import minari

    hopper = {"env": "Hopper-v5", "eval_env": "Hopper-v5"}
    written = write([episode(5)], FLAT, **hopper, ref_min_score=-20.0, ref_max_score=3000.0)
    dataset = load_minari("test/mine-v0")
    assert dataset.origin == open_minari("test/mine-v0").dataset(dataset.transitions, _bounds(dataset)).origin
    assert dataset.origin == Origin("test/mine-v0", "Hopper-v5", env_settings(gym.spec("Hopper-v5")), (-20.0, 3000.0))
    returns = np.array([-20.0, 100.0, 3000.0])
    scored = with_scores([{"return": value} for value in returns], dataset.origin, gym.spec("Hopper-v5"))
    by_minari = minari.get_normalized_score(written, returns)
    np.testing.assert_allclose([row["minari_normalized_score"] for row in scored], by_minari)
    write([episode(5)], FLAT, dataset_id="test/plain-v0")
    assert load_minari("test/plain-v0").origin == Origin("test/plain-v0", None, None, None)


def _bounds(dataset: OfflineDataset) -> ActionBounds:
    return ActionBounds(dataset.action_low, dataset.action_high)


@pytest.mark.parametrize("low", ["3", True, 3000.0, 4000, float("nan"), [1.0], -(10**400)], ids=str)
def test_references_that_are_none_are_refused(low: object, write, episode, datasets: Path) -> None:
    write([episode(5)], FLAT)
    file = datasets / "test" / "mine-v0" / "data" / "metadata.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"ref_min_score": low, "ref_max_score": 3000.0}))
    with pytest.raises(DatasetError, match="a smaller and a larger number as `ref_min_score` and `ref_max_score`"):
        load_minari("test/mine-v0")
    file.write_text(json.dumps(content | {"ref_min_score": low}))
    assert load_minari("test/mine-v0").references is None  # Minari has no score by one of them


@pytest.mark.cases
def test_what_is_not_read_is_named_and_rounding_is_said() -> None:
    """Infos are left out; metres at 5,400 km do not fit into float32."""
    import minari
    from minari.data_collector import EpisodeBuffer

    box = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    rng = np.random.default_rng(0)
    parts = {key: np.cumsum(rng.normal(size=(21, 2)), axis=0) for key in ("achieved_goal", "desired_goal")}
    parts["observation"] = 0.1 * parts["achieved_goal"] + [0.0, 5_400_000.0]
    minari.create_dataset_from_buffers(
        "test/far-v0",
        [
            EpisodeBuffer(
                id=0,
                observations=parts,
                actions=list(np.zeros((20, 2), np.float32)),
                rewards=[0.0] * 20,
                terminations=[False] * 20,
                truncations=[False] * 20,
                infos={"success": np.zeros(21), "more": {"x": np.zeros(21)}},
            )
        ],
        observation_space=gym.spaces.Dict(dict.fromkeys(parts, box)),
        action_space=gym.spaces.Box(-1, 1, (2,), np.float32),
    )
    sentence = r"Observation coordinates whose steps are rounded away.*: 3 \(\d of 20 values left\)"
    for notes in (load_minari("test/far-v0").notes, read_whole(open_minari("test/far-v0")).notes):
        assert re.search(sentence, notes[1])
        assert set(re.findall("`(.*?)`", notes[2])) == {"infos/success", "infos/more/x"}
    as_before = load_minari("test/far-v0", goal_in_state=False).notes
    assert "`observations/desired_goal`" in as_before[1]
    warnings = summarise_dataset(open_minari("test/far-v0"))["warnings"]
    assert not any("never vary" in warning and "3" in warning for warning in warnings)


def test_a_form_that_needs_a_package_is_no_damage(write: Any, episode: Any, datasets: Path) -> None:
    write([episode()], FLAT)
    metadata = datasets / "test/mine-v0/data/metadata.json"
    content = json.loads(metadata.read_text()) | {"data_format": "arrow"}
    metadata.write_text(json.dumps(content))
    with pytest.raises(DatasetError) as refusal:
        load_minari("test/mine-v0")
    if importlib.util.find_spec("pyarrow") is None:
        assert re.search(r"\(arrow\) that needs a package which is missing .*pip install", str(refusal.value))
        assert "delete it" not in str(refusal.value)


def test_an_environment_that_is_refused_is_said_to_be_named(write: Any, episode: Any, datasets: Path) -> None:
    write([episode()], gym.spaces.Box(-np.inf, np.inf, (3,), np.float32), env="Pendulum-v1")
    metadata = datasets / "test/mine-v0/data/metadata.json"
    content = json.loads(metadata.read_text())
    spec = json.loads(content["env_spec"])
    spec["additional_wrappers"] = [{"name": "Monitor", "entry_point": "mine:Monitor", "kwargs": None}]
    metadata.write_text(json.dumps(content | {"env_spec": json.dumps(spec)}))
    facts = summarise_dataset(open_minari("test/mine-v0"))
    assert facts["env"] is None and "'Pendulum-v1'" in facts["env_refusal"] and "mine:Monitor" in facts["env_refusal"]
    assert facts["warnings"][0] == facts["env_refusal"]
