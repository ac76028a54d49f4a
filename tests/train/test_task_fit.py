"""Values of a task are fitted to some episodes and tested on others."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma.config.experiment import ExperimentConfig
from owma.config.value import ValueConfig
from owma.outcomes.kernel import KernelValue
from owma.outcomes.pessimism import recorded_outcomes
from owma.outcomes.transitions import Transitions
from owma.runs.parts import skeleton
from owma.train.task import Labels, fit_linear, fit_task, task_row
from owma.train.value import EpisodeBags, ValueTrainer

_CONFIG = ValueConfig(
    num_tasks=4,
    embedding_size=4,
    width=16,
    depth=1,
    dropout=0.0,
    updates=300,
    learning_rate=1e-2,
    batch_size=64,
    report_every=300,
    members=3,
)


def _transitions(lengths) -> Transitions:
    n = sum(lengths)
    ends = np.isin(np.arange(n), np.cumsum(lengths) - 1)
    obs = np.arange(n, dtype=np.float32)[:, None]
    return Transitions(obs, obs, np.zeros(n, np.float32), obs + 1, np.zeros(n, bool), ends)


def test_bags_hold_whole_episodes_and_leave_others_out() -> None:
    transitions = _transitions([3, 5, 2, 4] * 25)
    bags = EpisodeBags.draw(transitions.num_episodes, 6, seed=0)
    ids = transitions.episode_ids
    held = bags.hold(ids)
    for rows, of_member in zip(bags.rows(transitions), held):
        assert len(rows) == len(transitions)
        assert of_member[rows].all()
        # Cut at the dataset's length, a bag of long episodes loses some of its last ones.
        assert np.isin(ids[of_member], ids[rows]).mean() > 0.8
    # An episode is in none of 100 draws with probability (1 − 1/100)¹⁰⁰ = 0.366.
    assert 1 - bags.hold(np.arange(100)).mean() == pytest.approx(0.366, abs=0.06)


def test_a_linear_value_that_knows_episodes_by_heart_explains_nothing_of_others() -> None:
    rng = np.random.default_rng(0)
    episodes = np.repeat(np.arange(40), 10)
    returns = rng.normal(size=40)[episodes]
    by_heart = Labels(np.eye(40)[episodes], returns, episodes)
    value, unexplained = fit_linear(by_heart, ValueConfig(ridge=1e-6))
    predictions = np.asarray(jax.vmap(value)(jnp.asarray(by_heart.psi, jnp.float32)))
    np.testing.assert_allclose(predictions, returns, atol=0.02)
    assert unexplained > 0.9
    # What holds in all episodes is explained: ten pseudo-labels of 400 are not.
    told = Labels(returns[:, None], 3 * returns + 1, episodes)
    assert fit_linear(told, ValueConfig(ridge=1e-6))[1] == pytest.approx(10 / 410, rel=0.01)


def test_decoders_are_trained_on_rows_of_their_own(getkey) -> None:
    psi = jax.random.normal(getkey(), (200, 2)).at[0].set(jnp.nan)
    returns = jnp.sin(psi @ jax.random.normal(getkey(), (2, 4)))
    rows = jnp.stack([jnp.arange(200) % 100 + 1, jnp.arange(200) % 99 + 101, jnp.arange(200) % 199 + 1])
    trainer = ValueTrainer(psi, returns, _CONFIG, rows)
    ((state, row),) = trainer.run(trainer.init(key=getkey()))
    assert np.isfinite(row["value_loss"])  # nobody has seen row 0
    embeddings = trainer.finish(state).embeddings
    assert embeddings.shape == (3, 4, 4)
    assert float(jnp.abs(embeddings[0] - embeddings[1]).max()) > 1e-3


@pytest.mark.parametrize("is_linear", [True, False])
def test_the_bound_trusts_what_explains_episodes_that_were_not_fitted(is_linear: bool, getkey) -> None:
    """Returns that are linear in ψ, or that only the family's decoders know, and no kernel beside them."""
    num_episodes, config = 60, dataclasses.replace(_CONFIG, kernels=0)
    episodes = np.repeat(np.arange(num_episodes), 10)
    psi = jax.random.normal(getkey(), (600, 2))
    family = jnp.cos(psi @ jnp.asarray([[1.5, 0.0, 1.0, -1.0], [0.0, 1.5, 1.0, 1.0]]))
    family = (family - family.mean(0, keepdims=True)) / family.std(0, keepdims=True)
    bags = EpisodeBags.draw(num_episodes, 3, seed=1)
    rows = bags.rows(_transitions([10] * num_episodes))
    trainer = ValueTrainer(psi, family, config, jnp.asarray(rows))
    ((state, _),) = trainer.run(trainer.init(key=getkey()))
    returns = np.asarray(5 + psi @ jnp.asarray([2.0, -1.0]) if is_linear else 5 + 2 * family[:, 0], np.float64)
    labels = Labels(np.asarray(psi), returns, episodes)
    prior = jax.random.normal(getkey(), (8, 16, 2))
    fit = fit_task(trainer.finish(state), labels, prior, bags, config, decoder_labels=np.arange(600), key=getkey())
    row = task_row(fit, labels)
    worst = max(row["r2_linear"], 0.0) if not is_linear else max(row["r2_decoder"], 0.0)
    best = row["r2_linear"] if is_linear else row["r2_decoder"]
    assert best > worst + 0.1
    assert (row["weight_regression"] > 0.75) if is_linear else (row["weight_regression"] < 0.25)
    assert row["r2_pessimistic"] > worst + 0.05
    assert row["value_scale_pessimistic"] > 0


