"""Rules that pick the plan from draws, against the laws that they promise."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma.adaptation import AllParameters, BestDraw, NoCorrection, Resample, pooled
from owma.diffusion import PathSample
from owma.outcomes.testbeds import GaussianDenoiser


def _samples(log_weight: list[float], kl: list[float] | None = None) -> PathSample:
    n = len(log_weight)
    return jax.vmap(PathSample)(
        jnp.zeros((n, 1)),
        jnp.zeros((n, 1)),
        jnp.asarray(kl or [0.0] * n),
        jnp.asarray(log_weight),
        jnp.zeros((n, 11, 1)),
    )


def test_a_plain_draw_is_the_first(gaussian_model) -> None:
    problem = gaussian_model([0.0], [1.0], [1.0]).problem(jnp.zeros(1), jnp.asarray(1.0))
    choice = NoCorrection()(problem, _samples([0.0, 0.0], [1.0, 3.0]), jnp.asarray([1.0, 9.0]), key=jax.random.key(0))
    assert (int(choice.index), float(choice.kl), float(choice.ess)) == (0, 2.0, 2.0)


def test_the_best_draw_pays_for_the_choice_and_for_its_path(gaussian_model) -> None:
    # log 4 − 3/4 for the choice, and −log dP/dP' = 0.5 for the path of draw 2.
    problem = gaussian_model([0.0], [1.0], [1.0]).problem(jnp.zeros(1), jnp.asarray(1.0))
    samples = _samples([9.0, 9.0, -0.5, 9.0])
    choice = BestDraw()(problem, samples, jnp.asarray([1.0, 2.0, 5.0, 3.0]), key=jax.random.key(0))
    assert int(choice.index) == 2
    assert float(choice.kl) == pytest.approx(np.log(4) - 0.75 + 0.5, rel=1e-5)


def test_weights_by_hand(gaussian_model) -> None:
    # V/λ = (0, log 3) in units of 2 at λ = 0.5, and path weights (1, 2): weights (1, 6)/7.
    problem = gaussian_model([0.0], [1.0], [1.0], value_scale=2.0).problem(jnp.zeros(1), jnp.asarray(0.5))
    samples, values = _samples([0.0, float(np.log(2))]), jnp.asarray([0.0, float(np.log(3))])
    choices = jax.vmap(lambda key: Resample()(problem, samples, values, key=key))(
        jax.random.split(jax.random.key(0), 20_000)
    )
    # 20,000 choices: standard error 0.0025.
    assert float(jnp.mean(choices.index)) == pytest.approx(6 / 7, abs=0.01)
    assert float(choices.ess[0]) == pytest.approx(49 / 37, rel=1e-4)
    # V/λ of the chosen, less the log of the mean weight, (1 + 6)/2.
    np.testing.assert_allclose(choices.kl, np.log(3) * np.asarray(choices.index) - np.log(3.5), atol=1e-5)


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.5])
def test_weighted_draws_follow_the_optimum_whatever_the_proposal(getkey, gaussian_model, shift: float) -> None:
    # q* = N(m + Sw/λ, S) = N(1, 1) at λ = 1, KL* = 1/2; the proposal is N(shift, 1).
    problem = gaussian_model([0.0], [1.0], [1.0]).problem(jnp.zeros(1), jnp.asarray(1.0))
    proposal = GaussianDenoiser(jnp.full(1, shift), jnp.ones(1))

    @eqx.filter_jit
    @jax.vmap
    def decide(key):
        noise_key, choice_key = jax.random.split(key)
        samples = jax.vmap(lambda e: problem.chain.simulate(proposal, problem.context, e, reference=problem.denoiser))(
            problem.noise(128, key=noise_key)
        )
        choice = Resample()(problem, samples, jax.vmap(problem.value)(samples.psi), key=choice_key)
        return samples.psi[choice.index, 0], choice.kl

    psi, kl = decide(jax.random.split(getkey(), 2000))
    # Standard errors of 2000 draws of a unit normal: 0.022 and 0.032. Choosing among n = 128 only leaves a bias of
    # order Var(w)/n = 0.013, and a divergence that is above KL* by half of that or so.
    assert float(jnp.mean(psi)) == pytest.approx(1.0, abs=0.09)
    assert float(jnp.var(psi)) == pytest.approx(1.0, abs=0.13)
    assert float(jnp.mean(kl)) == pytest.approx(0.5, abs=0.1)


def test_effective_sample_size_is_full_at_the_optimum(getkey, gaussian_model) -> None:
    # Draws of q* itself have equal weights: exp(V/λ) dP/dq* is constant.
    problem = gaussian_model([0.0], [1.0], [1.0]).problem(jnp.zeros(1), jnp.asarray(1.0))
    optimum = problem.denoiser.tilted(problem.value.weight, 1.0)
    samples = jax.vmap(lambda e: problem.chain.simulate(optimum, problem.context, e, reference=problem.denoiser))(
        problem.noise(64, key=getkey())
    )
    values = jax.vmap(problem.value)(samples.psi)
    assert float(Resample()(problem, samples, values, key=getkey()).ess) == pytest.approx(64, rel=0.01)


@pytest.mark.parametrize("shift", [-3.0, 0.0, 1.0, 4.0])
def test_pooled_weights_are_those_of_the_mixture(getkey, gaussian_model, shift: float) -> None:
    problem = gaussian_model([0.0], [1.0], [1.0]).problem(jnp.zeros(1), jnp.asarray(1.0))
    delta = eqx.tree_at(lambda d: d.mean, AllParameters().zeros(problem.denoiser), jnp.full(1, shift))
    noise = problem.noise(4000, key=getkey())

    @eqx.filter_jit
    def pool():
        return pooled(problem.draw_both(delta, noise))

    both, values = pool()
    weights = np.exp(np.asarray(both.log_weight, np.float64))
    assert weights.max() <= 2 + 1e-4
    # E w = 1 over the even mixture, and E w e^V = e^{1/2}: 8,000 draws, w ≤ 2, e^V of standard deviation 2.2.
    assert weights.mean() == pytest.approx(1.0, abs=4 / np.sqrt(8000))
    assert np.mean(weights * np.exp(values)) == pytest.approx(np.exp(0.5), abs=4 * 3 / np.sqrt(8000))
