"""Settings of planners that `owma tune` found for a run, kept in its folder."""

from collections.abc import Mapping, Sequence
from typing import Any

from owma._internal.errors import ConfigError
from owma.config.experiment import EvaluationConfig
from owma.config.fields import parse_axis
from owma.runs.folder import RunFolder

FILE = "tuned.json"


def read_tuned(folder: RunFolder) -> tuple[str, ...]:
    """`EvaluationConfig.settings` that were found for this run; none where it was not tuned.

    Raises `ConfigError` where the file is not of that form.
    """
    if not (folder.path / FILE).exists():
        return ()
    content = folder.read_json(FILE)
    settings = content.get("settings") if isinstance(content, dict) else None
    remedy = f"{folder.path / FILE} is not of the form that `owma tune` writes; remove it, or tune again."
    if not isinstance(settings, list) or not all(isinstance(setting, str) for setting in settings):
        raise ConfigError(remedy)
    try:
        return EvaluationConfig(settings=tuple(settings)).settings
    except ConfigError as error:
        raise ConfigError(f"{remedy} ({error})") from error


def keep_tuned(folder: RunFolder, planner: str, settings: Sequence[str], about: Mapping[str, Any]) -> None:
    """Keep the settings of one planner, in place of those that it had; those of others stay.

    **Arguments:** `about`: what there is to say of how they were found.
    """
    kept = [setting for setting in read_tuned(folder) if setting_of(setting) != planner]
    content = folder.read_json(FILE) if kept else {"planners": {}}
    planners = {name: said for name, said in content["planners"].items() if name != planner}
    if settings:
        planners[planner] = dict(about)
    folder.write_json(FILE, {"settings": [*kept, *settings], "planners": planners})


def setting_of(setting: str) -> str:
    """The planner that a setting is of."""
    (field, *_) = parse_axis(setting)[0].fields
    return field.partition(".")[0]
