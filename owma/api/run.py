"""`owma.load`, and `owma.Run`, a trained run with `agent`, `evaluate`, `tell`, `tune`, `diagnose` and `plot`."""

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from owma._internal.progress import ProgressCallback, open_progress, shown_progress
from owma.api.evaluate import Planners, evaluate
from owma.config.diagnose import DiagnoseConfig
from owma.config.json import to_json
from owma.config.tune import TuneConfig
from owma.diagnose.diagnosis import Diagnosis, diagnose_run
from owma.diagnose.keep import keep_diagnosis
from owma.envs.given import EnvLike, given_env
from owma.eval.evaluate import draw
from owma.eval.setup import check_run_env, judge_of_run
from owma.outcomes.given import TaskLike
from owma.runs.load import SavedRun, load_run
from owma.runs.rows import EpisodeRow
from owma.runs.tuned import read_tuned
from owma.transfer.tell import tell
from owma.tune.tuning import new_tuning_folder, tune_run


@dataclasses.dataclass(frozen=True, repr=False)
class Run(SavedRun):
    """A trained run.

    ```python
    run = owma.load("runs/two-routes")
    agent = run.agent(planner=owma.OnlineAdaptation(kl_coef=0.1, adaptation_steps=10))
    ```
    """

    def evaluate(self, planners: Planners = (), **options: Any) -> list[EpisodeRow]:
        """`owma.evaluate` of this run."""
        return evaluate(self, planners, **options)

    def tell(self, task: TaskLike, *, labels: int | None = None, seed: int = 0) -> "Run":
        """The same world model and policy for another task: values are fitted to it, and nothing is trained again.

        Nothing is written; `evaluate` of what this returns writes into the same folder.

        **Arguments:** `task`: of any form that `owma.fit` takes. `labels`: how many of the recorded transitions the
        values are told the task's returns of, drawn by `seed`; by default as many as in training (`num_labels`).

        **Raises:** `OwmaError` if the task cannot be built or prefers nothing in the data, or the data are gone.
        """
        return tell(self, task, labels=labels, seed=seed)

    def tune(self, planners: Sequence[str] = ("online_adaptation",), **options: Any) -> "Run":
        """This run with the λ that suits its planners, found in its environment: see `python -m owma.tune`.

        **Arguments:** `planners`: names; `options`: other fields of `owma.config.tune.TuneConfig`, such as `kl_coefs`
        and `episodes`. What is found is kept in the run's folder, from which `owma.load` reads it.

        **Raises:** `OwmaError` for a mistake in any of these.
        """
        config = TuneConfig(planners=tuple(planners), **options)
        env = self.env if config.env is None else given_env(config.env)
        check_run_env(self, env, flag="env=")
        remedy = "load it with owma.load(path, task=...)"
        judge = judge_of_run(self, env, (), warn=lambda sentence: warnings.warn(sentence, stacklevel=3), remedy=remedy)
        tune_run(self, config, new_tuning_folder(self, to_json(config)), env=env, judge=judge, progress=open_progress)
        tuned = read_tuned(self.folder)
        own = tuple(setting for setting in self.config.evaluation.settings if setting not in self.tuned)
        evaluation = dataclasses.replace(self.config.evaluation, settings=own).with_settings(tuned)
        return dataclasses.replace(self, config=dataclasses.replace(self.config, evaluation=evaluation), tuned=tuned)

    def diagnose(self, *, progress: bool | ProgressCallback = True, **options: Any) -> Diagnosis:
        """How good this run's models are for its task, without an environment: see `python -m owma.diagnose`.

        ```python
        for finding in run.diagnose().findings:
            print(finding.verdict, finding.sentence)
        ```

        **Arguments:** `progress`: as of `owma.fit`; `options`: fields of `owma.config.diagnose.DiagnoseConfig`, such as
        `states` and `kl_coefs`. Figures and a page are written into the run's folder.

        **Raises:** `OwmaError` if the dataset is gone or not the one that the run was trained on, or the task is a
        function that is not at hand: load the run with `owma.load(path, task=...)` then.
        """
        config = DiagnoseConfig(**options)
        found = diagnose_run(self, config, progress=shown_progress(progress))
        keep_diagnosis(found, config)
        return found

    def plot(self) -> list[Path]:
        """Draw every plot whose data are in the run's folder, and return the paths."""
        for folder in (self.folder, *self.evaluation_folders()):
            known = folder.read_json("results.json") if folder.results_json.exists() else {"planners": {}}
            draw(folder, known, self.env_spec)
        return sorted(self.folder.path.glob("**/plots/*.png"))


def load(path: str | Path, *, task: TaskLike = None, env: EnvLike | None = None) -> Run:
    """A finished run: `runs/NAME` (its newest version) or `runs/NAME/v<N>`.

    **Arguments:** objects that a folder cannot store, in the forms of `owma.fit`: `task`: the task that the run was
    trained for, to score episodes (for another task use `Run.tell`); `env`: where to evaluate.

    Raises `CheckpointError` if there is none, if it was not trained to the end, or if its files are damaged or do not
    belong together. An environment that is not registered here raises only when `Run.env` is read.
    """
    return Run(**vars(load_run(path, task=task, env=env)))
