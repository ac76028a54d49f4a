"""How many transitions a second training goes through, and how much of that time is arithmetic that it needs.

    python benchmarks/training_throughput.py --json runs/reference/throughput/summary.json

Updates of the default preset with every kind of target and with longer and shorter bootstraps; beside their floor (the
matrix products of an update alone, in their shapes) and the published configuration; and an update and a decision with
datasets of two sizes. All in one process, taking turns, on untrained networks and made-up transitions (what numbers
they hold makes no difference to the time).
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from adaptation_latency import Program, compiled, decision, shipped, timed
from published import BATCH_SIZE, DDIM_STEPS, PublishedState, PublishedTrainer, published_model

from owma._internal.command import command, parse
from owma._internal.stdout import show_result
from owma._internal.types import Array, Float
from owma.config.presets import PRESETS
from owma.config.training import TrainingConfig
from owma.diffusion.nets import FiLMNet, Linear
from owma.outcomes.transitions import Transitions
from owma.planners import OnlineAdaptation
from owma.runs.folder import RunFolder, versions
from owma.train.outcome import OutcomeTrainer, TrainingState
from owma.train.rows import OutcomeData

_PRESET = PRESETS["two-routes"][1]
_BOOTSTRAPS = (1, 2, 10)
"""Solver steps beside those of the default."""
_EPISODE = 200


@dataclasses.dataclass(frozen=True)
class Throughput:
    """Transitions a second in training."""

    rounds: int = 30
    """Times that each row is measured."""
    updates: int = 10
    """Updates in each of them, in one scan."""
    published_rounds: int = 2
    """The same for the published configuration, one update each time."""
    quick: bool = False
    """Few rounds, one bootstrap, less data, the published configuration with a small batch and no ratio to it: that it
    runs, not what it shows."""
    json: Path = Path("runs/throughput/summary.json")
    """The baseline; rows and table go beside it."""

    @property
    def sizes(self) -> tuple[int, int]:
        """Transitions of the smaller and of the larger dataset."""
        return 200_000, 2_000_000 if self.quick else 20_000_000


def main() -> None:
    """Parse, run, print the file."""
    arguments = parse(Throughput, prog="python benchmarks/training_throughput.py", description=__doc__)
    if arguments.quick:
        arguments = dataclasses.replace(arguments, rounds=3, updates=3, published_rounds=1)
    # A warm cache would hide what compilation takes.
    jax.config.update("jax_enable_compilation_cache", False)
    transitions = walks(arguments.sizes[0])
    trainer = _trainer(transitions, _PRESET.training)
    default = _updates(trainer, arguments.updates)
    rows, ratios = _configurations(arguments, transitions, trainer, default)
    for measure in (_published, _dataset_sizes):
        more, more_ratios = measure(arguments, trainer, default)
        rows, ratios = rows + more, ratios | more_ratios
    _write(arguments, rows, ratios)
    show_result(arguments.json)


def walks(rows: int) -> Transitions:
    """Random walks of the two-route task's sizes, every second one terminated."""
    rng = np.random.default_rng(0)
    model, episodes = shipped(), rows // _EPISODE
    obs, actions = (part.mean.shape[0] for part in (model.world.observation, model.policy.action))
    walks = np.cumsum(0.1 * rng.standard_normal((episodes, _EPISODE + 1, obs), np.float32), axis=1)
    last = np.tile(np.arange(_EPISODE) == _EPISODE - 1, episodes)
    terminated = last & np.repeat(np.arange(episodes) % 2 == 0, _EPISODE)
    return Transitions(
        obs=walks[:, :-1].reshape(-1, obs),
        action=rng.standard_normal((rows, actions), np.float32),
        reward=np.zeros(rows, np.float32),
        next_obs=walks[:, 1:].reshape(-1, obs),
        terminated=terminated,
        truncated=last & ~terminated,
    )


def _data(transitions: Transitions, config: TrainingConfig) -> OutcomeData:
    everything = np.ones(len(transitions), bool)
    return OutcomeData.build(shipped().world, transitions, everything, horizon=config.horizon)[0]


def _trainer(transitions: Transitions, config: TrainingConfig) -> OutcomeTrainer:
    model, data = shipped(), _data(transitions, config)
    return OutcomeTrainer(model.world, model.policy, data, data.rows(jnp.arange(10_000)), config, _PRESET.world)


def updates_of(transitions: Transitions, config: TrainingConfig, count: int) -> Program:
    """So many updates on these transitions."""
    return _updates(_trainer(transitions, config), count)


def _updates(trainer: OutcomeTrainer, count: int) -> Program:
    """So many updates as training makes them, in one scan."""

    def updates(trainer: OutcomeTrainer, state: TrainingState) -> tuple[TrainingState, Array]:
        return trainer.updates(state, count)

    return compiled(updates, trainer, trainer.init(key=jax.random.key(0)))


def _recalibration(trainer: OutcomeTrainer) -> Program:
    def recalibrate(trainer: OutcomeTrainer, state: TrainingState) -> TrainingState:
        return trainer.recalibrated(state)

    return compiled(recalibrate, trainer, trainer.init(key=jax.random.key(0)))


