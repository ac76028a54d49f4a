"""How much of what is attainable each planner attains: closed forms and two-route models, at equal budgets.

    python benchmarks/attainment.py --json runs/reference/attainment/summary.json

J = E[V/scale] − λ KL of a plan's law (an upper bound of its divergence) against J₀ of the trained model and J* = λ log
E exp(V/λ): in closed form for Gaussians and for mixtures the best that the chain can do (by dynamic programming), by
importance sampling with a stated error on learnt models. Settings were chosen on seeds 100 to 102 and are the same
everywhere.
"""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matched import SCALED, TrainedRun, matched, settle, two_routes, with_kl_coef
from scipy.spatial import KDTree

from owma._internal.command import command, enable_compilation_cache, parse
from owma._internal.errors import ConfigError
from owma._internal.progress import open_progress
from owma._internal.stdout import show_result
from owma._internal.types import Array, Float
from owma.adaptation import Optimum, estimate_optimum
from owma.config.experiment import ExperimentConfig
from owma.config.json import to_json
from owma.config.presets import PRESETS
from owma.envs.make import vector_env
from owma.outcomes.observations import flatten_obs
from owma.outcomes.testbeds import (
    GaussianDenoiser,
    GaussianMixtureDenoiser,
    chain_ceiling,
    testbed_policy,
    testbed_world,
)
from owma.outcomes.value import LinearValue
from owma.outcomes.world import whitened_outcomes
from owma.planners import (
    AbstractPlanner,
    AbstractPlannerConfig,
    AgentModel,
    OnlineAdaptation,
    PlanInfo,
    Static,
    TiltedResampling,
)
from owma.results import plots
from owma.runs.folder import RunFolder, versions

_GAUSSIANS = (2, 16, 64)
"""Dimensions: variances 0.1 … 4 in geometric steps, V = Σψ/√d, λ such that KL(q*‖p) = 2 nats."""

MIXTURES = (
    # separation, standard deviation, rare weight, dimensions
    (4.0, 0.5, 0.1, 1),
    (4.0, 0.5, 0.02, 1),
    (4.0, 0.5, 0.001, 1),
    (8.0, 1.0, 0.001, 1),
    (4.0, 0.5, 0.02, 16),
)
"""Two round modes, V the coordinate between them, λ = separation/(2 − log rare weight): the tilt outweighs the
rarity by two nats. K = 10 steps."""

_RARE = (0.02, 0.005)
"""Skews at which budgets and λ are varied."""

_PRICES = (0.5, 1.0, 2.0)
"""λ beside the default one."""


@dataclasses.dataclass(frozen=True)
class Attainment:
    """Attained fraction, divergence, support, milliseconds and network passes of every planner."""

    seed: int = 1
    """Of the two-route models; settings were chosen on seeds 100 to 102."""
    decisions: int = 128
    """Of each planner on each problem."""
    closed_forms: bool = True
    """Gaussians and mixtures."""
    skews: tuple[float, ...] = (0.5, 0.1, 0.02, 0.005)
    """Of the two-route models."""
    varied: bool = True
    """Other λ and other budgets where the route is rare (skews of 0.02 and 0.005)."""
    planners: tuple[str, ...] = ()
    """Names of the planners to compare; all of them by default."""
    quick: bool = False
    """Two closed forms, a model that was hardly trained, three planners: that it runs, not what it shows."""
    runs: Path = Path("runs")
    """Where the trained runs are, or go."""
    json: Path = Path("runs/attainment/summary.json")
    """The baseline; rows, table and pictures go beside it."""


@dataclasses.dataclass(frozen=True)
class Support:
    """Outcomes in the data, and how far apart those of different episodes are."""

    tree: KDTree
    threshold: float
    """99th percentile of the distance from an outcome to the nearest one of another episode."""

    @classmethod
    def of(cls, psi: Float[np.ndarray, "n x"], episode: np.ndarray, *, num: int = 2000) -> "Support":
        tree, distances = KDTree(psi), []
        for i in np.random.default_rng(0).choice(len(psi), min(num, len(psi)), replace=False):
            # Neighbours are of the same episode at first: ask for more until one is not.
            others, near = np.zeros(0, bool), np.zeros(0)
            for k in (64, 512, 4096, len(psi)):
                near, index = tree.query(psi[i], k=min(k, len(psi)))
                others = episode[index] != episode[i]
                if others.any():
                    break
            distances.append(near[others][0] if others.any() else np.inf)
        return cls(tree, float(np.quantile(distances, 0.99)))

    def rate(self, denoised: Float[np.ndarray, "n x"]) -> float:
        """The share of outcomes within the threshold of the data."""
        return float(np.mean(self.tree.query(denoised)[0] <= self.threshold))


