"""`owma.fit`: train from Python."""

import dataclasses
import warnings
from pathlib import Path

from owma._internal.errors import ConfigError
from owma._internal.progress import ProgressCallback, shown_progress
from owma.api.run import Run
from owma.config.data import MEMORY_GIB
from owma.config.experiment import EvaluationConfig, ExperimentConfig
from owma.config.planners import check_own
from owma.config.policy import PolicyConfig
from owma.config.presets import PRESETS, fit_preset_to_data
from owma.config.task import MinariDataset
from owma.config.training import TrainingConfig
from owma.config.value import ValueConfig
from owma.config.world import WorldConfig
from owma.data.given import DataLike, given_data
from owma.envs.given import EnvLike, given_env
from owma.outcomes.given import TaskLike, read_task
from owma.outcomes.tasks import build_task
from owma.train.experiment import Experiment
from owma.train.inputs import prepare_experiment
from owma.train.run import create_run, find_resumable_run


def fit(
    data: DataLike = None,
    *,
    task: TaskLike = None,
    env: EnvLike | None = None,
    name: str | None = None,
    preset: str | ExperimentConfig = "own",
    seed: int | None = None,
    world: WorldConfig | None = None,
    policy: PolicyConfig | None = None,
    value: ValueConfig | None = None,
    training: TrainingConfig | None = None,
    evaluation: EvaluationConfig | None = None,
    runs: str | Path = "runs",
    memory_gib: float = MEMORY_GIB,
    progress: bool | ProgressCallback = True,
) -> Run:
    """Train a world model, a policy and a value. Runs no episodes: call `run.evaluate(...)` on the returned `Run`.

    ```python
    data = {"observations": obs, "actions": act, "rewards": rew, "terminations": end, "truncations": cut}
    run = owma.fit(data, task=lambda obs, action, next_obs: -abs(next_obs[:, 0]), env=MyEnv, name="mine")
    ```

    The run goes to `runs/name/v<N>`, with the arrays that it was given. A call with the same name, configuration, data
    and rewards as the newest run of that name goes on with it, or returns it if it is trained; any other call makes a
    new version. An interrupt (Ctrl-C, or the stop button of a notebook) keeps what was trained.

    **Arguments:**

    - `data`: a Minari id or dataset, a path, a configuration, `Transitions`, or arrays by name (see
      `owma.data.given.given_data`); by default what the preset has.
    - `task`: a function r(obs, action, next_obs) over arrays, a goal, labels, `"recorded"`, or what
      `owma.outcomes.given.read_task` takes besides; by default the preset's, which of `"own"` is `"recorded"`.
    - `env`: an id, an `EnvSpec`, a `gymnasium.Env`, or a function that makes one, where planners will act; by default
      the one that the data name, if they name one.
    - `name`: of the run; by default the preset's.
    - `preset`: where all settings start: a name as in `python -m owma.train --help`, or a configuration.
    - `seed`, `world`, `policy`, `value`, `training`, `evaluation`: in place of the preset's.
    - `runs`: where run folders go.
    - `memory_gib`: GiB that transitions may take in memory; larger ones are copied to disk and read in batches.
    - `progress`: whether it is shown, or a function `progress(label, done, total, note)` that is told of it.

    **Returns:** the trained `Run`: `run.evaluate(...)` runs planners, `run.agent(planner)` makes an agent to act with,
    `run.tell(task)` fits the values to another task, `run.plot()` draws plots; `owma.load` loads it later.

    **Raises:** `OwmaError` for a mistake in any of these, before anything is trained or a folder is made.
    """
    show = shown_progress(progress)
    told = None if task is None else read_task(task)
    where = None if env is None else given_env(env)
    start = _preset(preset)
    if evaluation is not None:
        check_own(evaluation.named_planners().values())
    own = {"seed": seed, "world": world, "policy": policy, "value": value, "training": training}
    own |= {"evaluation": evaluation, "name": name, "task": None if told is None else told.config}
    chosen = {field: setting for field, setting in own.items() if setting is not None}
    if data is None and start.data == MinariDataset(""):
        raise ConfigError("There are no data yet: give a Minari id, a path or arrays by name, or choose a preset.")
    with given_data(start.data if data is None else data, show, memory_gib=memory_gib) as given:
        config = dataclasses.replace(start, data=given.config, **chosen)
        config, notes = fit_preset_to_data(config, lambda field: field.partition(".")[0] in chosen)
        if isinstance(env, str):
            config = dataclasses.replace(config, evaluation=dataclasses.replace(config.evaluation, env=env))
        built = build_task(config.task) if told is None else told.task
        needs_env = where is not None or config.evaluation.env is not None
        inputs = prepare_experiment(config, show, dataset=given.dataset, task=built, env=where, needs_env=needs_env)
        for note in (*notes, *inputs.dataset.notes, *inputs.notes):
            _warn(note)
        folder = find_resumable_run(Path(runs), config, inputs)
        if folder is None:
            folder = create_run(Path(runs), config, built)
            given.keep(folder.path)
    try:
        parts = Experiment(config, inputs, folder, show, warn=_warn).train()
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(f"The run {folder.path} keeps what was trained: the same call of owma.fit goes on with it.")
        raise
    dataset = inputs.dataset
    known = dataset.obs_keys, inputs.env, dataset.origin, dataset.env_refusal, built, dataset
    return Run(folder, config, parts, *known, trusts_planners=evaluation is not None)


def _preset(preset: str | ExperimentConfig) -> ExperimentConfig:
    if isinstance(preset, ExperimentConfig):
        return preset
    if preset not in PRESETS:
        raise ConfigError(f"There is no preset {preset!r}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[preset][1]


def _warn(sentence: str) -> None:
    warnings.warn(sentence, stacklevel=3)
