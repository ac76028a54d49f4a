"""`python -m owma.eval RUN planner:...`: let a trained run act with a planner of your choice."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from owma._command import command, open_progress, show_results
from owma.config_json import to_json
from owma.evaluation import evaluate
from owma.experiment import EvaluationConfig
from owma.load import load
from owma.planners import OnlineAdaptation, PlannerConfig
from owma.runs import RunFolder, versions


@dataclasses.dataclass(frozen=True)
class Eval:
    """Evaluates one planner on a trained run; rows, table and pictures go to a folder of their own."""

    run: tyro.conf.Positional[Path]
    """runs/NAME (its newest version) or runs/NAME/v<N>."""
    planner: PlannerConfig = OnlineAdaptation()
    evaluation: Annotated[EvaluationConfig, tyro.conf.arg(name="")] = EvaluationConfig()
    seed: int = 0
    """Of start states and of the planner's draws."""


def main() -> None:
    """Parse, evaluate, print the folder."""
    arguments = tyro.cli(Eval, prog="python -m owma.eval", config=(tyro.conf.CascadeSubcommandArgs,))
    run = load(arguments.run)
    folder = RunFolder.create(run.folder.path / "evaluations", _name(arguments.planner))
    folder.write_json("config.json", to_json(arguments))
    folder.write_json("versions.json", versions())
    results = evaluate(
        run.model,
        {_name(arguments.planner): arguments.planner},
        folder,
        arguments.evaluation,
        env_id=arguments.evaluation.env or run.env_id,
        obs_keys=run.obs_keys,
        seed=arguments.seed,
        progress=open_progress,
    )
    show_results(results)
    print(folder.path)


def _name(planner: PlannerConfig) -> str:
    """OnlineAdaptation -> online_adaptation."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in type(planner).__name__).lstrip("_")


if __name__ == "__main__":
    command(main)
