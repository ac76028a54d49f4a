"""Whether corrected adaptation draws the optimum: mean and component weights of its plans against those of q*.

    python benchmarks/consistency.py --json runs/reference/consistency/summary.json

Mixtures as in `attainment.py`, in one dimension. What plans should be is known by importance sampling of the chain
itself, with a stated error; the mixture's own tilt is beside it, from which the chain differs by its ten steps.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from attainment import MIXTURES, mixture_model

from owma._command import command, open_progress
from owma._types import Array, Float, Scalar
from owma.adaptation import DecisionProblem, pooled
from owma.planners import AbstractPlanner, AgentModel, OnlineAdaptation
from owma.runs import RunFolder, versions

_BATCH = 50
"""Decisions, or thousands of draws, at a time."""


@dataclasses.dataclass(frozen=True)
class Consistency:
    """Plans of corrected adaptation against draws of q*."""

    decisions: int = 2000
    """Of each number of samples on each mixture."""
    samples: tuple[int, ...] = (8, 32, 128, 512)
    """Adapted draws that a plan is chosen from (and as many of the trained model)."""
    draws: int = 2_000_000
    """That q* is estimated from, half of them of the trained model."""
    quick: bool = False
    """One mixture, few decisions."""
    json: Path = Path("runs/consistency/summary.json")
    """The baseline; the table goes beside it."""


def main() -> None:
    """Parse, run, print the file."""
    arguments = tyro.cli(Consistency, prog="python benchmarks/consistency.py", description=__doc__)
    mixtures = [parameters for parameters in MIXTURES if parameters[3] == 1]
    if arguments.quick:
        arguments = dataclasses.replace(arguments, decisions=200, samples=(32,), draws=100_000)
        mixtures = mixtures[:1]
    rows = []
    with open_progress("mixtures", len(mixtures) * (1 + len(arguments.samples)), 0) as advance:
        for separation, scale, rare, _ in mixtures:
            found = _Case(separation, scale, rare, arguments)
            advance(1)
            for samples in arguments.samples:
                rows.append(found.row(samples))
                advance(1)
    _write(arguments, rows)
    print(arguments.json)


class _Case:
    """One mixture, and its q*."""

    def __init__(self, separation: float, scale: float, rare: float, arguments: Consistency) -> None:
        self.arguments = arguments
        self.name = f"{separation:g}x{scale:g}-{rare:g}"
        self.model, line, self.kl_coef = mixture_model(separation, scale, rare, 1)
        self.between = float(jnp.mean(line.means))
        tilted = line.tilted(jnp.ones(1), self.kl_coef)
        self.own_share = float(jnp.exp(tilted.log_weights[1]))
        self.own_mean = float(jnp.exp(tilted.log_weights) @ tilted.means[:, 0])
        self.share, self.mean = self._optimum()

    def _config(self, samples: int) -> OnlineAdaptation:
        return OnlineAdaptation(kl_coef=self.kl_coef, adapt="all", n_adaptation_samples=samples)

    def _optimum(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Share of the rare component and mean under the chain's own q*, each with its standard error."""
        problem = self.model.problem(jnp.zeros(1), jnp.asarray(self.kl_coef))
        adaptation = dataclasses.replace(self._config(256).build().adaptation, num_steps=40)
        state, _ = eqx.filter_jit(adaptation.run)(problem, adaptation.init(problem), key=jax.random.key(0))
        num = max(2, self.arguments.draws // (2000 * _BATCH))
        batches = [
            _weighed(problem, state.delta, self.between, jax.random.key(1 + i), 1000 * _BATCH) for i in range(num)
        ]
        weight, rare, total = np.array(batches, np.float64).T
        return _ratio(rare, weight), _ratio(total, weight)

    def row(self, samples: int) -> dict[str, Any]:
        """Plans of `decisions` decisions."""
        planner = self._config(samples).build()
        psi = np.concatenate(
            [
                np.asarray(_plans(planner, self.model, jax.random.split(jax.random.key(1000 + i), _BATCH)), np.float64)
                for i in range(self.arguments.decisions // _BATCH)
            ]
        )
        is_rare = psi > self.between
        error = 1 / np.sqrt(len(psi))
        return {
            "mixture": self.name,
            "samples": samples,
            "decisions": len(psi),
            "share": is_rare.mean(),
            "share_error": is_rare.std() * error,
            "expected_share": self.share[0],
            "expected_share_error": self.share[1],
            "own_share": self.own_share,
            "mean": psi.mean(),
            "mean_error": psi.std() * error,
            "expected_mean": self.mean[0],
            "expected_mean_error": self.mean[1],
            "own_mean": self.own_mean,
        }


@eqx.filter_jit
def _weighed(
    problem: DecisionProblem, delta: Any, between: float, key: Array, num: int
) -> tuple[Scalar, Scalar, Scalar]:
    """Sums of the weights of q*, of those above `between`, and of weighted outcomes."""
    noise = problem.noise(num, key=key)
    prior, prior_values = problem.draw(None, noise, with_reference=False)
    samples, values = problem.draw(delta, noise, with_reference=True)
    both = pooled(problem, delta, samples, prior, noise)
    weights = jnp.exp(problem.log_weights(both, jnp.concatenate([values, prior_values])))
    psi = both.psi[:, 0]
    return jnp.mean(weights), jnp.mean(weights * (psi > between)), jnp.mean(weights * psi)


@eqx.filter_jit
def _plans(planner: AbstractPlanner, model: AgentModel, keys: Array) -> Float[Array, " n"]:
    return jax.vmap(lambda key: planner.plan(model, jnp.zeros(1), planner.init(model), key=key)[0][0])(keys)


def _ratio(above: Float[np.ndarray, " n"], below: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """A ratio of means over batches, and its standard error by the delta method."""
    ratio = above.mean() / below.mean()
    error = np.std(above - ratio * below, ddof=1) / np.sqrt(len(above)) / below.mean()
    return float(ratio), float(error)


def _write(arguments: Consistency, rows: Sequence[dict[str, Any]]) -> None:
    out = RunFolder(arguments.json.parent)
    out.path.mkdir(parents=True, exist_ok=True)
    lines = [
        "| mixture | samples | rare share | of the chain's q* | z | mean | of the chain's q* | z | tilt itself |",
        "|-|-:|-:|-:|-:|-:|-:|-:|-:|",
    ]
    metrics = []
    for row in rows:
        cells = [row["mixture"], str(row["samples"])]
        for key in ("share", "mean"):
            error = float(np.hypot(row[f"{key}_error"], row[f"expected_{key}_error"]))
            z = (row[key] - row[f"expected_{key}"]) / error
            cells += [
                f"{row[key]:.3f} ± {row[f'{key}_error']:.3f}",
                f"{row[f'expected_{key}']:.3f} ± {row[f'expected_{key}_error']:.3f}",
                f"{z:+.1f}",
            ]
            name = f"{key}/{row['mixture']}/{row['samples']}"
            metrics.append({"key": name, "value": abs(z), "unit": "standard errors", "better": "lower"})
        lines.append("| " + " | ".join([*cells, f"{row['own_share']:.3f}, {row['own_mean']:.3f}"]) + " |")
    out.write_jsonl("rows.jsonl", rows)
    (out.path / "table.md").write_text("\n".join(lines) + "\n")
    settings = {name: getattr(arguments, name) for name in ("decisions", "samples", "draws")}
    summary = {"metrics": metrics, "machine": versions(), "config": settings}
    arguments.json.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    command(main)
