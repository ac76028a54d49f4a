"""Training of the outcome model: its targets are the Bellman image, its updates what they say, its runs resumable."""

import dataclasses
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from owma._internal.errors import ConfigError
from owma.config.policy import PolicyConfig
from owma.config.training import TrainingConfig
from owma.config.world import WorldConfig
from owma.diffusion import AbstractDenoiser, Chain, FiLMDenoiser
from owma.outcomes.features import FeaturesConfig
from owma.outcomes.policy import untrained_policy
from owma.outcomes.testbeds import GaussianDenoiser
from owma.outcomes.transitions import Transitions
from owma.outcomes.whitening import Standardisation
from owma.outcomes.world import Coordinates, calibrated_chain, untrained_world, whitened_outcomes
from owma.runs import checkpoint
from owma.train.outcome import OutcomeTrainer
from owma.train.rows import OutcomeData, OutcomeRows, RowForm
from owma.train.split import split_episodes

_WORLD = WorldConfig(
    features=FeaturesConfig(kind="identity"), discount=0.9, width=16, depth=1, embed_width=8, solver_steps=5
)
_CONFIG = TrainingConfig(target="td", updates=40, batch_size=16, warmup=10, report_every=20)


def _transitions(*, episodes: int = 12, length: int = 6) -> Transitions:
    rng = np.random.default_rng(0)
    walks = np.cumsum(rng.normal(size=(episodes, length + 1, 2)), axis=1).astype(np.float32)
    last = np.tile(np.arange(length) == length - 1, episodes)
    terminated = last & np.repeat(np.arange(episodes) % 2 == 0, length)
    return Transitions(
        obs=walks[:, :-1].reshape(-1, 2),
        action=rng.normal(size=(episodes * length, 1)).astype(np.float32),
        reward=np.zeros(episodes * length, np.float32),
        next_obs=walks[:, 1:].reshape(-1, 2),
        terminated=terminated,
        truncated=last & ~terminated,
    )


def _trainer(config: TrainingConfig = _CONFIG) -> OutcomeTrainer:
    transitions = _transitions()
    world = untrained_world(
        _WORLD, Coordinates.fit(_WORLD, transitions, key=jax.random.key(0))[0], key=jax.random.key(0)
    )
    policy = untrained_policy(
        PolicyConfig(width=8, depth=1, embed_width=8),
        world.observation,
        Standardisation.fit(transitions.action),
        2,
        low=-np.ones(1),
        high=np.ones(1),
        key=jax.random.key(1),
    )
    fitted, held_out = split_episodes(transitions, 0.2, seed=0)
    absorbing = config.after_truncation == "stay"
    data, checked = OutcomeData.build(world, transitions, fitted, held_out, horizon=config.horizon, absorbing=absorbing)
    return OutcomeTrainer(world, policy, data, checked, config, _WORLD)


def test_data_of_one_step_targets() -> None:
    transitions = _transitions()
    world = untrained_world(
        _WORLD, Coordinates.fit(_WORLD, transitions, key=jax.random.key(0))[0], key=jax.random.key(0)
    )
    mask = np.arange(len(transitions)) % 3 == 0
    (data,) = OutcomeData.build(world, transitions, mask, horizon=1)
    np.testing.assert_array_equal(data.obs, transitions.obs[mask])
    np.testing.assert_array_equal(data.bootstrap_obs, transitions.next_obs[mask])
    np.testing.assert_array_equal(data.terminal, transitions.terminated[mask])
    # A termination is one step further: the state that it leads to counts.
    ended = np.asarray(data.terminal)
    np.testing.assert_allclose(data.discount, np.where(ended, 0.81, 0.9), rtol=1e-6)
    here, after = (np.asarray(jax.vmap(lambda s: world.cumulant(s))(s)) for s in (data.obs, data.bootstrap_obs))
    np.testing.assert_allclose(data.sums, here + 0.9 * ended[:, None] * after, atol=1e-5)


def test_the_target_names_its_horizon() -> None:
    horizons = [TrainingConfig(target=t, n_step=7).horizon for t in ("td", "n_step", "monte_carlo")]
    assert horizons == [1, 7, None]


