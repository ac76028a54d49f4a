"""Learned cumulants on worlds in which it is known what they should be."""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma._internal.errors import ConfigError
from owma.outcomes.features import FeaturesConfig, FeatureTrainingConfig
from owma.outcomes.transitions import Transitions
from owma.train.features import DynamicsObjective, FeatureState, FeatureTrainer, HilbertObjective

LENGTH = 20  # Cells of the line.


def _episodes(states: np.ndarray, actions: np.ndarray) -> Transitions:
    """`states` (episodes, steps + 1, d) and `actions` (episodes, steps, a), all cut off at the end."""
    episodes, steps = actions.shape[:2]
    n = episodes * steps
    flat = np.zeros(n, np.float32)
    last = np.tile(np.arange(steps) == steps - 1, episodes)
    return Transitions(
        states[:, :-1].reshape(n, -1).astype(np.float32),
        actions.reshape(n, -1).astype(np.float32),
        flat,
        states[:, 1:].reshape(n, -1).astype(np.float32),
        flat.astype(bool),
        last,
    )


def _line(episodes: int = 200, steps: int = 50) -> Transitions:
    """A walk on a line that stays where it is when it meets an end: its states are uniformly distributed."""
    rng = np.random.default_rng(0)
    moves = rng.choice([-1, 1], (episodes, steps))
    states = [rng.integers(0, LENGTH, episodes)]
    for move in moves.T:
        states.append(np.clip(states[-1] + move, 0, LENGTH - 1))
    return _episodes(np.stack(states, axis=1)[..., None].astype(float), moves[..., None])


def _train(transitions: Transitions, config: FeaturesConfig) -> tuple[FeatureTrainer, FeatureState, list[float]]:
    trainer = FeatureTrainer.build(transitions, config)
    state, losses = trainer.init(key=jax.random.key(0)), []
    for reached, row in trainer.run(state):
        state = reached
        losses.append(row["features_loss"])
    return trainer, state, losses


