"""Environments by name: of the user's modules, and of files, which import nothing."""

import json
from pathlib import Path

import gymnasium as gym
import pytest

from owma._internal.errors import ConfigError
from owma.envs import env_json, find_env, import_modules, make_env, read_env

pytestmark = pytest.mark.cases


def test_a_module_is_imported_before_its_environment_is_looked_up() -> None:
    with pytest.raises(ConfigError, match=r"no environment 'own/Plain-v0' .*MODULE:ID with the module that registers"):
        find_env("own/Plain-v0")
    assert find_env("own_envs:own/Plain-v0") is gym.registry["own/Plain-v0"]
    # Imported once, it is known; and as in `gymnasium.make` the newest version is meant where none is named.
    assert find_env("own/Plain-v0").id == find_env("own_envs:own/Plain").id == "own/Plain-v0"
    with pytest.raises(ConfigError, match="no environment 'own_envs:own/Plian-v0'"):
        find_env("own_envs:own/Plian-v0")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (None, "ModuleNotFoundError: No module named 'broken_module'"),
        ("import nothing_of_the_kind", "No module named 'nothing_of_the_kind'"),
        ("raise RuntimeError('no licence\\nfound')", "RuntimeError: no licence found"),
        ("import sys; sys.exit('run me as a script')", "SystemExit: run me as a script"),
        ("def", "SyntaxError"),
    ],
)
def test_a_module_that_cannot_be_imported(source: str | None, said: str, tmp_path: Path, monkeypatch) -> None:
    if source is not None:
        (tmp_path / "broken_module.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=rf"no environment 'broken_module:It-v0' \(The module .*{said}.*Python path"):
        find_env("broken_module:It-v0")


@pytest.mark.parametrize("env_id", ["own/Plain-v0", "own/ByFunction-v0", "own/ByPartial-v0"])
def test_what_is_kept_of_an_environment_makes_it_again(env_id: str) -> None:
    """Functions are kept by their name, and read only where that name is registered under that id."""
    env = find_env(f"own_envs:{env_id}")
    text = env_json(env)
    read = read_env(text, "the run")
    assert read.entry_point is env.entry_point and read.kwargs == env.kwargs and read.max_episode_steps in (10, 12)
    with make_env(read) as made:
        made.reset(seed=0)
    del gym.registry[env_id]
    with pytest.raises(ConfigError, match=r"would run 'own_envs:\w+', which .* --env MODULE:ID") as error:
        read_env(text.replace(env_id, "CartPole-v1"), "the run", flag="--env")
    # It says how it is named, or trusted with the arguments that it has.
    with pytest.raises(ConfigError, match=rf"--env own_envs:{env_id}, or import it with --trust own_envs") as error:
        read_env(text, "the run", flag="--env")
    assert "Traceback" not in str(error.value)
    with pytest.raises(ConfigError, match="with --env mine.register:own/It-v0"):
        read_env(text, "the run", flag="--env", named="mine.register:own/It-v0")


def test_what_no_file_can_keep_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'own/ByArray-v0' has arguments that a run cannot keep \(.*ndarray"):
        env_json(find_env("own_envs:own/ByArray-v0"))


def test_how_it_was_drawn_is_left_out() -> None:
    import_modules(["own_envs"])
    described = json.loads(gym.spec("own/Plain-v0").to_json())
    described["kwargs"]["render_mode"] = "human"  # needs a display
    described["additional_wrappers"] = [
        {"name": "HumanRendering", "entry_point": "gymnasium.wrappers.rendering:HumanRendering", "kwargs": {}}
    ]
    env = read_env(json.dumps(described), "the dataset")
    assert env.kwargs == {"odd": ""} and not env.additional_wrappers
