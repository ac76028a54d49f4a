"""Whether corrected adaptation draws the optimum: mean and component weights of its plans against those of q*.

    python benchmarks/consistency.py --json runs/reference/consistency/summary.json

Mixtures as in `attainment.py`, in one dimension, where the q* of the chain itself is known by dynamic programming; the
mixture's own tilt is beside it, from which the chain differs by its ten steps.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from attainment import MIXTURES, mixture_model

from owma._internal.command import command, enable_compilation_cache, parse
from owma._internal.errors import ConfigError
from owma._internal.progress import open_progress
from owma._internal.stdout import show_result
from owma._internal.types import Array, Float
from owma.outcomes.testbeds import chain_ceiling
from owma.planners import AbstractPlanner, AgentModel, OnlineAdaptation
from owma.runs.folder import RunFolder, versions

_BATCH = 50
"""Decisions at a time."""

_EFFORTS = ((10, 8), (10, 32), (10, 128), (10, 512), (40, 512))
"""Adaptation steps, and draws of the adapted model to choose from (beside as many of the trained one)."""


@dataclasses.dataclass(frozen=True)
class Consistency:
    """Plans of corrected adaptation against q*."""

    decisions: int = 2000
    """Of each effort on each mixture; a multiple of 50."""
    quick: bool = False
    """One mixture, one effort, few decisions."""
    json: Path = Path("runs/consistency/summary.json")
    """The baseline; the table goes beside it."""

    def __post_init__(self) -> None:
        if self.decisions < _BATCH or self.decisions % _BATCH:
            raise ConfigError(f"decisions={self.decisions}: must be a positive multiple of {_BATCH}.")


@dataclasses.dataclass(frozen=True)
class Law:
    """What a law of outcomes is summarised by."""

    share: float
    """Of the rare component: of outcomes nearer to it than to the other."""
    mean: float


def main() -> None:
    """Parse, run, print the file."""
    arguments = parse(Consistency, prog="python benchmarks/consistency.py", description=__doc__)
    enable_compilation_cache()
    mixtures = [parameters for parameters in MIXTURES if parameters[3] == 1]
    efforts = _EFFORTS
    if arguments.quick:
        arguments = dataclasses.replace(arguments, decisions=200)
        mixtures, efforts = mixtures[:1], efforts[1:2]
    total = len(mixtures) * len(efforts) * arguments.decisions
    with open_progress("plans", total, 0) as advance:
        rows_by_mixture = [_of_mixture(parameters, efforts, arguments.decisions, advance) for parameters in mixtures]
    _write(arguments, [row for rows in rows_by_mixture for row in rows])
    show_result(arguments.json)


def _of_mixture(
    parameters: tuple[float, float, float, int],
    efforts: Sequence[tuple[int, int]],
    decisions: int,
    advance: Callable[[int], None],
) -> list[dict[str, Any]]:
    """A row for each effort on one mixture."""
    separation, scale, rare, _ = parameters
    model, line, kl_coef = mixture_model(separation, scale, rare, 1)
    between = float(jnp.mean(line.means))
    expected = _optimum(model, between, kl_coef)
    tilted = line.tilted(jnp.ones(1), kl_coef)
    weights = jnp.exp(tilted.log_weights)
    own = Law(float(weights[1]), float(weights @ tilted.means[:, 0]))
    rows = []
    for steps, samples in efforts:
        planner = OnlineAdaptation(
            kl_coef=kl_coef, adapt="all", adaptation_steps=steps, n_adaptation_samples=samples
        ).build()
        psi = []
        for i in range(decisions // _BATCH):
            psi.append(np.asarray(_plans(planner, model, jax.random.split(jax.random.key(i), _BATCH)), np.float64))
            advance(_BATCH)
        effort = {"mixture": f"{separation:g}x{scale:g}-{rare:g}", "steps": steps, "samples": samples}
        rows.append(effort | _compared(np.concatenate(psi), between, expected, own))
    return rows


def _optimum(model: AgentModel, between: float, kl_coef: float) -> Law:
    r"""The chain's q*: $E_pe^{V/\lambda}$ over all outcomes and over those above `between`, and its slope in V."""

    def log_normaliser(lowest: float, slope: float) -> float:
        chain, denoiser = model.world.chain, model.world.denoiser
        ceiling = chain_ceiling(
            chain, denoiser, lambda psi: jnp.where(psi[0] > lowest, slope * psi[0], -60 * kl_coef), kl_coef
        )
        return ceiling.optimum / kl_coef

    share = float(np.exp(log_normaliser(between, 1.0) - log_normaliser(-np.inf, 1.0)))
    more, less = (log_normaliser(-np.inf, 1.0 + e) for e in (0.01, -0.01))
    return Law(share, kl_coef * (more - less) / 0.02)


@eqx.filter_jit
def _plans(planner: AbstractPlanner, model: AgentModel, keys: Array) -> Float[Array, " n"]:
    return jax.vmap(lambda key: planner.plan(model, jnp.zeros(1), planner.init(model), key=key)[0][0])(keys)


def _compared(psi: Float[np.ndarray, " n"], between: float, expected: Law, own: Law) -> dict[str, Any]:
    row: dict[str, Any] = {"decisions": len(psi)}
    for key, draws in (("share", psi > between), ("mean", psi)):
        error = float(np.std(draws) / np.sqrt(len(draws)))
        row |= {key: float(np.mean(draws)), f"{key}_error": error, f"{key}_of_optimum": getattr(expected, key)}
        row |= {f"{key}_z": (row[key] - row[f"{key}_of_optimum"]) / error, f"{key}_of_tilt": getattr(own, key)}
    return row


def _write(arguments: Consistency, rows: Sequence[dict[str, Any]]) -> None:
    out = RunFolder(arguments.json.parent)
    out.path.mkdir(parents=True, exist_ok=True)
    heading = ("mixture", "steps", "samples", "rare share", "of q*", "z", "mean", "of q*", "z", "tilt itself")
    lines = ["| " + " | ".join(heading) + " |", "|-" + "|-:" * (len(heading) - 1) + "|"]
    metrics = []
    for row in rows:
        cells = [row["mixture"], f"{row['steps']}", f"{row['samples']}"]
        for key in ("share", "mean"):
            cells += [f"{row[key]:.3f} ± {row[f'{key}_error']:.3f}", f"{row[f'{key}_of_optimum']:.3f}"]
            cells.append(f"{row[f'{key}_z']:+.1f}")
            name = f"{key}/{row['mixture']}/{row['steps']}x{row['samples']}"
            value = abs(row[f"{key}_z"])
            metrics.append({"key": name, "value": value, "unit": "standard errors", "better": "lower"})
        lines.append("| " + " | ".join([*cells, f"{row['share_of_tilt']:.3f}, {row['mean_of_tilt']:.3f}"]) + " |")
    out.write_jsonl("rows.jsonl", rows)
    (out.path / "table.md").write_text("\n".join(lines) + "\n")
    settings = {"decisions": arguments.decisions, "efforts": [list(effort) for effort in _EFFORTS]}
    summary = {"metrics": metrics, "machine": versions(), "config": settings}
    arguments.json.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    command(main)