def test_a_kernel_is_fitted_trusted_and_read_again_where_it_is_asked_for(getkey) -> None:
    config = dataclasses.replace(_CONFIG, kernels=16, updates=10, report_every=10)
    episodes, psi = np.repeat(np.arange(60), 10), jax.random.normal(getkey(), (600, 2))
    returns = np.asarray(psi[:, 0] + 10 * jnp.exp(-2 * jnp.sum(jnp.square(psi - jnp.asarray([[2.0, 0.0]])), axis=1)))
    bags = EpisodeBags.draw(60, 3, seed=1)
    family = jnp.stack([psi[:, 0], psi[:, 1], psi[:, 0] ** 2, psi[:, 1] ** 2], axis=1)
    trainer = ValueTrainer(psi, family, config, jnp.asarray(bags.rows(_transitions([10] * 60))))
    ((state, _),) = trainer.run(trainer.init(key=getkey()))
    labels = Labels(np.asarray(psi), returns, episodes)
    prior = jax.random.normal(getkey(), (8, 16, 2))
    fits = [
        fit_task(trainer.finish(state), labels, prior, bags, of, decoder_labels=np.arange(600), key=jax.random.key(0))
        for of in (config, dataclasses.replace(config, kernels=0))
    ]
    with_kernel, without = (fit.bound for fit in fits)
    assert with_kernel is not None and without is not None
    assert isinstance(with_kernel.linear, KernelValue) and with_kernel.names[0] == "kernel"
    kept = recorded_outcomes(with_kernel)
    assert kept is not None and kept.shape == (16, 2)
    assert without.linear is fits[1].linear and recorded_outcomes(without) is None
    r2 = [task_row(fit, labels)["r2_held_out_regression"] for fit in fits]
    assert r2[0] > r2[1] + 0.05
    # What a checkpoint is read into has the same form.
    model = skeleton(ExperimentConfig(value=config), 3, 1, 2)
    parts = fits[0].parts(model.world, model.policy)
    assert jax.tree.map(jnp.shape, eqx.filter(parts.kernel, eqx.is_array)) == jax.tree.map(
        jnp.shape, eqx.filter(model.kernel, eqx.is_array)
    )
    assert jax.tree.structure(parts.kernel) == jax.tree.structure(model.kernel)