@dataclasses.dataclass(frozen=True)
class Problem:
    """One model, the states to decide in, and what is to be had there."""

    name: str
    model: AgentModel
    obs: Float[np.ndarray, "states obs"]
    kl_coef: float
    start: Float[np.ndarray, " states"]
    """J₀ of each state."""
    best: Float[np.ndarray, " states"]
    """What counts as one: J*, or the ceiling of the chain."""
    best_error: float = 0.0
    """Standard error of the mean of `best`."""
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    support: Support | None = None


class Runner:
    """Planners compiled once for each shape, and timed."""

    def __init__(self) -> None:
        self.compiled = eqx.filter_jit(_decide)

    def rows(self, problem: Problem, planners: Mapping[str, AbstractPlannerConfig], decisions: int) -> list[dict]:
        """`decisions` decisions of each planner, in turns so that no planner has the machine to itself."""
        built = {name: config.build() for name, config in planners.items()}
        infos: dict[str, list[PlanInfo]] = {name: [] for name in built}
        seconds: dict[str, list[float]] = {name: [] for name in built}
        with open_progress(problem.name, decisions * len(built), 0) as advance:
            for i in range(-1, decisions):
                # Decision −1 compiles.
                obs, key = jnp.asarray(problem.obs[i % len(problem.obs)]), jax.random.key(i + 1)
                for name, planner in built.items():
                    began = time.perf_counter()
                    info = jax.block_until_ready(self.compiled(planner, problem.model, obs, key))
                    if i >= 0:
                        seconds[name].append(time.perf_counter() - began)
                        infos[name].append(jax.device_get(info))
                        advance(1)
        return [self._row(problem, name, infos[name], seconds[name]) for name in built]

    def _row(self, problem: Problem, name: str, infos: Sequence[PlanInfo], seconds: Sequence[float]) -> dict:
        info = jax.tree.map(lambda *leaves: np.stack(leaves), *[_light(info) for info in infos])
        value = info["value"] / float(problem.model.value_scale)
        # A state has a start and a best of its own; the fraction is of their means, which no easy state dominates.
        state = np.arange(len(infos)) % len(problem.obs)
        gain = value - problem.kl_coef * info["kl"] - problem.start[state]
        span = float(np.mean(problem.best - problem.start))
        attained, spread = float(gain.mean()) / span, float(gain.std(ddof=1)) / np.sqrt(len(gain)) / span
        return {
            "problem": problem.name,
            "planner": name,
            "kl_coef": problem.kl_coef,
            "decisions": len(infos),
            "attained": attained,
            "attained_error": float(np.hypot(spread, attained * problem.best_error / span)),
            "value": float(value.mean()),
            "kl": float(info["kl"].mean()),
            "ess": float(np.median(info["ess"])),
            "on_support": None if problem.support is None else problem.support.rate(info["denoised"]),
            "nfe": int(info["nfe"][0]),
            "ms": 1e3 * float(np.median(seconds)),
            "fallbacks": float(np.mean(info["result"] > 0)),
            "mean": float(np.mean(info["denoised"][:, 0])),
        }


def _decide(planner: AbstractPlanner, model: AgentModel, obs: Float[Array, " obs"], key: Array) -> PlanInfo:
    return planner.plan(model, obs, planner.init(model), key=key)[2]


def _light(info: PlanInfo) -> dict[str, np.ndarray]:
    names = ("value", "kl", "ess", "denoised", "nfe", "result")
    return {name: np.asarray(getattr(info, name)) for name in names}


def _closed_form(denoiser: GaussianDenoiser | GaussianMixtureDenoiser, weight: np.ndarray) -> AgentModel:
    dims = len(weight)
    policy = testbed_policy(dims, 2, dims)
    value = LinearValue(jnp.asarray(weight, jnp.float32), jnp.asarray(0.0))
    return AgentModel(testbed_world(denoiser), policy, value, jnp.asarray(1.0))


