r"""Targets of the outcome model: one function for bootstrapped, n-step and Monte-Carlo ψ.

ψ is the discounted sum of the cumulants of the states of an episode from s_t on. An episode that *terminates* after j
steps has $\psi_t = \sum_{k\le j}\gamma^k c(s_{t+k})$, the terminal state $s_{t+j}$ included. In one that is
*truncated*, the term $\gamma^j c(s_{t+j})$ is replaced by the rest of the outcome: by the bootstrap
$\gamma^j\psi(s_{t+j})$, a draw of the model, or by $\gamma^j c(s_{t+j})/(1-\gamma)$ if the last state is taken to be
absorbing. A return $G_t = \sum_{k<j}\gamma^k r_{t+k}$ includes the reward of the terminating step. For a reward of the
next state, $r_t = f(s_{t+1})$, therefore $\gamma G_t = \psi^f_t - f(s_t)$ at either end, $\psi^f$ being the outcome
with cumulant f: a return whose reward is linear in the cumulants is linear in ψ.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from owma._internal.types import Array, Bool, Float, HostArray, Int, Psi, Scalar
from owma.outcomes.transitions import Transitions


class Segments(eqx.Module):
    r"""For each transition t, the discounted sum of up to n steps from it, and the transition where that sum stops.

    $\psi_t = \sum_{k<j}\gamma^k c_{t+k} + \gamma^j\psi(s_{t+j})$ with $j\le n$ limited by the end of the episode. At a
    termination, if the cumulants of terminal states are given, the sum includes that one too and is one step longer.
    """

    sums: Float[np.ndarray, "n d"]
    r"""$\sum_{k<j}\gamma^k c_{t+k}$; at a termination $\sum_{k\le j}\gamma^k c_{t+k}$."""
    discount: Float[np.ndarray, " n"]
    r"""$\gamma^j$; at a termination $\gamma^{j+1}$: the factor of the bootstrap that follows the sum."""
    last: Int[np.ndarray, " n"]
    """The index t + j − 1 of the last transition that was summed; the outcome goes on from its `next_obs`."""

    @classmethod
    def build(
        cls,
        values: Float[HostArray, "n d"],
        transitions: Transitions,
        *,
        discount: float,
        horizon: int | None,
        terminal: Float[HostArray, "n d"] | None = None,
    ) -> "Segments":
        """Sums of `values` (c_t, one row a transition) over `horizon` steps, or to the episode's end if `None`.

        **Arguments:** `terminal`: the cumulant of each transition's next state, which is added if the episode
        terminates there; only such rows are read. `None` adds nothing, as for rewards, which belong to transitions.
        """
        ends = np.flatnonzero(transitions.ends)
        index = np.arange(len(transitions))
        end = ends[transitions.episode_ids]
        to_end = _sums_to_episode_end(np.asarray(values, np.float64), end, discount)
        if horizon is None:
            last, sums = end, to_end
        else:
            last = np.minimum(index + horizon - 1, end)
            # Subtract what lies beyond the horizon; nothing does where the episode ends first.
            beyond = np.where((index + horizon <= end)[:, None], to_end[np.minimum(index + horizon, end)], 0.0)
            sums = to_end - discount**horizon * beyond
        steps = last - index + 1
        if terminal is not None:
            ended = np.flatnonzero(np.asarray(transitions.terminated)[last])
            reached = np.asarray(terminal, np.float64)[last[ended]]
            sums[ended] += (discount ** steps[ended])[:, None] * reached
            steps[ended] += 1
        return cls(sums.astype(np.float32), (discount**steps).astype(np.float32), last)

    def absorbing(self, transitions: Transitions, *, discount: float, tail: Float[HostArray, "n d"]) -> "Segments":
        r"""The same segments with the last state of a truncated episode taken to be absorbing, instead of a bootstrap.

        **Arguments:** `tail`: what each further step adds after a transition, such as the cumulant of the next state;
        only rows where an episode is truncated are read. It is added with weight $\gamma^j/(1-\gamma)$, and `discount`
        is 0 there.
        """
        is_cut = (np.asarray(transitions.truncated) & ~np.asarray(transitions.terminated))[self.last]
        weight = self.discount * is_cut / (1 - discount)
        sums = (self.sums + weight[:, None] * np.asarray(tail)[self.last]).astype(np.float32)
        return Segments(sums, self.discount * ~is_cut, self.last)


def _sums_to_episode_end(
    values: Float[np.ndarray, "n d"], end: Int[np.ndarray, " n"], discount: float
) -> Float[np.ndarray, "n d"]:
    """Backward recursion G_t = c_t + γ G_{t+1}, all episodes at once."""
    sums = values.copy()
    from_end = end - np.arange(len(values))
    order = np.argsort(from_end, kind="stable")
    boundaries = np.searchsorted(from_end[order], np.arange(from_end.max(initial=0) + 2))
    for distance in range(1, len(boundaries) - 1):
        rows = order[boundaries[distance] : boundaries[distance + 1]]
        sums[rows] += discount * sums[rows + 1]
    return sums


def outcome_target(
    sums: Psi, discount: Scalar, terminal: Bool[Array, ""], bootstrap: Psi, terminal_outcome: Psi
) -> Psi:
    r"""$\psi = \sum_{k<j}\gamma^k c_k + \gamma^j\psi'$, in whitened coordinates.

    **Arguments:** `sums`, `discount`: one row of `Segments`; `terminal`: whether the episode *terminated* there;
    `bootstrap`: ψ' drawn at the state where the sum stops; `terminal_outcome`: the raw outcome 0, whitened, which
    replaces ψ' after a termination (`WorldModel.terminal_outcome`).
    """
    return sums + discount * jnp.where(terminal, terminal_outcome, bootstrap)


def monte_carlo(
    values: Float[HostArray, "n d"],
    transitions: Transitions,
    *,
    discount: float,
    tail: Float[HostArray, "n d"],
    terminal: Float[HostArray, "n d"] | None = None,
) -> Float[np.ndarray, "n d"]:
    r"""Discounted sums to the end of each episode, for fitting coordinates and values (no model needed).

    At a *truncation* the last state is taken to be absorbing: $\gamma^j\,\text{tail}/(1-\gamma)$ is added, `tail` being
    what each further step adds. At a *termination* $\gamma^j\,\text{terminal}$ is added once, or
    nothing if `terminal` is `None`.
    """
    segments = Segments.build(values, transitions, discount=discount, horizon=None, terminal=terminal)
    return segments.absorbing(transitions, discount=discount, tail=tail).sums
