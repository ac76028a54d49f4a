"""`owma`, its sub-commands, and what all of them understand: --version, a short --help, --lambda, misspelt words."""

import dataclasses
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import owma
import owma.__main__
import owma.eval.__main__
import owma.sweep.__main__
import owma.train.__main__
import owma.transfer.__main__
from owma._internal.command import parse
from owma._internal.help import arguments_of, choice_name, field_doc
from owma.config.data import OGBenchMazeCollect
from owma.config.experiment import EvaluationConfig
from owma.config.planners import OnlineAdaptation
from owma.config.presets import PRESETS

ROOT = Path(owma.__file__).parent.parent


def _parsed(monkeypatch: pytest.MonkeyPatch, cls: type, *words: str, kl_coef_flag: str | None = None):
    monkeypatch.setattr(sys, "argv", ["command", *words])
    return parse(cls, prog="command", kl_coef_flag=kl_coef_flag)


def test_the_console_script_is_the_front_module() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, name = scripts["owma"].partition(":")
    assert getattr(import_module(module), name) is owma.__main__.main


def test_modules_of_the_current_folder_are_found(tmp_path: Path) -> None:
    """As by `python -m owma.train`: a console script has its own folder on the path, and not the current one."""
    (tmp_path / "rewards.py").write_text("raise ImportError('it is this one')\n")
    start = f"import sys; sys.path[:] = [*filter(None, sys.path), {str(ROOT)!r}]"
    words = ("train", "smoke", "task:reward-task-config", "--task.reward", "rewards:mine")
    command = [sys.executable, "-c", f"{start}; from owma.__main__ import main; main()", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "it is this one" in done.stderr, done.stderr


def test_called_alone_it_names_every_command(invoke) -> None:
    done = invoke(owma.__main__.main)
    assert done.code == 0 and all(f"\n  {name} " in done.stdout for name in owma.__main__.COMMANDS)
    rooms = {path.parent.name for path in (ROOT / "owma").glob("*/__main__.py")} | {"inspect", "doctor"}
    assert rooms == set(owma.__main__.COMMANDS)
    for module, cls, _ in owma.__main__.COMMANDS.values():
        assert hasattr(import_module(module), cls)


@pytest.mark.parametrize("words", [["--version"], ["-V"], ["train", "--version"], ["inspect", "-V"]])
def test_version(invoke, words: list[str]) -> None:
    done = invoke(owma.__main__.main, *words)
    assert (done.code, done.stdout) == (0, f"owma {owma.__version__}\n")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["trian"], "train"),
        (["train", "two-route"], "two-routes"),
        (["train", "smoke", "--training.updats", "3"], "--training.updates"),
        (["train", "smoke", "--discount=0.9"], "--world.discount or --world.features.pretraining.discount"),
        (["eval", "runs/none", "planner:online-adaption"], "planner:online-adaptation"),
        (["eval", "runs/none", "--planner.kl-coeff", "1"], "--planner.kl-coef"),
        (["sweep", "ablation"], "ablations"),
    ],
)
def test_a_misspelt_word_is_answered_with_what_may_have_been_meant(invoke, words: list[str], meant: str) -> None:
    sentence = invoke(owma.__main__.main, *words).refused()
    assert f"did you mean {meant}?" in sentence


@pytest.mark.parametrize("command", ["train", "eval", "transfer", "sweep"])
def test_short_help_shows_ten_flags_with_their_defaults(invoke, command: str) -> None:
    module = import_module(owma.__main__.COMMANDS[command][0])
    assert len(module._OFTEN) == 10
    done = invoke(owma.__main__.main, command, "--help")
    shown = " ".join(done.stdout.split())
    assert done.code == 0 and f"usage: owma {command} " in done.stdout and "--help-all" in done.stdout
    assert len(done.stdout.splitlines()) < 100 and all(f"\n  {flag} " in done.stdout for flag in module._OFTEN)
    assert shown.count("(default: ") == 10


def test_short_help_is_of_the_preset(invoke) -> None:
    updates = {name: preset.training.updates for name, (_, preset) in PRESETS.items()}
    for name in ("two-routes", "antmaze-umaze"):
        shown = " ".join(invoke(owma.__main__.main, "train", name, "-h").stdout.split())
        assert f"with their defaults in {name}: " in shown
        assert f"--training.updates Gradient steps. (default: {updates[name]})" in shown