def gaussian(dims: int) -> Problem:
    """A Gaussian: its chain is exact, and can become its tilt."""
    variance = np.geomspace(0.1, 4.0, dims)
    weight = np.ones(dims) / np.sqrt(dims)
    denoiser = GaussianDenoiser(jnp.zeros(dims), jnp.asarray(variance, jnp.float32))
    kl_coef = float(np.sqrt(weight @ (variance * weight)) / 2)  # KL* = wᵀSw/(2λ²) = 2
    model = _closed_form(denoiser, weight)
    best = float(denoiser.optimum(model.value.weight, kl_coef))  # type: ignore[attr-defined]
    return Problem(f"gaussian-{dims}", model, np.zeros((1, dims)), kl_coef, np.zeros(1), np.array([best]))


def mixture_model(
    separation: float, scale: float, rare: float, dims: int
) -> tuple[AgentModel, GaussianMixtureDenoiser, float]:
    """The model, its mixture in the one dimension that matters, and λ."""
    line = GaussianMixtureDenoiser.two_modes(1, separation, rare, scale=scale)
    model = _closed_form(GaussianMixtureDenoiser.two_modes(dims, separation, rare, scale=scale), np.eye(dims)[0])
    return model, line, float(separation / (2 - np.log(rare)))


def mixture(separation: float, scale: float, rare: float, dims: int) -> Problem:
    """Two modes. The ceiling is the chain's in one dimension; the others are independent and do not move it."""
    model, line, kl_coef = mixture_model(separation, scale, rare, dims)
    ceiling = chain_ceiling(testbed_world(line).chain, line, lambda psi: psi[0], kl_coef)
    share = float(jnp.exp(line.tilted(jnp.ones(1), kl_coef).log_weights[1]))
    notes = {"optimum": ceiling.optimum, "rare_share_of_tilt": share}
    name = f"mixture-{dims}d-{separation:g}x{scale:g}-{rare:g}"
    return Problem(
        name, model, np.zeros((1, dims)), kl_coef, np.array([ceiling.prior]), np.array([ceiling.ceiling]), notes=notes
    )


@dataclasses.dataclass(frozen=True)
class Learnt:
    """A two-route model: decisions at start states and at states of the data."""

    skew: float
    seed: int
    runs: Path
    preset: ExperimentConfig

    @property
    def name(self) -> str:
        return f"two-routes-{self.skew:g}"

    @cached_property
    def trained(self) -> TrainedRun:
        return two_routes(self.preset, self.skew, self.seed, self.runs, open_progress)

    @cached_property
    def support(self) -> Support:
        transitions = self.trained.inputs.dataset.transitions
        psi = np.asarray(whitened_outcomes(self.trained.run.model.world, transitions))
        return Support.of(psi, np.asarray(transitions.episode_ids))

    def starts(self, num: int) -> Float[np.ndarray, "n obs"]:
        """Where episodes begin."""
        env = self.trained.inputs.env
        assert env is not None  # the presets evaluate
        with vector_env(env, num) as envs:
            raw, _ = envs.reset(seed=1000 * self.seed)
        return np.asarray(flatten_obs(raw, self.trained.run.obs_keys), np.float32)

    def anywhere(self, num: int) -> Float[np.ndarray, "n obs"]:
        """States of the data."""
        obs = self.trained.inputs.dataset.transitions.obs
        return np.asarray(obs[np.random.default_rng(self.seed).choice(len(obs), num, replace=False)], np.float32)

    def problem(self, obs: Float[np.ndarray, "n obs"], kl_coef: float, **effort: int) -> Problem:
        estimates = optima(self.trained.run.model, obs, kl_coef, **effort)
        each = {key: np.array([float(leaf) for leaf in column]) for key, column in _columns(estimates).items()}
        divergence = float(each["divergence"].mean())
        notes = {key: each[key].tolist() for key in ("value", "error", "ess")}
        return Problem(
            self.name,
            self.trained.run.model,
            obs,
            kl_coef,
            each["start"],
            each["value"],
            float(np.sqrt(np.sum(each["error"] ** 2)) / len(estimates)),
            # Where q* lies: its divergence, and the value that it has.
            notes | {"frontier": [divergence, float(each["value"].mean()) + kl_coef * divergence]},
            self.support,
        )


def _columns(optima: Sequence[Optimum]) -> dict[str, list]:
    names = [field.name for field in dataclasses.fields(Optimum)]
    return {name: [getattr(optimum, name) for optimum in optima] for name in names}


_LONG = OnlineAdaptation(adaptation_steps=60, n_adaptation_samples=128, max_kl=0.3, final_kl=1.0, level_share=1.0)
"""What J* is estimated with: a proposal that had time."""


