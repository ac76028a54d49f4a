r"""Targets of the outcome model: one function for bootstrapped, n-step and Monte-Carlo ψ.

ψ counts the states of an episode from s_t on, each once. Where the episode *terminates* after j steps that is
$\psi_t = \sum_{k\le j}\gamma^k c(s_{t+k})$: the terminal state $s_{t+j}$ counts, and nothing follows it. Where it was
truncated, there is more to come in place of $\gamma^j c(s_{t+j})$: a draw $\gamma^j\psi(s_{t+j})$ of the model, or
$\gamma^j c(s_{t+j})/(1-\gamma)$ where things stay as they are. A return $G_t = \sum_{k<j}\gamma^k r_{t+k}$ has the
reward of the terminating step. For a reward of the state that is reached, $r_t = f(s_{t+1})$, it is then
$\gamma G_t = \psi^f_t - f(s_t)$ at either end, $\psi^f$ being the outcome whose cumulant is f: what is linear in the
cumulants is linear in ψ.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from owma._internal.types import Array, Bool, Float, HostArray, Int, Psi, Scalar
from owma.outcomes.transitions import Transitions


class Segments(eqx.Module):
    r"""For each transition t, the discounted sum of what follows it for up to n steps, and where that stops.

    $\psi_t = \sum_{k<j}\gamma^k c_{t+k} + \gamma^j\psi(s_{t+j})$, where $j\le n$ is cut at the end of the episode. If
    that is a termination, and what the terminal state adds is given, the sum has it too and is one step longer.
    """

    sums: Float[np.ndarray, "n d"]
    r"""$\sum_{k<j}\gamma^k c_{t+k}$; at a termination $\sum_{k\le j}\gamma^k c_{t+k}$."""
    discount: Float[np.ndarray, " n"]
    r"""$\gamma^j$; at a termination $\gamma^{j+1}$. Of what comes after the sum."""
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

        **Arguments:** `terminal`: what the state that each transition leads to adds if the episode terminates there;
        only such rows are read. `None` leaves it out, as with rewards, which are of transitions.
        """
        ends = np.flatnonzero(transitions.ends)
        index = np.arange(len(transitions))
        end = ends[transitions.episode_ids]
        to_end = _sums_to_episode_end(np.asarray(values, np.float64), end, discount)
        if horizon is None:
            last, sums = end, to_end
        else:
            last = np.minimum(index + horizon - 1, end)
            # What lies beyond the horizon is taken off again; nothing does where the episode ends first.
            beyond = np.where((index + horizon <= end)[:, None], to_end[np.minimum(index + horizon, end)], 0.0)
            sums = to_end - discount**horizon * beyond
        steps = last - index + 1
        if terminal is not None:
            ended = np.flatnonzero(np.asarray(transitions.terminated)[last])
            reached = np.asarray(terminal, np.float64)[last[ended]]
            sums[ended] += (discount ** steps[ended])[:, None] * reached
            steps[ended] += 1
        return cls(sums.astype(np.float32), (discount**steps).astype(np.float32), last)

    def staying(self, transitions: Transitions, *, discount: float, tail: Float[HostArray, "n d"]) -> "Segments":
        r"""The same where things stay as they are after a truncation: nothing of $\psi(s_{t+j})$ is left to come there.

        **Arguments:** `tail`: what one more step in the state that each transition leads to would add; only that of
        truncated ones is read. Its weight is $\gamma^j/(1-\gamma)$.
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


def outcome_target(sums: Psi, discount: Scalar, terminal: Bool[Array, ""], bootstrap: Psi, nothing: Psi) -> Psi:
    r"""$\psi = \sum_{k<j}\gamma^k c_k + \gamma^j\psi'$, in whitened coordinates.

    **Arguments:** `sums`, `discount`: one row of `Segments`; `terminal`: whether the episode *terminated* there;
    `bootstrap`: ψ' drawn at the state where the sum stops; `nothing`: the outcome in which nothing more happens,
    whitened 0, which takes the place of ψ' after terminations.
    """
    return sums + discount * jnp.where(terminal, nothing, bootstrap)


def monte_carlo(
    values: Float[HostArray, "n d"],
    transitions: Transitions,
    *,
    discount: float,
    tail: Float[HostArray, "n d"],
    terminal: Float[HostArray, "n d"] | None = None,
) -> Float[np.ndarray, "n d"]:
    r"""Discounted sums to the end of each episode, for fitting coordinates and values (no model needed).

    The stated tail at a *truncation*: things stay as they are, $\gamma^j\,\text{tail}/(1-\gamma)$, `tail` being what
    one more step in the last state would add. At a termination it is $\gamma^j\,\text{terminal}$, once, and without
    `terminal` nothing.
    """
    segments = Segments.build(values, transitions, discount=discount, horizon=None, terminal=terminal)
    return segments.staying(transitions, discount=discount, tail=tail).sums