@dataclasses.dataclass(frozen=True)
class UpdateProducts:
    """The matrix products that an update cannot do without, none of them done twice."""

    batch: int
    levels: int
    """Passes through the outcome network for the bootstrap, each of which needs the one before."""

    def program(self, world: FiLMNet, policy: FiLMNet, updates: int) -> Program:
        """So many updates. The products of one need those of the one before, as training does."""
        networks = tuple((_weights(*_condition(net)), _weights(*_trunk(net))) for net in (world, policy))

        def update(networks: Any, inputs: Any) -> Any:
            (conditions, x), (condition, trunk) = inputs[0], networks[0]
            for _ in range(self.levels):
                modulation = _forward(condition, conditions)[-1]
                # A network reads its modulation, too; unread, the products would be left out.
                x = _forward(trunk, x + jnp.sum(modulation, axis=1, keepdims=True))[-1]
            inputs = ((conditions, x), inputs[1])
            # The weights go on as they do in training; a modulation stands for its gradient, which is of its size.
            return tuple(
                tuple(_step(weights, of) for weights, of in zip(network, xs)) for network, xs in zip(networks, inputs)
            )

        def scanned(networks: Any, inputs: Any) -> Any:
            return jax.lax.scan(lambda n, _: (update(n, inputs), None), networks, None, length=updates)[0]

        def nothing(weights: Sequence[Float[Array, "out in"]]) -> Float[Array, "batch in"]:
            return jnp.zeros((self.batch, weights[0].shape[1]))

        inputs = tuple((nothing(condition), nothing(trunk)) for condition, trunk in networks)
        return compiled(scanned, networks, inputs)


def _condition(net: FiLMNet) -> tuple[Linear, ...]:
    return *net.embed, net.film


def _trunk(net: FiLMNet) -> tuple[Linear, ...]:
    return net.trunk_in, *net.trunk, net.trunk_out


def _weights(*layers: Linear) -> tuple[Float[Array, "out in"], ...]:
    return tuple(layer.weight for layer in layers)


def _forward(weights: Sequence[Float[Array, "out in"]], x: Float[Array, "batch in"]) -> list[Float[Array, "batch _"]]:
    """The input of every layer, and the output of the last."""
    activations = [x]
    for weight in weights:
        activations.append(activations[-1] @ weight.T)
    return activations


def _step(weights: Sequence[Float[Array, "out in"]], x: Float[Array, "batch in"]) -> tuple[Float[Array, "out in"], ...]:
    """Forward, back, and the weights moved; back to the first layer's weights, not to its input."""
    *inputs, back = _forward(weights, x)
    moved = []
    for i in reversed(range(len(weights))):
        moved.append(weights[i] - back.T @ inputs[i])
        if i > 0:
            back = back @ weights[i]
    return tuple(reversed(moved))


def _configurations(
    arguments: Throughput, transitions: Transitions, trainer: OutcomeTrainer, default: Program
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    config, state = trainer.config, default.arguments[1]
    programs = {config.target: default}
    for target in ("td", "monte_carlo"):
        # A target is in the data alone: the program is the same.
        data = _data(transitions, dataclasses.replace(config, target=target))
        programs[target] = dataclasses.replace(default, arguments=(dataclasses.replace(trainer, data=data), state))
    for steps in () if arguments.quick else _BOOTSTRAPS:
        other = dataclasses.replace(trainer, config=dataclasses.replace(config, bootstrap_steps=steps))
        programs[f"bootstrap_steps={steps}"] = _updates(other, arguments.updates)
    products = UpdateProducts(config.batch_size, config.bootstrap_steps + 1)
    world, policy = state.denoisers
    programs["floor"] = products.program(world.net, policy.net, arguments.updates)
    programs["recalibration"] = _recalibration(trainer)
    times = dict(timed(programs, arguments.rounds, "configurations"))
    recalibration = times.pop("recalibration") / config.report_every
    times = {name: ms / arguments.updates for name, ms in times.items()}
    ratio = float(np.median(times[config.target] / times["floor"]))
    for name in times:
        if name != "floor":
            times[name] = times[name] + recalibration
    rows = [_row("configurations", name, ms, programs[name], batch=config.batch_size) for name, ms in times.items()]
    rows.append(_row("configurations", "recalibration, of an update", recalibration, programs["recalibration"]))
    speed = config.batch_size / np.median(times[config.target]) * 1e3
    return rows, {"transitions_per_s": float(speed), "over_floor": ratio, "compile_s": default.compile_s}


def _published(
    arguments: Throughput, trainer: OutcomeTrainer, default: Program
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    batch = 64 if arguments.quick else BATCH_SIZE
    model = published_model(shipped(), key=jax.random.key(0))
    published = PublishedTrainer(model, default.arguments[0].data, batch)

    def update(trainer: PublishedTrainer, state: PublishedState) -> PublishedState:
        return trainer.update(state)

    state = published.init(key=jax.random.key(0))
    size = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(state.denoisers, eqx.is_array)))
    label = f"published, {size / 1e6:.1f} M parameters, batch of {batch:,}"
    programs = {trainer.config.target: default, label: compiled(update, published, state)}
    ours, theirs = timed(programs, arguments.published_rounds, "published").values()
    ours = ours / arguments.updates
    rows = [
        _row("published", trainer.config.target, ours, default, batch=trainer.config.batch_size),
        _row("published", label, theirs, programs[label], batch=batch),
    ]
    if arguments.quick:
        # A small batch has other costs: it says nothing of the published one.
        return rows, {}
    speed, published_speed = (row["transitions_per_s"] for row in rows)
    return rows, {"published_transitions_per_s": published_speed, "over_published": speed / published_speed}