@eqx.filter_jit
def _optimum(model: AgentModel, obs: Float[Array, " obs"], kl_coef: Array, key: Array, num_batches: int) -> Optimum:
    run_key, draw_key = jax.random.split(key)
    adaptation = _LONG.build().adaptation
    problem = adaptation.prepare(model.problem(obs, kl_coef))
    state, _ = adaptation.run(problem, adaptation.init(problem), key=run_key)
    return estimate_optimum(problem, state.delta, num_batches, key=draw_key)


def optima(
    model: AgentModel, obs: Float[np.ndarray, "n obs"], kl_coef: float, *, tries: int = 2, num_batches: int = 24
) -> list[Optimum]:
    """J* of each state; of several proposals the one with the most effective draws counts."""
    best = []
    with open_progress("estimating J*", len(obs), 0) as advance:
        for state in obs:
            candidates = [
                _optimum(model, jnp.asarray(state), jnp.asarray(kl_coef), jax.random.key(i), num_batches)
                for i in range(tries)
            ]
            best.append(max(candidates, key=lambda o: float(o.ess)))
            advance(1)
    return best


_FEW: Mapping[str, AbstractPlannerConfig] = {
    "static": Static(),
    "tilted_resampling": TiltedResampling(num_samples=256),
    "online_adaptation": OnlineAdaptation(),
}
"""What a quick run compares."""


def _chosen(names: Sequence[str]) -> Mapping[str, AbstractPlannerConfig]:
    planners = matched()
    unknown = [name for name in names if name not in planners]
    if unknown:
        raise ConfigError(f"planners={unknown}: there is none of that name; choose from {', '.join(planners)}.")
    return {name: config for name, config in planners.items() if not names or name in names}


class Campaign:
    """The problems in turn; what is done is on disk, and not done again."""

    def __init__(self, arguments: Attainment) -> None:
        self.arguments = arguments
        self.planners = _FEW if arguments.quick else _chosen(arguments.planners)
        self.decisions = 6 if arguments.quick else arguments.decisions
        self.out = RunFolder(arguments.json.parent)
        self.settings = {
            "seed": arguments.seed,
            "decisions": self.decisions,
            "planners": {name: to_json(config) for name, config in self.planners.items()},
        }
        settle(self.out, self.settings)
        is_resumed = (self.out.path / "rows.jsonl").exists()
        self.rows = self.out.read_jsonl("rows.jsonl", drop_torn=True) if is_resumed else []
        self.out.write_jsonl("rows.jsonl", self.rows)
        self.runner = Runner()

    def closed_forms(self) -> None:
        """All parameters adapt: a closed form has neither FiLM layers nor a table worth having."""
        quick = self.arguments.quick
        problems = [lambda d=dims: gaussian(d) for dims in (_GAUSSIANS[:1] if quick else _GAUSSIANS)]
        problems += [lambda p=parameters: mixture(*p) for parameters in (MIXTURES[:1] if quick else MIXTURES)]
        for make in problems:
            problem = make()
            planners = {name: with_kl_coef(config, problem.kl_coef) for name, config in self.planners.items()}
            for name, config in planners.items():
                if isinstance(config, OnlineAdaptation):
                    planners[name] = dataclasses.replace(config, adapt="all")
            self._keep(problem.name, lambda problem=problem: problem, planners, self.decisions)

    def quick(self) -> None:
        """A model that was hardly trained."""
        learnt = Learnt(0.2, self.arguments.seed, self.arguments.runs, PRESETS["smoke"][1])
        self._keep(learnt.name, lambda: learnt.problem(learnt.starts(2), 1.0, tries=1, num_batches=2), _FEW, 6)

    def learnt(self, skew: float) -> None:
        """At the start and anywhere in the data."""
        learnt = self._two_routes(skew)
        name, kl_coef = learnt.name, OnlineAdaptation().kl_coef
        self._keep(name, lambda: learnt.problem(learnt.starts(4), kl_coef), self.planners, self.decisions)
        self._keep(f"{name}-data", lambda: learnt.problem(learnt.anywhere(8), kl_coef), self.planners, self.decisions)

    def varied(self, skew: float) -> None:
        """At other λ, and at two more budgets."""
        learnt = self._two_routes(skew)
        name, kl_coef = learnt.name, OnlineAdaptation().kl_coef
        for other in _PRICES:
            planners = {planner: with_kl_coef(config, other) for planner, config in self.planners.items()}
            self._keep(
                f"{name}-price{other:g}",
                lambda other=other: learnt.problem(learnt.starts(4), other),
                planners,
                self.decisions // 2,
            )
        for scale in (0.25, 4.0):
            scaled = {planner: make(scale) for planner, make in SCALED.items() if planner in self.planners}
            self._keep(
                f"{name}-budget{scale:g}",
                lambda: learnt.problem(learnt.starts(4), kl_coef),
                scaled,
                self.decisions // 2,
            )

    def _two_routes(self, skew: float) -> Learnt:
        return Learnt(skew, self.arguments.seed, self.arguments.runs, PRESETS["two-routes"][1])

    def _keep(
        self,
        name: str,
        make: Callable[[], Problem],
        planners: Mapping[str, AbstractPlannerConfig],
        decisions: int,
    ) -> None:
        if any(row["problem"] == name for row in self.rows):
            return
        problem = dataclasses.replace(make(), name=name)
        rows = [row | {"notes": dict(problem.notes)} for row in self.runner.rows(problem, planners, decisions)]
        # Whole problems only, so that what is there is complete.
        for row in rows:
            self.out.append_jsonl("rows.jsonl", row)
        self.rows += rows
        # Nothing compiled for one problem serves another, and a process may only hold so many programs.
        jax.clear_caches()


