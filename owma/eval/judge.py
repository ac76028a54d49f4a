"""By whose rewards episodes are judged: a task's, or the environment's."""

import dataclasses
from collections.abc import Callable, Collection
from pathlib import Path

from gymnasium.envs.registration import EnvSpec

from owma.config.experiment import imported_modules
from owma.config.task import LabelledTaskConfig, RecordedTaskConfig, RewardTaskConfig, TaskConfig, is_of_session
from owma.envs import pays
from owma.outcomes.tasks import AbstractRewardTask, build_task


@dataclasses.dataclass(frozen=True)
class Judge:
    """By whose rewards episodes are judged."""

    task: AbstractRewardTask | None = None
    """Its rewards add up to an episode's return, and it says what success is; `None` leaves both to the environment."""
    promised: AbstractRewardTask | None = None
    """What V promises returns of, where that is not what judges: the environment may pay for a goal without the slope
    that V was told of."""
    knows_promise: bool = True
    """Whether V promises returns of one of the two; where it does not, nothing is said of what came of a promise."""

    @property
    def promised_by(self) -> AbstractRewardTask | None:
        """The task whose returns V promises; `None`: those of the environment."""
        return self.promised or self.task


def judge_of(config: TaskConfig, env: EnvSpec) -> Judge:
    """Who judges episodes in `env` by a task: the task itself or, where it pays the same, the environment.

    Imports the module of a reward function, as `build_task` does: a configuration of a folder that may be somebody
    else's has to be trusted first (`owma._internal.command.require_trust`). Raises `ConfigError` if the task cannot be
    built.
    """
    if isinstance(config, RecordedTaskConfig) or (isinstance(config, RewardTaskConfig) and pays(env, config.reward)):
        return Judge()
    task = build_task(config)
    assert isinstance(task, AbstractRewardTask)  # all but the recorded one
    return Judge(task)


def trusted_judge(
    task: TaskConfig, env: EnvSpec, folder: Path, trusted: Collection[str], *, warn: Callable[[str], None], remedy: str
) -> Judge:
    """The task that a run's folder names, where it can be had and code that it needs is trusted; else the environment,
    with a warning.

    **Arguments:** `remedy`: what the user is to do where the reward function's module is not trusted.
    """
    is_paid = isinstance(task, RewardTaskConfig) and pays(env, task.reward)
    if isinstance(task, RewardTaskConfig) and not is_paid:
        missing = set(imported_modules((task,), None)) - set(trusted)
        if is_of_session(task):
            warn(
                f"returns and success are the environment's own, and the promise is not checked: the run's reward, "
                f"{task.reward.partition(':')[2]}, was given to a Python session, and no module holds it; give it "
                f"again: owma.load({str(folder)!r}, task=function)."
            )
            return Judge(knows_promise=False)
        if missing:
            names = " ".join(sorted(missing | set(trusted)))
            warn(
                f"returns and success are the environment's own, and the promise is not checked: the run's reward is "
                f"{task.reward}, whose code would run; if it is yours, {remedy.format(names=names)} to be shown the "
                "task's."
            )
            return Judge(knows_promise=False)
    if isinstance(task, LabelledTaskConfig) and task.file.parent != folder:
        # The folder may be somebody else's, and does not choose what is read; nor is it known to be the same file.
        warn(
            f"returns and success are the environment's own, and the promise is not checked: the run has no copy of "
            f"its labels, {task.file}; train it again to be shown the task's."
        )
        return Judge(knows_promise=False)
    return judge_of(task, env)