class _Route(AbstractDenoiser):
    """N(±3, S) by the sign of the context's first coordinate, exactly: a bootstrap of two components."""

    variance: jax.Array

    def condition(self, ratio, context):
        mean = jnp.where(context[0] > 0, 3.0, -3.0) * jnp.ones_like(self.variance)
        return mean, self.variance / (self.variance + jnp.square(ratio))

    def __call__(self, y, ratio, conditioning):
        mean, gain = conditioning
        return mean + gain * (y - mean)


def _rows(sums: jax.Array, obs: jax.Array, terminal: jax.Array, discount: float) -> OutcomeData:
    n = len(sums)
    return OutcomeData(obs, jnp.zeros((n, 1)), sums, jnp.full(n, discount), obs, terminal)


def _first(data: OutcomeData | OutcomeRows | RowForm, num: int) -> OutcomeData:
    """The first rows, over and over where there are fewer."""
    assert isinstance(data, OutcomeData)
    return data.rows(jnp.arange(num) % len(data))


def test_targets_are_the_bellman_image_of_the_bootstrap(getkey) -> None:
    # γ = 0.8, the recorded cumulant is N(1, 0.3), 20 % of rows go on in the rare component N(3, 0.5), the others in
    # N(−3, 0.5): components N(1 ± 2.4, 0.3 + 0.64·0.5 = 0.62) with weights 0.2 and 0.8, and in all the mean
    # 1 − 0.6·2.4 = −0.44 and the variance 0.62 + 0.16·4.8² = 4.3064.
    trainer, n = _trainer(), 40_000
    rare = jnp.arange(n) < n // 5
    obs = jnp.stack([jnp.where(rare, 50.0, -50.0), jnp.zeros(n)], axis=1)
    sums = 1.0 + jnp.sqrt(0.3) * jax.random.normal(getkey(), (n, 2))
    bootstrap = _Route(jnp.full(2, 0.5))
    chain = Chain.calibrated(GaussianDenoiser(jnp.zeros(2), bootstrap.variance).errors(), num_steps=4, min_ratio=0.05)
    batch = _rows(sums, obs, jnp.zeros(n, bool), 0.8)
    psi = np.asarray(eqx.filter_jit(lambda: trainer.targets(bootstrap, chain, batch, key=getkey()))())
    is_rare = psi[:, 0] > 1.0  # three standard deviations from either component
    assert is_rare.mean() == pytest.approx(0.2, abs=0.003)
    for route, mean, size in ((rare, 3.4, 8_000), (~rare, -1.4, 32_000)):
        part = psi[np.asarray(route)]
        np.testing.assert_allclose(part.mean(axis=0), mean, atol=4 * np.sqrt(0.62 / size) + 1e-3)
        np.testing.assert_allclose(part.var(axis=0), 0.62, rtol=4 * np.sqrt(2 / size))
    # The component weights are exact, so that what is left is the noise within them.
    np.testing.assert_allclose(psi.mean(axis=0), -0.44, atol=0.02)
    np.testing.assert_allclose(psi.var(axis=0), 4.3064, rtol=0.01)


def test_outcomes_that_stay_are_those_that_values_are_fitted_to(getkey) -> None:
    transitions = _transitions()
    trainer = _trainer(dataclasses.replace(_CONFIG, target="monte_carlo", after_truncation="stay"))
    fitted, _ = split_episodes(transitions, 0.2, seed=0)
    untrained, chain = trainer.world.denoiser, trainer.world.chain
    psi = trainer.targets(untrained, chain, _first(trainer.data, len(trainer.data)), key=getkey())
    np.testing.assert_allclose(psi, whitened_outcomes(trainer.world, transitions)[fitted], atol=1e-4)
    # A bootstrap is another draw each time.
    bootstrapped = _trainer(dataclasses.replace(_CONFIG, target="monte_carlo"))
    rows = _first(bootstrapped.data, len(bootstrapped.data))
    cut = ~np.asarray(rows.terminal)
    first, second = (np.asarray(bootstrapped.targets(untrained, chain, rows, key=getkey())) for _ in range(2))
    assert np.all(first[cut] != second[cut]) and np.array_equal(first[~cut], second[~cut])


