"""Standard output is for results: neither what other packages print nor a reader that has gone disturbs them."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np

import owma

CHECKOUT = Path(owma.__file__).parent.parent

_CHATTY = """
    import atexit, ctypes, os
    import gymnasium as gym

    libc = ctypes.CDLL(None)  # its buffer is written when it is full, or the process ends

    def chat(when):
        print("print,", when)
        libc.puts(f"puts, {when}".encode())
        os.system(f"echo echo, {when}")

    class Chatty(gym.Env):
        observation_space = gym.spaces.Box(-1.0, 1.0, (2,))
        action_space = gym.spaces.Box(-1.0, 1.0, (1,))

        def __init__(self):
            chat("making")

        def reset(self, *, seed=None, options=None):
            chat("reset")
            return self.observation_space.sample(), {}

        def step(self, action):
            chat("step")
            return self.observation_space.sample(), 0.0, False, False, {}

        def close(self):
            chat("closing")

    gym.register("chatty/Chatty-v0", Chatty, max_episode_steps=5)
    chat("import")
    atexit.register(chat, "end")
"""

_COMMAND = """
    import sys
    from owma._internal.command import command
    from owma._internal.stdout import show_result

    def main():
        from owma.envs import check_env, find_env

        check_env(find_env("chatty:chatty/Chatty-v0"), None, obs_dim=2, action_dim=1)
        show_result("the result")

    command(main)
    print("afterwards")  # a program that calls a command has its standard output back
"""


def _environment(folder: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{CHECKOUT}"}


def test_what_an_environment_prints_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "chatty.py").write_text(textwrap.dedent(_CHATTY))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_COMMAND)],
        env=_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    # Python's own output is the program's again as it ends; what is written past Python is not.
    assert done.stdout == "the result\nafterwards\nprint, end\n"
    for when in ("import", "making", "reset", "step", "closing"):
        assert f"print, {when}\n" in done.stderr
    for when in ("import", "making", "reset", "step", "closing", "end"):
        assert f"puts, {when}\n" in done.stderr and f"echo, {when}\n" in done.stderr


def _until_the_reader_goes(folder: Path, *words: str, lines: int) -> tuple[str, str, int]:
    """What `owma ... | head -LINES` shows, what goes to standard error, and how the command ends."""
    with subprocess.Popen(
        [sys.executable, *words],
        env=_environment(folder),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        shown = "".join(process.stdout.readline() for _ in range(lines))
        process.stdout.close()
        return shown, process.stderr.read(), process.wait(timeout=120)


def test_a_reader_that_goes_ends_the_command_without_a_word(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", obs=np.zeros((9, 2)), action=np.zeros((9, 1)), reward=np.arange(9.0))
    # All of a short table fits into the pipe, and would be written before a reader of its first line has gone: this one
    # is gone before the command has started.
    inspect = ("-m", "owma", "inspect", ".")
    assert _until_the_reader_goes(tmp_path, *inspect, lines=0) == ("", "", 128 + signal.SIGPIPE)
    # Line after line, so that there is always one more to be written when the reader is gone.
    many = (
        "from owma._internal.command import command\n"
        "from owma._internal.stdout import show_result\n"
        "command(lambda: [show_result(n) for n in range(10**6)] and None)\n"
    )
    assert _until_the_reader_goes(tmp_path, "-c", many, lines=1) == ("0\n", "", 128 + signal.SIGPIPE)


def test_a_pipe_of_the_commands_own_that_breaks_is_a_mistake_of_ours(tmp_path: Path) -> None:
    script = (
        "import os\nfrom owma._internal.command import command\n"
        "def main():\n    read, write = os.pipe()\n    os.close(read)\n    os.write(write, b'x')\ncommand(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env=_environment(tmp_path), capture_output=True, text=True)
    assert done.returncode == 1 and "BrokenPipeError" in done.stderr
