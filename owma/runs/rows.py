"""The row of one episode of an evaluation."""

from typing import TypedDict

_Always = TypedDict(
    "_Always",
    {
        "planner": str,
        "seed": int,
        "episode": int,
        "success": bool | None,
        "return": float | None,
        "steps": int,
        "value": float | None,
        "promise_gap": float | None,
        "kl": float | None,
        "nfe": int | None,
        "ms_p50": float | None,
        "ms_p95": float | None,
        "fallbacks": int,
        "overruns": int,
        "clipped": int,
    },
)


class EpisodeRow(_Always, total=False):
    """One episode: what `owma.eval.rollout.run_episodes` says of it, `pandas.DataFrame(rows)` takes many.

    `return` and `success` are the task's where it can judge an episode, and then `env_return` and `env_success` are the
    environment's; `value` is the V(ψ*) that the first decision promised, `promise_gap` that minus what came of it, `kl`
    (nats) and `nfe` (network passes) are per decision, `ms_p50` and `ms_p95` milliseconds of one.
    """

    value_kind: str
    """Which value `value` is of (`ValueConfig.kind`); rows of earlier versions do not say."""
    env_success: bool | None
    env_return: float | None
    dense_return: float
    """In mazes: the negative distance to the goal, summed."""
    d4rl_normalized_score: float | None
    minari_normalized_score: float | None
    """See `owma.results.scores`."""
    evaluation: str
    """Of `Run.rows`: the folder that the row is from."""
