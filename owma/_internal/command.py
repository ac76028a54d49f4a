"""What every command shares: flags, errors as one sentence with exit code 2, and how to go on after a stop."""

import contextlib
import dataclasses
import errno
import functools
import io
import operator
import os
import re
import shlex
import signal
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from owma._internal.errors import ConfigError, OwmaError
from owma._internal.flags import flagged
from owma._internal.help import choice_name, field_doc, short_help, suggestion
from owma._internal.progress import Stopped, stoppable
from owma._internal.stdout import discard_unread, result_stream, results_only, show_result
from owma._internal.version import __version__

_Arguments = TypeVar("_Arguments")
_REFUSED = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room there"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "grant write access there"),
    errno.EIO: "look after the disk",
}
"""What an operating system refuses that a user can mend, and how."""


def command(main: Callable[[], None]) -> None:
    """Run a command's `main`: `if __name__ == "__main__": command(main)`.

    An `OwmaError` becomes one sentence on standard error and exit code 2, and so does a disk that is full or cannot be
    written; an interrupt becomes exit code 130. Where nobody reads on (`| head -1`), it ends without a word, as the
    signal SIGPIPE ends other programs. Any other exception is a bug of ours and keeps its traceback.

    Standard output is for results (`show_result`): what else is written there goes to standard error.
    """
    try:
        with results_only():
            main()
    except OwmaError as error:
        print(f"owma: error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        if not discard_unread():
            raise
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        place = "" if error.filename is None else f" ({error.filename})"
        remedy = f"{_REFUSED[error.errno]}, and run it again; what was written before is as it was."
        print(f"owma: error: {error.strerror}{place}: {remedy}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("owma: interrupted", file=sys.stderr)
        sys.exit(130)


def enable_compilation_cache() -> None:
    """Keep compiled programs on disk, so that the next start of a command does not compile them again.

    In the user's cache folder, unless JAX was told of another (`JAX_COMPILATION_CACHE_DIR`). A command calls it when it
    has read its flags: JAX takes a second to import, and `--help` is to be quick.
    """
    import jax

    folder = compilation_cache_dir()
    if folder is not None:
        jax.config.update("jax_compilation_cache_dir", str(folder))
        # The small ones too: a command has hundreds.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def compilation_cache_dir() -> Path | None:
    """Where commands keep compiled programs; `None` where JAX was told of a place of its own."""
    import jax

    if jax.config.jax_compilation_cache_dir is not None:  # pyright: ignore[reportAttributeAccessIssue]
        return None
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "owma" / "programs"


PLATFORM_VARIABLES = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME")
"""What JAX is told of the platform by."""


def require_platform() -> None:
    """Raises `ConfigError` where JAX finds no device of the platform that it was told of, with those that are here."""
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(_platform_refusal(str(error).partition("\n")[0])) from None


def _platform_refusal(said: str) -> str:
    told = [f"{name}={os.environ[name]}" for name in PLATFORM_VARIABLES if os.environ.get(name)]
    if not told:
        return (
            f"JAX finds no device to compute with ({said or 'it does not say why'}); reinstall it: `pip install jax`."
        )
    platforms = " and ".join(_platforms_here())
    wanted = told[0].partition("=")[2].lower()
    plugin = "`pip install 'jax[cuda12]'`" if "cuda" in wanted or "gpu" in wanted else "install JAX's plugin for it"
    return (
        f"{' and '.join(told)}: JAX finds no such platform here, only {platforms or 'none at all'}; unset "
        f"{told[0].partition('=')[0]}, or, where the machine has such a device, {plugin}."
    )


def _platforms_here() -> list[str]:
    import jax
    from jax.extend.backend import clear_backends

    told = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue]
    try:
        jax.config.update("jax_platforms", None)
        jax.config.update("jax_platform_name", "")
        return sorted({device.platform for device in jax.devices()})
    except (RuntimeError, AssertionError):
        return []
    finally:
        clear_backends()
        jax.config.update("jax_platforms", told)
        jax.config.update("jax_platform_name", os.environ.get("JAX_PLATFORM_NAME", "").lower())


def disable_optimisations() -> None:
    """Compile without optimisation from here on: it takes half the time, and what it makes is slower."""
    import jax

    jax.config.update("jax_disable_most_optimizations", True)


def parse(
    cls: type[_Arguments] | Any,
    *,
    prog: str,
    description: str | None = None,
    often: Sequence[str] = (),
    kl_coef_flag: str | None = None,
) -> _Arguments:
    """The command line as an instance of `cls`, which may be a union of annotated classes too.

    A value that a configuration refuses raises its `OwmaError`, with the flag that sets it; tyro would put it into a
    box, in pieces. So does a word that is nearly one of the command's.

    **Arguments:** `often`: the flags that `--help` shows, with their dashes; `--help-all` shows all of them, and so
    does `--help` where there are none. `kl_coef_flag`: the flag that `--lambda` stands for.
    """
    prog = sys.argv[0] if sys.argv[0].startswith(("owma ", "python -m owma ")) else prog
    if {"--version", "-V"} & set(sys.argv[1:]):
        show_result(f"owma {__version__}")
        sys.exit(0)
    # Whatever looks at the command line later sees it as it is understood.
    sys.argv = [sys.argv[0], *_spelt_out(sys.argv[1:], kl_coef_flag)]
    words = sys.argv[1:]
    if often and {"-h", "--help"} & set(words):
        about = "" if kl_coef_flag is None else f"--lambda is short for {kl_coef_flag}, the price of a nat."
        show_result(short_help(cls, prog, often, words, about))
        sys.exit(0)
    words = ["--help" if word == "--help-all" else word for word in words]
    shown = io.StringIO()
    try:
        with contextlib.redirect_stderr(shown), contextlib.redirect_stdout(result_stream()):
            return tyro.cli(
                cls,
                prog=prog,
                description=description,
                args=words,
                config=(tyro.conf.CascadeSubcommandArgs,),
                registry=_registry(),
            )
    except (OwmaError, SystemExit) as stop:
        refusal: BaseException | None = stop
        while refusal is not None and not isinstance(refusal, OwmaError):
            refusal = refusal.__context__
        if refusal is not None:
            shown = io.StringIO()
            raise type(refusal)(flagged(refusal, cls)) from None
        meant = suggestion(_unrecognised(shown.getvalue(), words), cls, prog)
        if meant is not None:
            shown = io.StringIO()
            raise ConfigError(meant) from None
        raise
    finally:
        sys.stderr.write(shown.getvalue())


def _spelt_out(words: Sequence[str], kl_coef_flag: str | None) -> list[str]:
    """The words with deprecated spellings replaced, and `--lambda` as the flag that it abbreviates."""
    words = [re.sub(r"^(\w+):og-bench-", r"\1:ogbench-", word) for word in words]
    return words if kl_coef_flag is None else [re.sub(r"^--lambda(?==|$)", kl_coef_flag, word) for word in words]


def _unrecognised(said: str, words: Sequence[str]) -> list[str]:
    """Which words of the command line tyro said that it does not recognise."""
    text = " ".join(line.strip("│| ") for line in said.splitlines())
    match = re.search(r"Unrecognized options: (.*?) (?:[─-]{4}|[╰+])", text)
    named = set() if match is None else set(match[1].replace(",", " ").split())
    return [word for word in words if word in named]


def _registry() -> tyro.constructors.ConstructorRegistry:
    """With `choice_name` as the names of subcommands: tyro would have `og-bench`."""
    registry = tyro.constructors.ConstructorRegistry()

    @registry.struct_rule
    def _(info: tyro.constructors.StructTypeInfo) -> tyro.constructors.StructConstructorSpec | None:
        if not dataclasses.is_dataclass(info.type):
            return None
        hints = typing.get_type_hints(info.type, include_extras=True)
        renamed = {name: _renamed(hint) for name, hint in hints.items()}
        if renamed == hints:
            return None
        missing = tyro.constructors.MISSING_NONPROP
        specs = [
            tyro.constructors.StructFieldSpec(
                name=field.name,
                type=renamed[field.name],
                default=getattr(info.default, field.name, missing),
                helptext=functools.partial(field_doc, info.type, field.name),
            )
            for field in dataclasses.fields(info.type)
        ]
        return tyro.constructors.StructConstructorSpec(instantiate=info.type, fields=tuple(specs))

    return registry


def _renamed(hint: Any) -> Any:
    """A union whose classes of OGBench have their own names; all else as it is."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint
    members = [
        Annotated[member, tyro.conf.subcommand(choice_name(member))]
        if getattr(member, "__name__", "").startswith("OGBench")
        else member
        for member in typing.get_args(hint)
    ]
    return functools.reduce(operator.or_, members)


@contextmanager
def resumable(resume_command: str) -> Iterator[None]:
    """On SIGTERM or SIGINT, stop where nothing is lost, say how to go on, and exit.

    The exit code is 0 after SIGTERM, by which batch systems ask for an end that is none of the program's faults, and
    130 after SIGINT: whoever pressed Ctrl-C in `train && eval` does not want the second.

    That place is the next report of progress: after a checkpoint, an episode, or a step of a sweep. A second signal
    ends the process at once, with the code that a shell gives to it; what is on disk is whole at any moment.

    **Arguments:** `resume_command`: the command that continues the work.
    """
    try:
        with stoppable():
            yield
    except Stopped as stopped:
        print(f"owma: stopped; go on with: {resume_command}", file=sys.stderr)
        sys.exit(130 if stopped.is_interrupt else 0)
    except KeyboardInterrupt:
        print(f"owma: interrupted; go on with: {resume_command}", file=sys.stderr)
        sys.exit(130)


def require_trust(modules: Collection[str], trusted: Collection[str], resume_command: str) -> None:
    """Modules that a folder on disk names code in are imported only if the user's own command line names them too.

    Raises `ConfigError` where one is not in `trusted`, with `resume_command` and the flag that it lacks.
    """
    missing = sorted(set(modules) - set(trusted))
    if missing:
        names = shlex.join(sorted({*modules, *trusted}))
        raise ConfigError(
            f"The configuration in that folder imports {', '.join(missing)}, whose code would run; if it is yours, "
            f"go on with: {resume_command} --trust {names}"
        )


def same_command(module: str) -> str:
    """The command line of this process, to be run again."""
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


def is_flag_given(field: str) -> bool:
    """Whether the command line sets a field of a configuration, by its dotted name, or what is in it."""
    flag = field.replace("_", "-")
    words = [word.partition("=")[0].replace("_", "-") for word in sys.argv[1:]]
    return any(
        word == f"--{flag}"
        or word.startswith(f"--{flag}.")
        # `planner:MODULE:Class` is a value, and no subcommand.
        or (word.startswith(f"{flag}:") and word.count(":") == 1)
        for word in words
    )


def show_warning(sentence: str) -> None:
    """Print what the user should know, though all goes on."""
    print(f"owma: warning: {sentence}", file=sys.stderr)