def test_the_fixed_point_of_the_targets(getkey) -> None:
    # Cumulants N(1, 0.19) for ever at γ = 0.9: ψ ~ N(1/(1 − γ), 0.19/(1 − γ²)) = N(10, 1) maps to itself.
    trainer, n = _trainer(), 40_000
    fixed = GaussianDenoiser(jnp.full(2, 10.0), jnp.ones(2))
    chain = Chain.calibrated(fixed.errors(), num_steps=4, min_ratio=0.05)
    sums = 1.0 + jnp.sqrt(0.19) * jax.random.normal(getkey(), (n, 2))
    batch = _rows(sums, jnp.zeros((n, 2)), jnp.zeros(n, bool), 0.9)
    psi = np.asarray(eqx.filter_jit(lambda: trainer.targets(fixed, chain, batch, key=getkey()))())
    np.testing.assert_allclose(psi.mean(axis=0), 10.0, atol=0.025)
    np.testing.assert_allclose(psi.var(axis=0), 1.0, rtol=4 * np.sqrt(2 / n))


def test_the_fixed_point_of_the_targets_where_episodes_terminate(getkey) -> None:
    # Every step of the chain from state 0 terminates with probability 0.2, in the state whose cumulant is that of
    # (4, 0), or goes to the state for which cumulants N(1, 0.19) for ever at γ = 0.9 make N(10, 1). Its outcome has two
    # components, c + γ c(terminal) and N(c + γ 10, γ²), of weights 0.2 and 0.8.
    trainer, n = _trainer(), 20_000
    world = trainer.world
    ended = np.arange(n) < n // 5
    transitions = Transitions(
        obs=np.zeros((n, 2), np.float32),
        action=np.zeros((n, 1), np.float32),
        reward=np.zeros(n, np.float32),
        next_obs=np.where(ended[:, None], [4.0, 0.0], [0.0, 0.0]).astype(np.float32),
        terminated=ended,
        truncated=~ended,
    )
    goes_on = GaussianDenoiser(jnp.full(2, 10.0), jnp.ones(2))
    chain = Chain.calibrated(goes_on.errors(), num_steps=4, min_ratio=0.05)
    (rows,) = OutcomeData.build(world, transitions, np.ones(n, bool), horizon=1)
    psi = np.asarray(eqx.filter_jit(lambda: trainer.targets(goes_on, chain, rows, key=getkey()))())
    here = np.asarray(world.cumulant(jnp.zeros(2)))
    terminal = np.asarray(world.whitening.whiten(world.raw_cumulant(jnp.asarray([4.0, 0.0]))))
    np.testing.assert_allclose(psi[ended], np.tile(here + 0.9 * terminal, (n // 5, 1)), atol=1e-4)
    apart = here + 9.0 - (here + 0.9 * terminal)
    np.testing.assert_allclose(psi.mean(axis=0), here + 0.2 * 0.9 * terminal + 0.8 * 9.0, atol=0.03)
    # Of the mixture: what varies within the second component, and between the two.
    np.testing.assert_allclose(psi.var(axis=0), 0.8 * 0.81 + 0.16 * apart**2, rtol=0.05)


def test_terminal_targets_do_not_bootstrap(getkey) -> None:
    trainer = _trainer()
    sums = jax.random.normal(getkey(), (5, 2))
    bootstrap = GaussianDenoiser(jnp.full(2, 1e6), jnp.ones(2))
    chain = Chain.calibrated(bootstrap.errors(), num_steps=4, min_ratio=0.05)
    psi = trainer.targets(bootstrap, chain, _rows(sums, sums, jnp.ones(5, bool), 0.9), key=getkey())
    np.testing.assert_allclose(psi, sums + 0.9 * trainer.world.terminal_outcome[None], rtol=1e-5, atol=1e-6)


def test_the_held_out_loss_is_that_of_training(getkey) -> None:
    trainer = _trainer()
    state = trainer.init(key=getkey())
    # Where nothing is known but N(0, 1), v has the variance 1 at every level; between the curve's levels about that.
    assert float(trainer.held_out_loss(state)) == pytest.approx(1.0, abs=5e-3)
    # A model that errs: after some updates, on so many rows that both are means to a few hundredths.
    *_, (state, row) = trainer.run(state)
    rows = _first(trainer.held_out, 8192)
    terminal = eqx.tree_at(lambda r: r.terminal, rows, jnp.ones(8192, bool))
    state = eqx.filter_jit(trainer.recalibrated)(state, terminal)
    psi = terminal.sums + jnp.outer(terminal.discount, trainer.world.terminal_outcome)
    _, (loss, _) = eqx.filter_jit(trainer.loss)(state.averages, terminal, psi, key=getkey())
    assert float(trainer.held_out_loss(state)) == pytest.approx(float(loss), rel=0.05)
    assert 0 < row["world_held_out_loss"] < 2


class _Told(FiLMDenoiser):
    """What it predicts is its context."""

    def __init__(self) -> None:
        super().__init__(2, 2, width=1, depth=1, embed_width=1, key=jax.random.key(0))

    def condition(self, ratio, context):
        return context

    def velocity(self, y, ratio, conditioning):
        return conditioning


def test_noise_on_states_is_that_of_what_the_world_is_told(getkey) -> None:
    trainer, key = _trainer(), getkey()
    acts = trainer.policy.denoiser
    assert isinstance(acts, FiLMDenoiser)
    rows = _first(trainer.data, 20_000)
    noisy = dataclasses.replace(trainer, config=dataclasses.replace(_CONFIG, obs_noise=0.5))

    def losses(trainer: OutcomeTrainer) -> tuple[float, float]:
        _, (world, policy) = trainer.loss((_Told(), acts), rows, rows.sums, key=key)
        return float(world), float(policy)

    # A prediction with an error of variance 0.25 more, the policy's as it was.
    assert losses(noisy)[0] == pytest.approx(losses(trainer)[0] + 0.25, abs=0.02)
    assert losses(noisy)[1] == losses(trainer)[1]
    with pytest.raises(ConfigError, match="obs_noise"):
        TrainingConfig(obs_noise=-0.1)


def test_learning_rate_warms_up_and_falls_to_zero() -> None:
    trainer = _trainer(dataclasses.replace(_CONFIG, updates=100, warmup=10, learning_rate=2e-3))

    def rate(step: int) -> float:
        return float(trainer.learning_rate(jnp.asarray(step)))

    assert rate(0) == pytest.approx(2e-4)
    # (4 + 1)/10 of the peak, times the cosine at 4 %.
    assert rate(4) == pytest.approx(1e-3 * 0.5 * (1 + np.cos(0.04 * np.pi)))
    assert rate(50) == pytest.approx(1e-3)
    assert rate(100) == pytest.approx(0.0, abs=1e-9)


def test_gradients_are_scaled_down_only_above_the_norm() -> None:
    def first_moment(max_grad_norm: float) -> np.ndarray:
        """Adam's first moment after one update is 0.1 of the gradient that it was given."""
        trainer = _trainer(dataclasses.replace(_CONFIG, max_grad_norm=max_grad_norm))
        state = trainer.init(key=jax.random.key(3))
        state, _ = eqx.filter_jit(trainer.update)(state, trainer._bootstrap_chain(state.errors))
        return 10 * np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state.opt_state.mu)])

    gradient = first_moment(1e6)
    norm = float(np.linalg.norm(gradient))
    np.testing.assert_allclose(first_moment(1.5 * norm), gradient, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(first_moment(0.5 * norm), 0.5 * gradient, rtol=1e-4, atol=1e-7)


def test_an_update_moves_the_average_by_its_decay() -> None:
    trainer = _trainer()
    state = trainer.init(key=jax.random.key(3))
    after, _ = eqx.filter_jit(trainer.update)(state, trainer._bootstrap_chain(state.errors))
    assert int(after.step) == 1
    # The decay of the first update is 1/10: the average goes nine tenths of the way.
    trees = (state.averages, after.denoisers, after.averages)
    for old, new, average in zip(*(jax.tree.leaves(eqx.filter(t, eqx.is_array)) for t in trees), strict=True):
        np.testing.assert_allclose(average, old + 0.9 * (new - old), rtol=1e-4, atol=1e-6)


def test_updates_in_one_scan_are_updates_one_by_one() -> None:
    trainer = _trainer()
    start = trainer.init(key=jax.random.key(3))
    scanned, losses = eqx.filter_jit(trainer.updates)(start, 3)
    update, chain, state = eqx.filter_jit(trainer.update), trainer._bootstrap_chain(start.errors), start
    expected = []
    for _ in range(3):
        state, row = update(state, chain)
        expected.append(row)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for left, right in zip(_leaves(scanned), _leaves(state), strict=True):
        # The two programs round differently.
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)


