"""`owma.load`, and `owma.Run`, a trained run with `agent`, `evaluate`, `tell` and `plot`."""

import dataclasses
from pathlib import Path
from typing import Any

from owma.api.evaluate import Planners, evaluate
from owma.envs.given import EnvLike
from owma.eval.evaluate import draw
from owma.outcomes.given import TaskLike
from owma.runs.load import SavedRun, load_run
from owma.runs.rows import EpisodeRow
from owma.transfer.tell import tell


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
