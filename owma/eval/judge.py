"""Which rewards score an episode: those of a task, or the environment's own."""

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
    """Selects the rewards that score an episode."""

    task: AbstractRewardTask | None = None
    """Defines an episode's return and success; `None`: the environment's own return and success are used."""
    promised: AbstractRewardTask | None = None
    """The task that V was fitted to, if it differs from `task`: V may be fitted to a shaped goal reward where the
    environment pays the unshaped one."""
    knows_promise: bool = True
    """Whether V was fitted to one of the two; if not, the promise gap is `None`."""

    @property
    def promised_by(self) -> AbstractRewardTask | None:
        """The task whose return V predicts; `None`: the environment's return."""
        return self.promised or self.task


def judge_of(config: TaskConfig, env: EnvSpec) -> Judge:
    """The judge of episodes of a task in `env`: the task, or the environment if it pays the same rewards.

    May import the module of a reward function, as `build_task` does: the configuration of an untrusted folder must
    pass `owma._internal.command.require_trust` first. Raises `ConfigError` if the task cannot be
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
    """`judge_of` for the task in a run's folder; the environment, with a warning, if the task's code is not trusted or
    its data are missing.

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