def test_recalibration_changes_the_errors_and_the_key_alone() -> None:
    trainer = _trainer()
    state = trainer.init(key=jax.random.key(3))
    after = eqx.filter_jit(trainer.recalibrated)(state)
    parts = ("denoisers", "averages", "opt_state", "step")
    for left, right in zip(*(_leaves([getattr(s, part) for part in parts]) for s in (state, after)), strict=True):
        np.testing.assert_array_equal(left, right)
    assert not np.array_equal(jax.random.key_data(state.key), jax.random.key_data(after.key))
    # The untrained network knows N(0, 1), whose errors at the coarsest level are the variance: one, here about one.
    assert float(jnp.mean(after.errors.log_errors[-1])) == pytest.approx(0.0, abs=1.0)
    assert not np.array_equal(state.errors.log_errors, after.errors.log_errors)


def _leaves(state) -> list[np.ndarray]:
    arrays = jax.tree.leaves(eqx.filter(state, eqx.is_array))
    is_key = [jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in arrays]
    return [np.asarray(jax.random.key_data(x) if k else x) for x, k in zip(arrays, is_key, strict=True)]


def test_a_resumed_run_equals_one_without_interruption(tmp_path: Path) -> None:
    straight = _trainer()
    states = [state for state, _ in straight.run(straight.init(key=jax.random.key(4)))]
    assert [int(s.step) for s in states] == [20, 40]

    first = _trainer()
    state, _ = next(first.run(first.init(key=jax.random.key(4))))
    checkpoint.save(tmp_path, int(state.step), state, config_fingerprint="x")
    second = _trainer()
    state, step = checkpoint.restore(tmp_path, second.init(key=jax.random.key(99)), config_fingerprint="x")
    assert step == 20
    (resumed,) = [s for s, _ in second.run(state)]
    for left, right in zip(_leaves(resumed), _leaves(states[-1]), strict=True):
        assert left.dtype == right.dtype and left.tobytes() == right.tobytes()