def _config(kind, num_features: int, updates: int, **training) -> FeaturesConfig:
    pretraining = FeatureTrainingConfig(updates=updates, batch_size=256, report_every=updates // 4, **training)
    return FeaturesConfig(kind=kind, num_features=num_features, width=64, pretraining=pretraining)


def _cells(trainer: FeatureTrainer) -> jax.Array:
    """The cells of the line as the trainer sees them, in order."""
    cells = np.unique(np.asarray(trainer.obs))
    assert len(cells) == LENGTH
    return jnp.asarray(cells)[:, None]


def test_laplacian_features_span_the_smoothest_functions_of_a_line() -> None:
    trainer, state, _ = _train(_line(), _config("laplacian", 3, 2000))
    features = np.asarray(jax.vmap(lambda s: state.average.features(s))(_cells(trainer)))
    # Eigenfunctions of the walk that is reflected at its ends: cos(π k (x + 1/2) / L) for k = 0, 1, 2, ...
    angle = np.pi * (np.arange(LENGTH) + 0.5) / LENGTH
    unit, _ = np.linalg.qr(features)
    for k in range(3):
        wave = np.cos(k * angle)
        wave /= np.linalg.norm(wave)
        assert np.linalg.norm(unit.T @ wave) ** 2 > 0.9, k  # what of it lies in the span of the features
    np.testing.assert_allclose(features.T @ features / LENGTH, np.eye(3), atol=0.2)


def test_hilbert_distances_are_steps_along_a_corridor() -> None:
    trainer, state, _ = _train(_line(), _config("hilbert", 8, 3000, discount=0.95))
    objective, cells = state.average, _cells(trainer)
    assert isinstance(objective, HilbertObjective)
    distances = -np.asarray(jax.vmap(lambda s: jax.vmap(lambda g: objective.value(s, g))(cells))(cells))
    for start in (0, 5, 10, 19):
        steps = np.abs(np.arange(LENGTH) - start)
        order = np.corrcoef(np.argsort(np.argsort(distances[start])), np.argsort(np.argsort(steps)))[0, 1]
        assert order > 0.95
    # The shortest way from end to end has 19 steps: (1 − γ¹⁹)/(1 − γ) = 12.5 at γ = 0.95.
    assert distances[0, -1] == pytest.approx(12.5, rel=0.3)


def _spiral(episodes: int = 100, steps: int = 40) -> Transitions:
    """s' = 0.9 R s + 0.3 a, with R a turn by 0.3 and a third coordinate of the state that is noise."""
    rng = np.random.default_rng(1)
    turn = 0.9 * np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    actions = rng.normal(size=(episodes, steps, 2))
    states = [rng.normal(size=(episodes, 2))]
    for t in range(steps):
        states.append(states[-1] @ turn.T + 0.3 * actions[:, t])
    noise = rng.normal(size=(episodes, steps + 1, 1))
    return _episodes(np.concatenate([np.stack(states, axis=1), noise], axis=2), actions)


def test_dynamics_features_predict_what_follows() -> None:
    trainer, state, losses = _train(_spiral(), _config("dynamics", 4, 2000))
    objective = state.average
    assert isinstance(objective, DynamicsObjective)
    # Of three standardised coordinates two can be foretold: the noise costs its variance, 1.
    assert losses[-1] == pytest.approx(1.0, abs=0.1)
    here, after = (
        np.asarray(jax.vmap(lambda s: objective.features(s))(x[:2000])) for x in (trainer.obs, trainer.next_obs)
    )
    # What the noise coordinate moves in them is little beside what the rest does.
    quiet = np.asarray(jax.vmap(lambda s: objective.features(s.at[2].set(0.0)))(trainer.obs[:2000]))
    assert np.square(here - quiet).sum() < 0.2 * np.square(here - here.mean(axis=0)).sum()
    design = np.column_stack([here, np.square(here), trainer.action[:2000], np.ones(2000)])
    weights = np.linalg.lstsq(design, after, rcond=None)[0]
    assert np.mean(np.var(after - design @ weights, axis=0) / np.var(after, axis=0)) < 0.25


@pytest.mark.parametrize("kind", ["laplacian", "dynamics", "hilbert"])
def test_training_that_stopped_goes_on_bit_for_bit(kind) -> None:
    config = _config(kind, 4, 8)
    trainer, whole, losses = _train(_line(4, 10), config)
    state = trainer.init(key=jax.random.key(0))
    stopped, _ = next(trainer.run(state))
    again, rest = stopped, []
    for reached, row in trainer.run(stopped):
        again = reached
        rest.append(row["features_loss"])
    assert int(stopped.step) == 2 and rest == losses[1:]
    assert eqx.tree_equal(again, whole)


def test_goals_come_later_in_the_same_episode(getkey: Callable) -> None:
    # The state says which episode and which step it is: 10 episodes of 7 steps.
    number = np.tile(np.arange(8.0), (10, 1))
    states = np.stack([number, np.tile(np.arange(10.0)[:, None], (1, 8))], axis=2)
    trainer = FeatureTrainer.build(_episodes(states, np.zeros((10, 7, 1))), _config("hilbert", 4, 4, discount=0.5))
    batch = trainer.batch(key=getkey())
    np.testing.assert_array_equal(batch.goal[:, 1], batch.obs[:, 1])
    ahead = np.asarray(batch.goal[:, 0] - batch.next_obs[:, 0])
    assert ahead.min() == 0 and ahead.max() > 0
    # Half of all goals are the next state itself; those of last steps always are. Standard error 0.007.
    batches = [trainer.batch(key=getkey()) for _ in range(20)]
    next_ones = [np.asarray(batch.goal == batch.next_obs).all(axis=1) for batch in batches]
    assert np.mean(next_ones) == pytest.approx(0.5 + 0.5 / 7, abs=0.03)
    assert not np.array_equal(batch.other[:, 1], batch.obs[:, 1])
    np.testing.assert_array_equal(batch.ahead, batch.next_obs)
    # Of three steps: as many as there are, and in the rows whose goal is that state, not beyond it.
    pretraining = dataclasses.replace(trainer.config.pretraining, n_step=3)
    trainer = dataclasses.replace(trainer, config=dataclasses.replace(trainer.config, pretraining=pretraining))
    batch = trainer.batch(key=getkey())
    here, ahead, goal = (np.asarray(its)[:, 0] for its in (batch.obs, batch.ahead, batch.goal))
    scale = float(ahead[np.asarray(batch.steps) == 1][0] - here[np.asarray(batch.steps) == 1][0])
    np.testing.assert_allclose(ahead - here, scale * np.asarray(batch.steps), rtol=1e-4)
    leads = np.arange(len(here)) % 8 < 5
    assert (ahead <= goal + 1e-5)[leads].all() and (ahead > goal + 1e-5)[~leads].any()
    assert set(np.asarray(batch.steps).tolist()) == {1, 2, 3}


@pytest.mark.parametrize("n_step", [1, 3])
def test_the_expectile_weighs_shortcuts(n_step: int) -> None:
    """ℓ_τ by hand: errors of +2 and −2 cost 0.95·4 and 0.05·4 at τ = 0.95; k steps at 0.99 cost (1 − 0.99ᵏ)/0.01."""
    pretraining = FeatureTrainingConfig(n_step=n_step)
    config = FeaturesConfig(kind="hilbert", num_features=2, width=4, depth=1, pretraining=pretraining)
    trainer = FeatureTrainer.build(_line(2, 5), config)
    objective = trainer.init(key=jax.random.key(0)).objective
    assert isinstance(objective, HilbertObjective)
    batch = trainer.batch(key=jax.random.key(1))
    value = jax.vmap(lambda s, g: objective.value(s, g))
    goal = jnp.where((jnp.arange(len(batch.obs)) % 8 < 5)[:, None], batch.goal, batch.other)
    discount = 0.99 ** np.asarray(batch.steps)
    error = np.asarray(-(1 - discount) / 0.01 + discount * value(batch.ahead, goal) - value(batch.obs, goal))
    by_hand = np.mean(np.where(error < 0, 0.05, 0.95) * error**2)
    assert float(objective.loss(objective, batch)) == pytest.approx(by_hand, rel=1e-4)
    assert value(batch.obs, batch.obs) == pytest.approx(0.0, abs=2e-3)


def test_divergence_is_reported() -> None:
    with pytest.raises(ConfigError, match="hilbert features diverged"):
        _train(_line(2, 5), _config("hilbert", 2, 40, learning_rate=1e30))


def test_cumulants_that_are_not_learned_are_refused() -> None:
    trainer = FeatureTrainer.build(_line(2, 5), FeaturesConfig(kind="fourier"))
    with pytest.raises(ValueError, match="`fourier` cumulants are not learned"):
        trainer.init(key=jax.random.key(0))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"updates": 0}, "updates=0"),
        ({"discount": 1.0}, "discount=1.0"),
        ({"expectile": 0.4}, "expectile=0.4"),
        ({"n_step": 0}, "n_step=0"),
    ],
)
def test_configurations_out_of_range(wrong: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FeatureTrainingConfig(**wrong)
