"""The variance-preserving noise schedule."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np

from owma._internal.types import Array, Float


@dataclasses.dataclass(frozen=True)
class VPSchedule:
    r"""The forward process $\mathrm{d}x = -\tfrac12\beta(t)x\,\mathrm{d}t + \sqrt{\beta(t)}\,\mathrm{d}W$ on
    $t\in[0,1]$, with $\beta$ linear from `beta_min` to `beta_max` (Song et al., arXiv 2011.13456, eq. 33).

    Then $x_t = \alpha_t x_0 + \sigma_t\varepsilon$ with $\alpha_t^2 + \sigma_t^2 = 1$. The rest of the package
    identifies a noise level by its *ratio* $r = \sigma/\alpha$, and works with $y = x/\alpha = x_0 + r\varepsilon$, in
    which samplers have their simplest form (Karras et al., arXiv 2206.00364).
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def ratio(self, t: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        r"""$r(t) = \sigma_t/\alpha_t = \sqrt{e^{B(t)} - 1}$ with $B(t) = \int_0^t\beta$."""
        integral = self.beta_min * t + 0.5 * (self.beta_max - self.beta_min) * jnp.square(t)
        return jnp.sqrt(jnp.expm1(integral))

    @property
    def max_ratio(self) -> float:
        """r(1), the largest noise level in training."""
        return math.sqrt(math.expm1(0.5 * (self.beta_min + self.beta_max)))


def arctan_grid(num_steps: int, max_ratio: float, min_ratio: float) -> tuple[float, ...]:
    """Noise levels r_0 > … > r_K, K = `num_steps`, uniform in arctan(r): the grid of stochastic chains.

    Python numbers, not arrays, so that they are known at trace time.
    """
    _check_grid("arctan_grid", num_steps, max_ratio, min_ratio)
    angles = np.linspace(np.arctan(max_ratio), np.arctan(min_ratio), num_steps + 1)
    return tuple(float(ratio) for ratio in np.tan(angles))


def karras_grid(num_steps: int, max_ratio: float, min_ratio: float, *, rho: float = 7.0) -> tuple[float, ...]:
    """Noise levels uniform in r^(1/ρ) (Karras et al., arXiv 2206.00364, eq. 5): the grid of deterministic solvers."""
    _check_grid("karras_grid", num_steps, max_ratio, min_ratio)
    roots = np.linspace(max_ratio ** (1 / rho), min_ratio ** (1 / rho), num_steps + 1)
    return tuple(float(ratio) for ratio in roots**rho)


def _check_grid(name: str, num_steps: int, max_ratio: float, min_ratio: float) -> None:
    if num_steps < 1 or not 0 < min_ratio < max_ratio:
        raise ValueError(
            f"{name}(num_steps={num_steps}, max_ratio={max_ratio}, min_ratio={min_ratio}): "
            "needs num_steps >= 1 and 0 < min_ratio < max_ratio."
        )