def test_a_run_that_diverges_says_so() -> None:
    trainer = _trainer()
    assert isinstance(trainer.data, OutcomeData)
    trainer = eqx.tree_at(lambda t: t.data.sums, trainer, jnp.full_like(trainer.data.sums, jnp.nan))
    with pytest.raises(ConfigError, match="diverged before update 20.*--training.learning-rate"):
        list(trainer.run(trainer.init(key=jax.random.key(0))))


def test_finished_models_are_the_averages_and_calibrated() -> None:
    trainer = _trainer()
    (*_, (state, _)) = trainer.run(trainer.init(key=jax.random.key(5)))
    world, policy = trainer.finish(state)
    for denoiser, average in ((world.denoiser, state.averages[0]), (policy.denoiser, state.averages[1])):
        for left, right in zip(jax.tree.leaves(denoiser), jax.tree.leaves(average), strict=True):
            np.testing.assert_array_equal(left, right)
    np.testing.assert_allclose(
        world.chain.width, calibrated_chain(_WORLD, state.errors, (world.chain.low, world.chain.high)).width, rtol=1e-6
    )


@pytest.mark.parametrize(
    "change", [{"updates": 0}, {"batch_size": 0}, {"n_step": 0}, {"held_out": 1.0}, {"held_out": 0.0}]
)
def test_configurations_out_of_range(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        dataclasses.replace(TrainingConfig(), **change)