def _dataset_sizes(
    arguments: Throughput, trainer: OutcomeTrainer, default: Program
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    small, large = arguments.sizes
    # Real memory: repeated, not shared.
    data = jax.tree.map(
        lambda leaf: jnp.asarray(np.tile(np.asarray(leaf), (large // small,) + (1,) * (leaf.ndim - 1))), trainer.data
    )
    grown = _updates(dataclasses.replace(trainer, data=data), arguments.updates)
    # A decision reads no data; it follows an update that has just read some.
    act = decision(OnlineAdaptation(), shipped())
    programs = {"update, small": default, "decision, small": act, "update, large": grown, "decision, large": act}
    times = timed(programs, arguments.rounds, "dataset sizes")
    rows, ratios = [], {}
    for name, count in (("update", arguments.updates), ("decision", 1)):
        both = [times[f"{name}, {size}"] / count for size in ("small", "large")]
        for n, ms in zip((small, large), both):
            batch = trainer.config.batch_size if name == "update" else None
            program = programs[f"{name}, {'small' if n == small else 'large'}"]
            rows.append(_row("dataset", f"{name}, {n:,} transitions", ms, program, batch=batch))
        ratios[f"large_over_small/{name}"] = float(np.median(both[1] / both[0]))
    return rows, ratios


def _row(
    group: str, name: str, times: Float[np.ndarray, " rounds"], program: Program, *, batch: int | None = None
) -> dict[str, Any]:
    p5, p50, p95 = (float(np.percentile(times, q)) for q in (5, 50, 95))
    row = {"group": group, "name": name, "ms_p5": p5, "ms_p50": p50, "ms_p95": p95, "rounds": len(times)}
    row |= {"transitions_per_s": None if batch is None else 1e3 * batch / p50}
    return row | {"compile_s": program.compile_s, "memory_mb": program.memory_mb}


_RATIOS = {
    "transitions_per_s": ("transitions/s", "higher"),
    "published_transitions_per_s": ("transitions/s", "higher"),
    "over_published": ("ratio", "higher"),
    "over_floor": ("ratio", "lower"),
    "large_over_small/update": ("ratio", "lower"),
    "large_over_small/decision": ("ratio", "lower"),
    "compile_s": ("s", "lower"),
}


def _write(arguments: Throughput, rows: Sequence[dict[str, Any]], ratios: Mapping[str, float]) -> None:
    out = RunFolder(arguments.json.parent)
    out.path.mkdir(parents=True, exist_ok=True)
    lines = [
        "| group | row | p50 ms | p5 | p95 | transitions/s | compile s | temporaries MB |",
        "|-|-" + "|-:" * 6 + "|",
    ]
    for row in rows:
        cells = [row["group"], row["name"], *(f"{row[key]:.3g}" for key in ("ms_p50", "ms_p5", "ms_p95"))]
        cells.append("–" if row["transitions_per_s"] is None else f"{row['transitions_per_s']:,.0f}")
        lines.append("| " + " | ".join([*cells, f"{row['compile_s']:.1f}", f"{row['memory_mb']:.3g}"]) + " |")
    lines += ["", *(f"- {name}: {ratio:.4g}" for name, ratio in ratios.items()), ""]
    lines.append(
        "Milliseconds of one update or one decision. The group `configurations`, its floor apart, holds its share of "
        f"recalibration. The published configuration bootstraps by {DDIM_STEPS} steps; updates of it that were timed: "
        f"{arguments.published_rounds}."
    )
    (out.path / "table.md").write_text("\n".join(lines) + "\n")
    show_result("\n".join(lines))
    out.write_jsonl("rows.jsonl", rows)
    metrics = [
        {"key": f"training/{name}", "value": ratios[name], "unit": unit, "better": better}
        for name, (unit, better) in _RATIOS.items()
        if name in ratios
    ]
    metrics += [
        {
            "key": f"training/ms_p50/{row['group']}/{row['name']}",
            "value": row["ms_p50"],
            "unit": "ms",
            "better": "lower",
        }
        for row in rows
    ]
    settings = {"sizes": arguments.sizes, "rounds": arguments.rounds, "updates": arguments.updates}
    summary = {"metrics": metrics, "machine": versions(), "config": settings}
    arguments.json.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    command(main)
