"""Signals and full disks: what is done is kept, and the way to go on is said."""

import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_train import TINY

import owma._internal.command
import owma.collect.__main__
import owma.train.__main__
from owma._internal.command import resumable
from owma._internal.progress import progress, stoppable
from owma.config.data import TwoRoutesCollect
from owma.runs import checkpoint

CHECKOUT = Path(owma.__file__).parent.parent


def _environment(elsewhere: Path) -> dict[str, str]:
    return os.environ | {
        "MINARI_DATASETS_PATH": str(elsewhere.parent / "datasets"),
        "PYTHONPATH": str(CHECKOUT),
        "XDG_CACHE_HOME": str(elsewhere.parent / "cache"),
    }


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_stops_after_the_step_at_hand(
    number: signal.Signals, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """A batch system's end is no failure; after Ctrl-C in `train && eval`, nothing is to go on."""
    done = []
    before = signal.signal(number, signal.default_int_handler)  # a background job starts with SIGINT ignored
    try:
        with pytest.raises(SystemExit) as stop, resumable("again"), progress("working", 10) as advance:
            for step in range(10):
                if step == 3:
                    os.kill(os.getpid(), number)
                done.append(step)
                advance()
        assert stop.value.code == code and done == [0, 1, 2, 3]
        assert capfd.readouterr().err.splitlines()[-1] == "owma: stopped; go on with: again"
        assert signal.getsignal(number) == signal.default_int_handler  # as it was
    finally:
        signal.signal(number, before)
    with progress("working", 1) as advance:
        advance()  # the request is not left behind


def test_a_signal_after_the_last_step_changes_nothing() -> None:
    with resumable("again"):
        os.kill(os.getpid(), signal.SIGTERM)


def test_what_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with resumable("again"), progress("working", 2) as advance:
            os.kill(os.getpid(), signal.SIGINT)
            advance(2)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_library_that_puts_in_its_own_handler_is_overruled() -> None:
    with pytest.raises(SystemExit), resumable("again"), progress("working", 2) as advance:
        theirs = signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with stoppable():
            os.kill(os.getpid(), signal.SIGTERM)
            advance()
        signal.signal(signal.SIGTERM, theirs)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_stops_at_once(number: signal.Signals, code: int) -> None:
    """Even where no instruction of Python's is executed, as in a compilation."""
    script = (
        "import hashlib, signal, sys\n"
        "from owma._internal.command import resumable\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with resumable('again'):\n"
        "    print('ready', flush=True)\n"
        "    hashlib.pbkdf2_hmac('sha256', b'x', b'y', 10**9)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert "once more to stop at once" in process.stderr.readline()
        process.send_signal(number)
        assert process.wait(timeout=10) == code
        assert process.stderr.read() == "owma: stopped at once\n"


@pytest.mark.slow
def test_a_stopped_training_goes_on_by_the_command_it_printed(elsewhere: Path) -> None:
    """Stopped once its first checkpoint is there: by what a batch system sends."""
    # Far more updates than are done before the signal comes.
    flags = [*TINY, "--training.updates", "5000"]
    command = [sys.executable, "-m", "owma.train", *flags]
    with subprocess.Popen(
        command, cwd=elsewhere, env=_environment(elsewhere), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        checkpoints = elsewhere / "runs" / "smoke" / "v1" / "checkpoints"
        deadline = time.monotonic() + 300
        while checkpoint.latest(checkpoints) is None:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0 and stdout == "", stderr
    remedy = "python -m owma.train --resume runs/smoke/v1"
    assert stderr.splitlines()[-1] == f"owma: stopped; go on with: {remedy}" and "Traceback" not in stderr
    reached = checkpoint.latest(checkpoints)
    assert reached is not None and 2 <= reached < 5000
    with subprocess.Popen(
        [sys.executable, *shlex.split(remedy)[1:]],
        cwd=elsewhere,
        env=_environment(elsewhere),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while (checkpoint.latest(checkpoints) or 0) <= reached:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and stderr.splitlines()[-1].endswith(remedy), stderr


def test_a_stopped_collection_says_the_same_command_again(invoke, elsewhere: Path, monkeypatch) -> None:
    from owma.collect import dispatch

    collect = dispatch.collect

    def stopped(config: TwoRoutesCollect, report) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        return collect(config, report)

    monkeypatch.setattr(dispatch, "collect", stopped)
    flags = ("two-routes", "--episodes", "3", "--steps", "20")
    done = invoke(owma.collect.__main__.main, *flags)
    assert done.code == 0 and done.stdout == ""
    remedy = "python -m owma.collect two-routes --episodes 3 --steps 20"
    assert done.stderr.splitlines()[-1] == f"owma: stopped; go on with: {remedy}"
    monkeypatch.undo()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(elsewhere.parent / "datasets"))
    assert invoke(owma.collect.__main__.main, *flags).code == 0


@pytest.mark.cases
@pytest.mark.parametrize("name", ["train", "collect", "sweep", "transfer", "eval", "report", "inspect"])
def test_ctrl_c_ends_every_command_with_130(name: str, elsewhere: Path) -> None:
    """Whatever it is doing: here, where it starts to work on what its flags have named."""
    flags = {
        "train": "smoke",
        "collect": "two-routes",
        "sweep": "ablations",
        "transfer": "runs/mine --task goal:1,1",
        "eval": "runs/mine",
        "report": "runs/mine",
        "inspect": "mine.hdf5",
    }
    called = {
        "train": "owma.train.inputs.prepare_experiment",
        "collect": "owma.collect.__main__._collect",
        "sweep": "owma.sweep.__main__._run",
        "transfer": "owma.runs.folder.RunFolder.open",
        "eval": "owma.runs.folder.RunFolder.open",
        "report": "owma.runs.folder.RunFolder.open",
        "inspect": "owma.inspect.parse",
    }
    door = "" if name == "inspect" else ".__main__"
    script = f"""
import os, signal, sys, time, unittest.mock
from owma._internal.command import command
from owma._internal.progress import progress
import owma.{name}{door} as door
signal.signal(signal.SIGINT, signal.default_int_handler)

def interrupted(*_, **__):
    with progress("working", 10) as advance:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(10):
            time.sleep(0.05)
            advance()

sys.argv = ["{name}", *{flags[name].split()!r}]
with unittest.mock.patch({called[name]!r}, interrupted):
    command(door.main)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=elsewhere,
        env=_environment(elsewhere),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 130 and done.stdout == "" and "Traceback" not in done.stderr, done.stderr
    assert re.fullmatch(r"owma: (interrupted|stopped; go on with: python -m owma.*)", done.stderr.splitlines()[-1])


@pytest.mark.cases
@pytest.mark.parametrize("times", [1, 2])
def test_what_a_signal_says_leaves_the_bar_whole(times: int) -> None:
    """Above the bar, which is drawn again below it; at a second one the cursor, which a bar hides, is shown again."""
    script = (
        "import signal, time\n"
        "from owma._internal.command import resumable\n"
        "from owma._internal.progress import progress\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with resumable('again'), progress('working', 100) as advance:\n"
        "    advance()\n"
        f"    time.sleep({3 if times == 1 else 60})\n"
        "    advance()\n"
    )
    master, slave = os.openpty()
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "TERM": "xterm", "COLUMNS": "100"}
    shown, deadline = b"", time.monotonic() + 60

    def read_until(said: bytes) -> None:
        nonlocal shown
        while said not in shown and select.select([master], [], [], max(0.0, deadline - time.monotonic()))[0]:
            try:
                shown += os.read(master, 4096)
            except OSError:  # the end of a terminal
                return
        assert said in shown, shown

    with subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=slave) as process:
        os.close(slave)
        read_until(b" 1/100")
        process.send_signal(signal.SIGINT)
        read_until(b"to stop at once")
        if times == 2:
            process.send_signal(signal.SIGINT)
        read_until(b"go on with: again" if times == 1 else b"stopped at once")
        assert process.wait(timeout=30) == 130
    os.close(master)
    text = shown.decode()
    # The line that the bar was on is erased before the sentence, which has a line of its own.
    said = "owma: stopping at the next safe point; once more to stop at once"
    assert re.search(rf"\r\x1b\[2K{said}\s*\r?\n", text), repr(text)
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), repr(text)
    last = "owma: stopped; go on with: again" if times == 1 else "owma: stopped at once"
    assert text.splitlines()[-1].removeprefix("\x1b[?25h") == last, repr(text)


def test_a_run_folder_alone_is_not_believed(invoke, elsewhere: Path, monkeypatch) -> None:
    """Code that a configuration names is imported only if the user's own command line says so."""
    (elsewhere / "mine.py").write_text(
        "print('imported')\ndef reward(obs, action, next_obs):\n    return next_obs[:, 0]\n"
    )
    monkeypatch.syspath_prepend(elsewhere)
    flags = [*TINY, "task:reward-task-config", "--task.reward", "mine:reward"]
    monkeypatch.setattr(owma.train.__main__, "_run", lambda *_: None)  # what is asked for here is said before training
    assert invoke(owma.train.__main__.main, *flags).code == 0
    del sys.modules["mine"]
    refused = invoke(owma.train.__main__.main, "--resume", "runs/smoke")
    said = "imports mine, whose code would run; .*owma.train --resume runs/smoke/v1 --trust mine$"
    assert re.search(said, refused.refused()) and "mine" not in sys.modules
    assert invoke(owma.train.__main__.main, "--resume", "runs/smoke", "--trust", "mine").code == 0
    assert "mine" in sys.modules


def test_the_command_that_goes_on_has_the_flags_that_training_depends_on(invoke, elsewhere: Path, monkeypatch) -> None:
    def stopped(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        with progress("training", 2) as advance:
            while True:
                advance(0)

    monkeypatch.setattr(owma.train.__main__, "_run", stopped)
    for flags, remedy in (
        ((*TINY, "--memory-gib", "1e-7"), "--resume runs/smoke/v1 --memory-gib 1e-07"),
        (("--resume", "runs/smoke", "--memory-gib", "4"), "--resume runs/smoke/v1"),
    ):
        done = invoke(owma.train.__main__.main, *flags)
        assert done.code == 0, done.stderr
        assert done.stderr.splitlines()[-1] == f"owma: stopped; go on with: python -m owma.train {remedy}"


@pytest.mark.parametrize("error", ["No space left on device", "Read-only file system", "Permission denied"])
def test_a_disk_that_refuses_is_one_sentence(error: str, invoke) -> None:
    import errno

    codes = {os.strerror(code): code for code in (errno.ENOSPC, errno.EROFS, errno.EACCES)}

    def main() -> None:
        raise OSError(codes[error], error, "runs/mine/metrics.jsonl")

    sentence = invoke(main).refused()
    assert re.search(rf"{error} \(runs/mine/metrics.jsonl\): (make room|grant write access) there", sentence)


def test_another_error_keeps_its_traceback(invoke) -> None:
    def main() -> None:
        raise FileNotFoundError(2, "No such file or directory", "x")

    with pytest.raises(FileNotFoundError):
        invoke(main)