def main() -> None:
    """Parse, run, print the file."""
    arguments = parse(Attainment, prog="python benchmarks/attainment.py", description=__doc__)
    enable_compilation_cache()
    campaign = Campaign(arguments)
    if arguments.closed_forms:
        campaign.closed_forms()
    if arguments.quick:
        campaign.quick()
    for skew in () if arguments.quick else arguments.skews:
        campaign.learnt(skew)
    for skew in arguments.skews if arguments.varied and not arguments.quick else ():
        if skew in _RARE:
            campaign.varied(skew)
    _write(campaign, arguments)
    show_result(arguments.json)


def _write(campaign: Campaign, arguments: Attainment) -> None:
    """Baseline, table and pictures, all from the rows."""
    out, rows = campaign.out, campaign.rows
    plain = [row for row in rows if "-budget" not in row["problem"] and "-price" not in row["problem"]]
    keys = (("attained", "share", "higher"), ("kl", "nats", "lower"), ("on_support", "share", "higher"))
    metrics = [
        {"key": f"{key}/{row['problem']}/{row['planner']}", "value": row[key], "unit": unit, "better": better}
        for row in plain
        for key, unit, better in (*keys, ("ms", "ms", "lower"), ("nfe", "network passes", "lower"))
        if row[key] is not None
    ]
    summary = {"metrics": metrics, "machine": versions(), "config": campaign.settings}
    arguments.json.write_text(json.dumps(summary, indent=1) + "\n")
    (out.path / "table.md").write_text(_table(plain))
    for skew in (f"{s:g}" for s in arguments.skews):
        name = f"two-routes-{skew}"
        budgets = [row for row in rows if row["problem"].split("-budget")[0] == name]
        if any("-budget" in row["problem"] for row in budgets):
            path = out.path / f"attained_against_ms_{skew}.png"
            plots.attainment_against_latency(path, budgets, title=f"Two routes, ρ = {skew}, from the start")
        prices = [row for row in rows if row["problem"].split("-price")[0] == name]
        if any("-price" in row["problem"] for row in prices):
            frontier = np.array(sorted({tuple(row["notes"]["frontier"]) for row in prices}))
            path = out.path / f"value_against_kl_{skew}.png"
            plots.value_against_divergence(path, prices, frontier, title=f"Two routes, ρ = {skew}, from the start")


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    problems, planners = (
        list(dict.fromkeys(r["problem"] for r in rows)),
        list(dict.fromkeys(r["planner"] for r in rows)),
    )
    cells = {(row["problem"], row["planner"]): row for row in rows}
    lines = []
    for key, digits, heading in (
        ("attained", 2, "Share of what is attainable"),
        ("kl", 1, "Divergence, nats"),
        ("on_support", 2, "Share of plans on the data's support"),
        ("ms", 0, "Milliseconds a decision"),
        ("nfe", 0, "Network passes"),
    ):
        shown = [p for p in problems if any(r["problem"] == p and r[key] is not None for r in rows)]
        lines += [f"**{heading}**", "", "| planner | " + " | ".join(shown) + " |", "|-" + "|-:" * len(shown) + "|"]
        for planner in planners:
            cells_of_planner = [cells.get((problem, planner)) for problem in shown]
            values = ["–" if row is None or row[key] is None else f"{row[key]:.{digits}f}" for row in cells_of_planner]
            lines.append(f"| {planner} | " + " | ".join(values) + " |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    command(main)
