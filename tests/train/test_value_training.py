"""The family of reward functions, and the decoder that is trained on it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma._internal.errors import ConfigError
from owma.config.value import ValueConfig
from owma.outcomes.features import FeaturesConfig
from owma.outcomes.transitions import Transitions
from owma.outcomes.value import infer_task, r_squared
from owma.outcomes.whitening import Standardisation
from owma.train.value import RewardFamily, ValueTrainer, family_returns


def test_reward_functions_are_sums_of_bumps() -> None:
    # One task that looks at the first of two coordinates with width 2: bumps at 0 (weight 1) and at 4 (weight −2).
    family = RewardFamily(
        centres=jnp.asarray([[[0.0, 50.0], [4.0, -50.0]]]),
        weights=jnp.asarray([[1.0, -2.0]]),
        precision=jnp.asarray([[0.25, 0.0]]),
    )
    # At s₁ = 2 both distances are 4/4 = 1: (1 − 2)·exp(−1/2).
    np.testing.assert_allclose(family(jnp.asarray([2.0, 7.0])), [-np.exp(-0.5)], rtol=1e-6)


def test_a_random_family_is_centred_on_the_data_and_looks_at_something(getkey) -> None:
    obs = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    family = RewardFamily.random(obs, 40, num_bumps=4, key=getkey())
    assert family.centres.shape == (40, 4, 3)
    distances = np.abs(np.asarray(family.centres)[:, :, None] - obs).sum(axis=-1).min(axis=-1)
    assert distances.max() == 0
    precision = np.asarray(family.precision)
    assert (precision.max(axis=1) > 0).all()
    widths = 1 / np.sqrt(precision.max(axis=1))
    assert widths.min() > 0.29 and widths.max() < 1.51


@pytest.mark.parametrize("looked_at, others", [((0, 1), (2, 3, 4)), ((2, 3), (0, 1, 4))])
def test_a_random_family_looks_where_outcomes_look(looked_at, others, getkey) -> None:
    obs = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
    config = FeaturesConfig(coordinates=2, first_coordinate=looked_at[0])
    family = RewardFamily.random(obs, 40, coordinates=config.looked_at, key=getkey())
    here = jnp.asarray(obs[0])
    np.testing.assert_array_equal(family(here), family(here.at[np.array(others)].set(7.0)))
    assert (family(here) != family(here.at[np.array(looked_at)].add(0.5))).all()


def test_family_returns_are_discounted_sums_standardised(getkey) -> None:
    rng = np.random.default_rng(1)
    states = rng.normal(size=(31, 2)).astype(np.float32)
    last = np.arange(30) == 29
    transitions = Transitions(
        states[:-1], np.zeros((30, 1), np.float32), np.zeros(30, np.float32), states[1:], last, np.zeros(30, bool)
    )
    observation = Standardisation.fit(transitions.obs)
    family = RewardFamily.random(np.asarray(jax.vmap(observation)(jnp.asarray(states))), 5, key=getkey())
    returns = family_returns(family, transitions, observation, 0.9)
    rewards = np.asarray(jax.vmap(lambda s: family(observation(s)))(jnp.asarray(states[1:])))
    expected = np.array([sum(0.9 ** (u - t) * rewards[u] for u in range(t, 30)) for t in range(30)])
    np.testing.assert_allclose(returns, (expected - expected.mean(0)) / expected.std(0), atol=1e-3)


@pytest.fixture(scope="module")
def trained():
    """A decoder of a family whose returns are known functions of ψ: sin(aᵢ·ψ), standardised."""
    psi_key, task_key, train_key = jax.random.split(jax.random.key(0), 3)
    psi = jax.random.normal(psi_key, (4000, 2))
    returns = jnp.sin(psi @ jax.random.normal(task_key, (2, 8)))
    returns = (returns - returns.mean(0, keepdims=True)) / returns.std(0, keepdims=True)
    config = ValueConfig(
        num_tasks=8, embedding_size=8, width=64, depth=2, dropout=0.0, updates=1500, batch_size=256, report_every=500
    )
    trainer = ValueTrainer(psi, returns, config)
    return trainer, list(trainer.run(trainer.init(key=train_key)))


def test_training_reports_and_improves(trained) -> None:
    _, rows = trained
    assert [row["step"] for _, row in rows] == [500, 1000, 1500]
    losses = [row["value_loss"] for _, row in rows]
    # Standardised returns have variance 1: the decoder explains most of it.
    assert losses[-1] < losses[0] and losses[-1] < 0.15


def test_training_goes_on_from_any_state_as_if_it_had_not_stopped(trained) -> None:
    trainer, rows = trained
    again = list(trainer.run(rows[-2][0]))
    assert [row for _, row in again] == [rows[-1][1]] and eqx.tree_equal(again[-1][0], rows[-1][0])


def test_divergence_is_reported() -> None:
    config = ValueConfig(num_tasks=2, width=4, depth=1, updates=4, batch_size=8, report_every=2)
    trainer = ValueTrainer(jnp.full((9, 1), jnp.nan), jnp.ones((9, 2)), config)
    with pytest.raises(ConfigError, match=r"V\(psi, z\) diverged before update 2 .*--value.learning-rate"):
        next(trainer.run(trainer.init(key=jax.random.key(0))))


def test_a_task_of_the_family_is_recovered(trained, getkey) -> None:
    trainer, rows = trained
    psi, returns, decoder = trainer.psi, trainer.returns, trainer.finish(rows[-1][0])
    for task in (0, 5):
        # In units and around a mean of its own, from 300 labelled samples, judged on others.
        labels = 7.0 + 3.0 * np.asarray(returns[:, task])
        value = infer_task(decoder, np.asarray(psi[:300]), labels[:300], key=getkey())
        predictions = np.asarray(jax.vmap(value)(psi[1000:]))
        # As well as with the embedding that training itself found for this task.
        own = 7.0 + 3.0 * np.asarray(jax.vmap(lambda p: decoder(p, decoder.embeddings[task]))(psi[1000:]))  # noqa: B023
        assert r_squared(predictions, labels[1000:]) > r_squared(own, labels[1000:]) - 0.05
    # θ is frozen.
    for inferred, own in zip(jax.tree.leaves(value.decoder), jax.tree.leaves(decoder), strict=True):
        np.testing.assert_array_equal(inferred, own)
