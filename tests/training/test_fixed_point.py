"""Training by bootstrapping ends in the law of outcomes of a chain for which that law is known."""

import time, sys
import jax
import jax.numpy as jnp
import numpy as np

from owma.features import FeaturesConfig
from owma.policy import PolicyConfig
from owma.training import OutcomeData, OutcomeTrainer, TrainingConfig
from owma.transitions import Transitions
from owma.world import WorldConfig, WorldModel

_DISCOUNT, _RARE = 0.9, 0.2


def _chain(episodes: int, *, seed: int) -> Transitions:
    """A → B → X₁ → X₂ → end, a state being one number.

    A = −6 and B = −8; then the episode is rare (one in five) with X₁ ~ U[2, 4] and X₂ ~ U[5, 7], or common with
    X₁ ~ U[−1, 1] and X₂ ~ U[−4, −2], all independent. The intervals do not touch: a number tells where it stands.
    """
    rng = np.random.default_rng(seed)
    rare = np.arange(episodes) < _RARE * episodes
    # The noise is stratified, so that the data's own law is the true one.
    strata = (2 * np.arange(episodes) + 1) / episodes - 1
    noise = np.stack([rng.permutation(strata), rng.permutation(strata)])
    for route in (rare, ~rare):
        for row in noise:
            row[route] = rng.permutation((2 * np.arange(route.sum()) + 1) / route.sum() - 1)
    first, second = np.where(rare, 3.0, 0.0) + noise[0], np.where(rare, 6.0, -3.0) + noise[1]
    states = np.stack([np.full(episodes, -6.0), np.full(episodes, -8.0), first, second, 0 * first], axis=1)
    last = np.tile(np.arange(4) == 3, episodes)
    return Transitions(
        obs=states[:, :-1].reshape(-1, 1).astype(np.float32),
        action=rng.normal(size=(4 * episodes, 1)).astype(np.float32),
        reward=np.zeros(4 * episodes, np.float32),
        next_obs=states[:, 1:].reshape(-1, 1).astype(np.float32),
        terminated=last,
        truncated=np.zeros_like(last),
    )


def _train(seed: int, updates=3000, bs=8, lr=2e-3, ema=0.99, K=20, batch=256, width=64) -> WorldModel:
    transitions = _chain(1000, seed=seed)
    world_key, policy_key, train_key = jax.random.split(jax.random.key(seed), 3)
    world_config = WorldConfig(
        features=FeaturesConfig(kind="identity"), discount=_DISCOUNT, width=width, depth=2, embed_width=64, solver_steps=K
    )
    world = world_config.build(transitions, key=world_key)
    policy_config = PolicyConfig(width=4, depth=1, embed_width=4)
    policy = policy_config.build(transitions, 1, low=-np.ones(1), high=np.ones(1), key=policy_key)
    data = OutcomeData.build(world, transitions, np.ones(len(transitions), bool), horizon=1)
    config = TrainingConfig(
        target="td", updates=updates, batch_size=batch, learning_rate=lr, ema_decay=ema, bootstrap_steps=bs, report_every=500, warmup=100
    )
    trainer = OutcomeTrainer(world, policy, data, data, config, world_config)
    state = trainer.init(key=train_key)
    for state, row in trainer.run(state):
        pass
    world, _ = trainer.finish(state)
    return world


if __name__ == "__main__":
    kw = eval("dict(" + (sys.argv[1] if len(sys.argv) > 1 else "") + ")")
    for seed in range(3):
        t = time.time()
        world = _train(seed, **kw)
        dt = time.time() - t
        for name, x, g in (("A", -6.0, _DISCOUNT), ("B", -8.0, 1.0)):
            psi = eqx_psi = np.asarray(jax.jit(jax.vmap(lambda k: world.whitening.unwhiten(world.sample(jnp.asarray([x]), key=k))))(jax.random.split(jax.random.key(5), 40000)))[:, 0]
            std, mean = float(world.observation.std[0]), float(world.observation.mean[0])
            steps = 4 if name == "A" else 3
            psi = psi * std + mean * sum(_DISCOUNT**k for k in range(steps))
            base = -8.0 if name == "B" else -6 - 0.9 * 8
            g = g * _DISCOUNT
            rare, common = base + g * (3 + .9 * 6), base + g * (.9 * -3)
            within = g**2 * (1 + .81) / 3
            var = within + .16 * (rare - common) ** 2
            r = psi > (rare + common) / 2
            print(seed, name, f"{dt:.0f}s weight {r.mean():.4f} var/true {psi.var()/var:.3f} mean {psi.mean():.3f} vs {.2*rare+.8*common:.3f} within common {psi[~r].var()/within:.3f} rare {psi[r].var()/within:.3f}", flush=True)
