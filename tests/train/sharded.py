"""Trains a small model and prints what came of it: `python sharded.py FOLDER [ADDRESS NUM_PROCESSES PROCESS_ID]`.

Run in processes of their own, whose number of devices is theirs to choose. Goes on from a checkpoint in FOLDER.
"""

import json
import sys
from pathlib import Path

import jax

if len(sys.argv) > 2:
    jax.distributed.initialize(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))

import numpy as np

from owma.config.policy import PolicyConfig
from owma.config.training import TrainingConfig
from owma.config.value import ValueConfig
from owma.config.world import WorldConfig
from owma.diffusion import solvers
from owma.outcomes.features import FeaturesConfig
from owma.outcomes.policy import untrained_policy
from owma.outcomes.transitions import Transitions
from owma.outcomes.whitening import Standardisation
from owma.outcomes.world import Coordinates, untrained_world
from owma.runs import checkpoint
from owma.train.devices import on_one_device
from owma.train.outcome import OutcomeTrainer
from owma.train.rows import OutcomeData
from owma.train.split import split_episodes
from owma.train.value import ValueTrainer

_WORLD = WorldConfig(
    features=FeaturesConfig(kind="identity"), discount=0.9, width=16, depth=1, embed_width=8, solver_steps=3
)
_CONFIG = TrainingConfig(target="td", updates=40, batch_size=64, warmup=10, report_every=10)
_SAVED = 20


def _transitions() -> Transitions:
    rng = np.random.default_rng(0)
    walks = np.cumsum(rng.normal(size=(20, 11, 2)), axis=1).astype(np.float32)
    last = np.tile(np.arange(10) == 9, 20)
    return Transitions(
        obs=walks[:, :-1].reshape(-1, 2),
        action=rng.normal(size=(200, 1)).astype(np.float32),
        reward=np.zeros(200, np.float32),
        next_obs=walks[:, 1:].reshape(-1, 2),
        terminated=np.zeros(200, bool),
        truncated=last,
    )


def main() -> None:
    solvers.MOST_UNROLLED = 0  # as in the tests' own process
    folder, transitions = Path(sys.argv[1]), _transitions()
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
    data, checked = OutcomeData.build(world, transitions, fitted, held_out, horizon=1)
    trainer = OutcomeTrainer(world, policy, data, checked, _CONFIG, _WORLD)
    state = trainer.init(key=jax.random.key(2))
    if checkpoint.latest(folder) is not None:
        state, _ = checkpoint.restore(folder, state)
    losses = []
    for reached, row in trainer.run(state):
        state = reached
        losses.append([row["step"], row["world_loss"], row["policy_loss"]])
        if row["step"] == _SAVED and jax.process_count() == 1:
            checkpoint.save(folder, _SAVED, on_one_device(state), config_fingerprint="")
    trainer.finish(state)
    values = ValueTrainer(data.obs, data.obs, ValueConfig(width=8, depth=1, updates=10, report_every=10))
    ((value_state, row),) = values.run(values.init(key=jax.random.key(3)))
    values.finish(value_state)
    print(json.dumps({"devices": jax.device_count(), "losses": losses, "value_loss": row["value_loss"]}))


if __name__ == "__main__":
    main()
