"""What a run does with its models: the readout of actions, and the promises of plans, against what was recorded."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from owma._internal.types import Action, Array, Float, Key, Obs, PRNGKeyArray, Psi
from owma.agent.act import decide_batch
from owma.config.diagnose import DiagnoseConfig
from owma.config.planners import OnlineAdaptation
from owma.config.planners.budgets import with_kl_coef
from owma.diagnose.recorded import Recorded, explained_within, standardised, values_of
from owma.outcomes.policy import ReadoutPolicy
from owma.outcomes.verification import neighbours, ratio_interval
from owma.planners import PlanResult
from owma.runs.load import SavedRun
from owma.train.held_out import RecordedOutcomes


def policy_figures(
    policy: ReadoutPolicy,
    recorded: RecordedOutcomes,
    draws: Float[np.ndarray, "n m psi"],
    config: DiagnoseConfig,
    *,
    key: PRNGKeyArray,
) -> dict[str, Any]:
    """How far the mean action of the policy is from what was done, and what the outcome tells it.

    Squared errors of standardised actions, in shares of the variance of the recorded ones; what a mean of few draws
    errs by more than one of many is taken off.

    **Arguments:** `draws`: of the model, in the same states.

    **Returns:** `error` when the policy is told the recorded outcome, `error_other_outcome` when it is told draws of
    the model instead (as a policy does that knows the state alone), `error_other_state` when it is told the outcome of
    another state; `use`, the share of the second that the first saves, and `use_interval`. `None` where all recorded
    actions are alike.
    """
    count, states = config.actions, len(recorded)
    others = np.resize(np.arange(draws.shape[1]), count)
    told = {
        "error": np.repeat(recorded.psi[:, None], count, axis=1),
        "error_other_outcome": draws[:, others],
        # Rows are in the order of their episodes: half of them on is another one.
        "error_other_state": np.repeat(np.roll(recorded.psi, states // 2, axis=0)[:, None], count, axis=1),
    }
    standard = standardised(policy.action, recorded.action)
    variance = float(standard.var(axis=0).sum())
    errors: dict[str, Float[np.ndarray, " n"]] = {}
    for name, psi in told.items():
        keys = jax.random.split(key, (states, count))
        actions = np.asarray(_actions(policy, jnp.asarray(recorded.obs), jnp.asarray(psi, jnp.float32), keys))
        of_mean = np.square(actions.mean(axis=1) - standard) - actions.var(axis=1, ddof=1) / count
        errors[name] = of_mean.sum(axis=1).astype(np.float64)
    own, other = errors["error"], errors["error_other_outcome"]
    if not variance > 0 or not other.mean() > 0:
        return dict.fromkeys([*errors, "use"], None) | {"use_interval": (-np.inf, np.inf)}
    return {
        **{name: float(error.mean()) / variance for name, error in errors.items()},
        "use": 1 - float(own.mean() / other.mean()),
        "use_interval": ratio_interval(other - own, other, recorded.episodes, seed=config.seed),
    }


@eqx.filter_jit
def _actions(
    policy: ReadoutPolicy, obs: Float[Array, "n obs"], psi: Float[Array, "n k psi"], keys: Key[Array, "n k"]
) -> Float[Array, "n k act"]:
    """Draws of the policy, standardised."""

    def one(obs: Obs, psi: Psi, key: PRNGKeyArray) -> Action:
        return policy.action(policy.act(obs, psi, key)[0])

    of_state = jax.vmap(one, in_axes=(None, 0, 0))
    return jax.lax.map(lambda row: of_state(*row), (obs, psi, keys), batch_size=32)


def promise_figures(
    run: SavedRun,
    recorded: Recorded,
    radius: float,
    config: DiagnoseConfig,
    *,
    key: PRNGKeyArray,
) -> dict[str, Any]:
    r"""What plans promise at the starts of episodes, by price, and what the data say to it.

    The data are asked by the same rule as the model: of the recorded outcomes of like states each weighs
    $e^{V/\lambda}$, as it does in $q^*$ if the recorded ones take the place of $p_\phi$. What they *returned*, so
    weighed, is what the gain rests on beside V: of what lies beyond it nothing was recorded.

    **Arguments:** `radius`: how far like states are from each other.

    **Returns:** `starts`; `kl_coef` (the run's own λ); `static` (mean V of draws of the trained model); of the
    returns that were recorded of like states `recorded` (mean), `best` and `worst`, each a mean over starts;
    `explained`, R² of V among them; `prices`, by rising λ a row with `kl_coef`, `promise` (mean V(ψ*)), `kl` (nats),
    `fallbacks` (share), `off_data` (the distance of ψ* from the nearest recorded outcome of like states, over that
    which one in twenty of these has from the others) and `chosen` (the mean return of recorded outcomes by these
    weights); and `knee` (`knee_of` them).
    """
    model, evaluation = run.model, run.config.evaluation
    planner = evaluation.settled("online_adaptation", OnlineAdaptation())
    firsts = recorded.transitions.episode_starts
    rows = np.random.default_rng(config.seed).permutation(firsts)[: config.starts]
    like = neighbours(recorded.states[rows], recorded.states, firsts, config.neighbours, radius=radius)
    flat, place = np.unique(np.concatenate([near for near, _ in like]), return_inverse=True)
    ends = np.cumsum([len(near) for near, _ in like])[:-1]
    values = np.split(values_of(model.value, recorded.psi[flat])[place], ends)
    returns = [recorded.returns[near].astype(np.float64) for near, _ in like]
    outcomes = [recorded.psi[near] for near, _ in like]
    gaps = [_nearest(psi, psi, other=True) for psi in outcomes if len(psi) > 1]
    apart = float(np.quantile(np.concatenate(gaps), 0.95)) if gaps else 0.0
    obs = jnp.asarray(recorded.transitions.obs[rows], jnp.float32)
    keys, due = jax.random.split(key, len(rows)), np.ones(len(rows), bool)
    scale, prices, static = float(model.value_scale), [], 0.0
    for kl_coef in sorted({*config.kl_coefs, planner.kl_coef}):
        # The program is that of an evaluation, which may have compiled it.
        agent = run.agent(with_kl_coef(planner, kl_coef), replan_every=evaluation.replan_every)
        decided = decide_batch(agent, obs, agent.init_batch(len(rows)), keys, due).decision
        info, psi = decided.info, np.asarray(decided.psi)
        static = float(jnp.mean(info.prior_values))
        chosen = [_weighed(r, v / max(kl_coef * scale, 1e-12)) for r, v in zip(returns, values)]
        away = [float(_nearest(plan[None], psi_of)[0]) for plan, psi_of in zip(psi, outcomes)]
        prices.append(
            {
                "kl_coef": kl_coef,
                "promise": float(jnp.mean(info.value)),
                "kl": float(jnp.mean(info.kl)),
                "fallbacks": float(np.mean(np.asarray(info.result) != PlanResult.PLANNED)),
                "off_data": float(np.mean(away)) / apart if apart > 0 else None,
                "chosen": float(np.mean(chosen)),
            }
        )
    return {
        "starts": len(rows),
        "kl_coef": planner.kl_coef,
        "static": static,
        "recorded": float(np.mean([r.mean() for r in returns])),
        "best": float(np.mean([r.max() for r in returns])),
        "worst": float(np.mean([r.min() for r in returns])),
        "explained": explained_within(values, returns),
        "prices": prices,
        "knee": knee_of(prices),
    }


def _weighed(returns: Float[np.ndarray, " k"], logits: Float[np.ndarray, " k"]) -> float:
    weights = np.exp(logits - logits.max())
    return float(weights @ returns / weights.sum())


def _nearest(
    a: Float[np.ndarray, "n psi"], b: Float[np.ndarray, "k psi"], *, other: bool = False
) -> Float[np.ndarray, " n"]:
    """The distance of each of `a` from the nearest of `b`; `other`: but for itself."""
    squared = np.sum(np.square(a), axis=1)[:, None] + np.sum(np.square(b), axis=1) - 2 * a @ b.T
    if other:
        np.fill_diagonal(squared, np.inf)
    return np.sqrt(np.maximum(squared.min(axis=1), 0.0)).astype(np.float64)


def knee_of(prices: Sequence[Mapping[str, Any]]) -> float | None:
    """λ where the curve of promise against nats bends most: the point farthest above the line between its ends, both
    axes scaled to their range (Satopää et al. 2011, "Finding a Kneedle in a Haystack"). `None` where the curve is
    hardly bent, or has fewer than three points.
    """
    ordered = sorted(prices, key=lambda row: row["kl"])
    x, y = (np.array([row[key] for row in ordered]) for key in ("kl", "promise"))
    if len(x) < 3 or not x[-1] > x[0] or not y[-1] > y[0]:
        return None
    above = (y - y[0]) / (y[-1] - y[0]) - (x - x[0]) / (x[-1] - x[0])
    place = int(np.argmax(above))
    return float(ordered[place]["kl_coef"]) if above[place] > _BENT else None


_BENT = 0.1
"""Share of the range of promises by which a curve is to lie above a straight line for it to have a knee."""
