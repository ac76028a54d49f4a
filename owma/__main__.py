"""`owma COMMAND ...` and `python -m owma COMMAND ...`: every command by its name.

Only the command that is named is imported, so that its `--help` is as quick as `python -m owma.COMMAND --help`.
"""

import difflib
import os
import sys
from importlib import import_module

from owma._internal.command import command
from owma._internal.errors import ConfigError
from owma._internal.help import completions
from owma._internal.stdout import show_result
from owma._internal.version import __version__

COMMANDS = {
    "demo": ("owma.demo.__main__", "Demo", "Show on one page what adaptation does, with a model that comes with owma."),
    "collect": ("owma.collect.__main__", "Collect", "Make a dataset by scripted control or trained policies."),
    "train": ("owma.train.__main__", "Train", "Train a world model, a policy and a value; let planners act with them."),
    "eval": ("owma.eval.__main__", "Eval", "Let a trained run act with a planner of your choice."),
    "tune": ("owma.tune.__main__", "Tune", "Find the price of a nat that suits a trained run, in its environment."),
    "diagnose": ("owma.diagnose.__main__", "Diagnose", "Say how good a trained run is, without an environment."),
    "transfer": ("owma.transfer.__main__", "Transfer", "Tell a trained run of other tasks by a few labels."),
    "sweep": ("owma.sweep.__main__", "Sweep", "Compare configurations, seeds and planners, on Ray."),
    "watch": ("owma.watch.__main__", "Watch", "Show a run in the terminal as it goes on: losses, and promises kept."),
    "report": ("owma.report.__main__", "Report", "Write one HTML file on a run or a sweep."),
    "inspect": ("owma.inspect", "Inspect", "Say what a dataset holds, and what may spoil training on it."),
    "docs": ("owma.docs.__main__", "Docs", "Write the guides and the reference of all public names, and open them."),
    "doctor": ("owma.doctor", "Doctor", "Say what this machine can do, and the remedy for what it cannot."),
}
"""By name: the module, the class that its command line is read into, and what it does."""

COMPLETION = {
    # What was typed counts up to the cursor. Words that bash breaks at `:` are completed from there on.
    "bash": """\
_owma() {
    local typed="${COMP_LINE:0:COMP_POINT}" words current IFS=$' \\t'
    read -ra words <<< "$typed"
    [[ "$typed" == *[[:blank:]] ]] && words+=("")
    current="${words[${#words[@]}-1]}"
    IFS=$'\\n' COMPREPLY=($("${words[0]}" --complete "${words[@]:1}" 2>/dev/null))
    if [[ "$current" == *:* && "$COMP_WORDBREAKS" == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${current%"${current##*:}"}"}")
    fi
}
complete -o default -F _owma owma
""",
    "zsh": """\
#compdef owma
_owma() {
    local -a found
    found=(${(f)"$("$words[1]" --complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    (( $#found )) && compadd -a found || _files
}
compdef _owma owma
""",
}
"""By shell: what it evaluates to complete commands, presets and flags."""


def main() -> None:
    """Run the command that is named, or say which there are."""
    command(_main)


def _main() -> None:
    name, *words = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help", "--help-all"):
        show_result(overview())
    elif name in ("-V", "--version"):
        show_result(f"owma {__version__}")
    elif name == "--completion":
        show_result(_completion(*words[:1]), end="")
    elif name == "--complete":
        show_result("\n".join(_completed(words)))
    elif name in COMMANDS:
        sys.argv = [f"{_started_as()} {name}", *words]
        _find_modules_here()
        import_module(COMMANDS[name][0]).main()
    else:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        meant = f"did you mean {close[0]}? " if close else ""
        raise ConfigError(f"{name} is no command; {meant}There are {', '.join(COMMANDS)}.")


def _find_modules_here() -> None:
    """Modules in the current folder, such as the `mine` of `--task mine:reward`, are found as by `python -m owma.X`;
    last, so that none hides one that is installed.
    """
    here = os.getcwd()
    if not sys.flags.safe_path and here not in sys.path and "" not in sys.path:
        sys.path.append(here)


def overview() -> str:
    """What `owma` says when it is called alone."""
    rows = [f"  {name:10}{about}" for name, (_, _, about) in COMMANDS.items()]
    return "\n".join(
        [
            f"owma {__version__}: offline RL that adapts its world model to the task, at every decision",
            "",
            f"usage: {_started_as()} COMMAND [--help | --help-all] ...",
            "",
            *rows,
            "",
            "`owma demo` shows what it is about; `owma train smoke` does all of it in about a minute.",
            "`owma train` is `python -m owma.train`, and so on.",
            'Completion: `eval "$(owma --completion bash)"`, or zsh. --version, -V: the version.',
        ]
    )


def _started_as() -> str:
    return "python -m owma" if sys.argv[0].endswith("__main__.py") else "owma"


def _completion(shell: str = "") -> str:
    if shell not in COMPLETION:
        raise ConfigError(f"--completion {shell}: there is one for {' and '.join(COMPLETION)}; name the shell.")
    return COMPLETION[shell]


def _completed(words: list[str]) -> list[str]:
    """What the last of the words may be, after `owma`."""
    name, *others = words or [""]
    if not others:
        return [known for known in (*COMMANDS, "--help", "--version", "--completion") if known.startswith(name)]
    if name not in COMMANDS:
        return []
    module, root, _ = COMMANDS[name]
    return completions(others, getattr(import_module(module), root))


if __name__ == "__main__":
    main()
