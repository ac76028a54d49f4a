"""Seeds that no generator of random numbers takes, or that one takes for another: a sentence, and nothing on disk."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import owma.collect.__main__
import owma.eval.__main__
import owma.sweep.__main__
import owma.train.__main__
import owma.transfer.__main__

pytestmark = pytest.mark.cases

COMMANDS: dict[str, tuple[Callable[[], None], tuple[str, ...]]] = {
    "train": (owma.train.__main__.main, ("smoke", "--seed")),
    "eval": (owma.eval.__main__.main, ("runs/none", "--seed")),
    "transfer": (owma.transfer.__main__.main, ("runs/none", "--task", "goal:1,1", "--seed")),
    "sweep": (owma.sweep.__main__.main, ("ablations", "--seeds", "3")),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("seed", "sentence"),
    [
        (-1, "must not be negative"),
        # JAX keeps 32 bits of a seed: these would be the runs of seeds 0 and 1 under another name.
        (2**32, "must be below 2\\^32 = 4294967296; random numbers would be those of 0"),
        (2**64 + 1, "must be below 2\\^32 = 4294967296; random numbers would be those of 1"),
    ],
)
def test_a_seed_that_cannot_be_is_refused(command: str, seed: int, sentence: str, invoke, elsewhere: Path) -> None:
    main, flags = COMMANDS[command]
    said = invoke(main, *flags, seed).refused()
    assert re.fullmatch(rf"owma: error: --seeds?=.*{seed}.*: {sentence}.*\.", said)
    assert not list(elsewhere.rglob("*")) and not list((elsewhere.parent / "datasets").rglob("*"))


@pytest.mark.parametrize(
    "flags", [(owma.train.__main__.main, "smoke", "--data.seed"), (owma.collect.__main__.main, "two-routes", "--seed")]
)
def test_a_negative_seed_of_data_is_refused(flags: tuple, invoke, elsewhere: Path) -> None:
    """Larger ones are as good as any: NumPy takes all of their bits."""
    assert f"{flags[-1]} must not be negative; got -1." in invoke(*flags, -1).refused()
    assert not list(elsewhere.rglob("*")) and not list((elsewhere.parent / "datasets").rglob("*"))
