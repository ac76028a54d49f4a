"""Planners of runs from before one name meant one planner everywhere: they go on under today's names."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from owma.config.experiment import EvaluationConfig
from owma.config.json import to_json
from owma.runs.folder import RunFolder

TODAY: Mapping[str, str] = {"guided_diffusion": "guided_diffusion_single", "twisted_smc": "twisted_smc_256"}
"""What training and transfers called by these names then, a single draw and 256 particles; now they are 333 and 500."""


def former_names(written: Any, evaluation: EvaluationConfig) -> dict[str, str]:
    """The planners of an evaluation that were written down under a name of another planner today, and their own names.

    `written` is the JSON that `evaluation` was read from. It is from before if it lacks `max_steps`, which became a
    field with the same version.
    """
    if "max_steps" in written:
        return {}
    return {name: TODAY[name] for name in evaluation.planners if name in TODAY}


def rename_evaluated(evaluation: EvaluationConfig, names: Mapping[str, str]) -> EvaluationConfig:
    """The evaluation with the names of today."""
    return dataclasses.replace(evaluation, planners=tuple(names.get(name, name) for name in evaluation.planners))


def today(text: str, names: Mapping[str, str]) -> str:
    """A planner's name, with what was varied of it (`NAME-FIELD=VALUE`) or a field of it (`NAME.FIELD`), of today."""
    name, rest = re.fullmatch(r"(\w*)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    return names.get(name, name) + rest


def rename_in_folder(folder: RunFolder, names: Mapping[str, str], config: Any) -> str:
    """Give rows, traces and pictures of a folder the planners' names of today, and keep `config`, which has them.

    What has them already stays. **Returns:** the sentence on it for the user.
    """
    if folder.episodes_jsonl.exists():
        rows = folder.read_jsonl("episodes.jsonl", drop_torn=True)
        folder.write_jsonl("episodes.jsonl", [row | {"planner": today(row["planner"], names)} for row in rows])
    for old, new in names.items():
        for path in [folder.path / "traces" / f"{old}.npz", *folder.plots.glob(f"{old}_*")]:
            suffix = path.name.removeprefix(old)
            if path.exists() and re.fullmatch(r"\.npz|_(values|adaptation)\.(png|svg)", suffix):
                path.replace(path.with_name(new + suffix))
    folder.write_json("config.json", to_json(config))
    told = " and ".join(f"{old} is {new}" for old, new in names.items())
    return (
        f"this was begun by an earlier version, in which some planners had other names: {told} today, in the rows that "
        "are there and in those to come."
    )
