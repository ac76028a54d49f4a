"""The noise schedule against its differential equation, and the two grids against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma.diffusion.schedule import VPSchedule, arctan_grid, karras_grid


def test_ratio_solves_the_forward_process() -> None:
    # dx = -β x/2 dt + √β dW keeps α² + σ² = 1 with α² = exp(-∫β), so log(1 + r²) = -log α² has slope β(t).
    schedule = VPSchedule(beta_min=0.3, beta_max=7.0)
    t = jnp.linspace(0.05, 1.0, 20)
    slope = jax.vmap(jax.grad(lambda s: jnp.log1p(jnp.square(schedule.ratio(s)))))(t)
    np.testing.assert_allclose(slope, 0.3 + 6.7 * t, rtol=1e-4)


def test_ends_of_the_schedule() -> None:
    schedule = VPSchedule()
    assert float(schedule.ratio(jnp.asarray(0.0))) == 0
    # B(1) = (0.1 + 20)/2 = 10.05; α(1) = exp(-5.025) = 0.00657.
    assert schedule.max_ratio == pytest.approx(np.sqrt(np.exp(10.05) - 1))
    assert float(schedule.ratio(jnp.asarray(1.0))) == pytest.approx(schedule.max_ratio, rel=1e-5)
    assert 1 / np.hypot(1, schedule.max_ratio) == pytest.approx(0.00657, rel=1e-3)


def test_arctan_grid() -> None:
    grid = arctan_grid(7, 100.0, 0.05)
    assert len(grid) == 8
    assert grid[0] == pytest.approx(100.0) and grid[-1] == pytest.approx(0.05)
    steps = np.diff(np.arctan(grid))
    np.testing.assert_allclose(steps, (np.arctan(0.05) - np.arctan(100)) / 7)


def test_karras_grid() -> None:
    # ρ = 1 is linear; ρ = 2 between 1 and 9 has its middle at ((1 + 3)/2)² = 4.
    np.testing.assert_allclose(karras_grid(4, 9.0, 1.0, rho=1.0), [9, 7, 5, 3, 1])
    np.testing.assert_allclose(karras_grid(2, 9.0, 1.0, rho=2.0), [9, 4, 1])
    assert karras_grid(3, 80.0, 0.002)[0] == pytest.approx(80.0)


@pytest.mark.parametrize("grid", [arctan_grid, karras_grid])
@pytest.mark.parametrize("arguments", [(0, 1.0, 0.1), (3, 0.1, 0.1), (3, 0.1, 1.0), (3, 1.0, 0.0)])
def test_grids_refuse_what_does_not_decrease(grid, arguments) -> None:
    with pytest.raises(ValueError, match=r"num_steps >= 1 and 0 < min_ratio < max_ratio"):
        grid(*arguments)