def test_lambda_is_the_price(monkeypatch) -> None:
    train, flag = owma.train.__main__.Train, "--evaluation.kl-coef"
    assert _parsed(monkeypatch, train, "smoke", "--lambda", "0.3", kl_coef_flag=flag).preset.evaluation.kl_coef == 0.3
    assert _parsed(monkeypatch, train, "smoke", "--lambda=0.4", kl_coef_flag=flag).preset.evaluation.kl_coef == 0.4
    monkeypatch.setattr(sys, "argv", ["eval", "runs/x", "--lambda", "2"])
    assert owma.eval.__main__._kl_coef_flag() == "--planner.kl-coef"
    of_one = _parsed(
        monkeypatch, owma.eval.__main__.Eval, "runs/x", "--lambda", "2", kl_coef_flag=owma.eval.__main__._kl_coef_flag()
    )
    assert of_one.planner == OnlineAdaptation(kl_coef=2.0) and of_one.evaluation.kl_coef is None
    monkeypatch.setattr(sys, "argv", ["eval", "runs/x", "--planners", "static"])
    assert owma.eval.__main__._kl_coef_flag() == "--kl-coef"


@pytest.mark.parametrize("spelling", ["ogbench", "og-bench"])
def test_classes_of_ogbench_are_called_as_it_is(monkeypatch, spelling: str) -> None:
    words = ("own", f"data:{spelling}-maze-collect", "--data.steps", "7")
    parsed = _parsed(monkeypatch, owma.train.__main__.Train, *words)
    assert parsed.preset.data == OGBenchMazeCollect(steps=7)
    # What the union's other names choose, and what stands beside it, is as the preset has it.
    assert parsed.preset.world == PRESETS["own"][1].world and parsed.preset.evaluation == PRESETS["own"][1].evaluation


def test_names_are_those_that_tyro_reads(invoke) -> None:
    """Suggestions and completions are made without tyro; every word of theirs is one of its own."""
    subcommands, flags = arguments_of(owma.train.__main__.Train)
    own = {item.name for item in subcommands if item.name.startswith(("data:", "task:"))}
    chosen = "data:minari-dataset", "task:goal-task-config"
    shown = "".join(invoke(owma.__main__.main, "train", "own", *chosen, "--help-all").stdout.split())
    listed = "".join(invoke(owma.__main__.main, "train", "own", "--help-all").stdout.split())
    assert own and all(name in listed.replace("│", "") for name in own)
    here = {"TwoRoutesCollect", "AbstractCollect"}  # flags of other data than those chosen are not listed
    general = [
        flag for flag in flags if not flag.name.startswith(("--data.", "--task.")) and flag.owner.__name__ not in here
    ]
    assert len(general) > 60
    assert all(flag.name in shown.replace("│", "") for flag in general)
    assert choice_name(OGBenchMazeCollect) == "ogbench-maze-collect"


def test_field_docs_are_the_strings_below_the_fields() -> None:
    assert field_doc(EvaluationConfig, "episodes") == "0 trains only, for data without an environment."
    lacking = [f.name for f in dataclasses.fields(EvaluationConfig) if not field_doc(EvaluationConfig, f.name)]
    assert not lacking


@pytest.mark.skipif(shutil.which("bash") is None, reason="the script is for bash")
def test_bash_completes_by_the_script_that_is_printed(tmp_path: Path) -> None:
    program = tmp_path / "owma"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m owma "$@"\n')
    program.chmod(0o755)
    lines = {
        "owma tra": ["train", "transfer"],
        "owma train antmaze-": ["antmaze-umaze", "antmaze-medium"],
        "owma train smoke --training.up": ["--training.updates"],
        # bash breaks words at the colon, and puts what is completed after it.
        "owma train own data:min": ["minari-dataset"],
        "owma nothing ": [],
    }
    script = f"""
        PATH={tmp_path}:$PATH
        eval "$(owma --completion bash)"
        complete -p owma >/dev/null
        COMP_WORDBREAKS=$' \\t\\n:='
        for COMP_LINE in "$@"; do
            COMP_POINT=${{#COMP_LINE}}
            _owma
            echo "${{COMPREPLY[*]}}"
        done
    """
    done = subprocess.run(["bash", "-euc", script, "bash", *lines], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert dict(zip(lines, map(str.split, done.stdout.splitlines()), strict=True)) == lines


def test_zsh_has_a_script_and_other_shells_a_sentence(invoke) -> None:
    assert invoke(owma.__main__.main, "--completion", "zsh").stdout.startswith("#compdef owma\n")
    assert "there is one for bash and zsh" in invoke(owma.__main__.main, "--completion", "csh").refused()
