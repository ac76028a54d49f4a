"""The tuning of a run: episodes of every setting, what is kept of them, and what is written into the run."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from gymnasium.envs.registration import EnvSpec

from owma._internal.progress import Progress
from owma.config.planners.budgets import with_kl_coef
from owma.config.tune import TuneConfig, changed, price_of
from owma.envs.make import vector_env
from owma.eval.judge import Judge
from owma.eval.rollout import run_episodes
from owma.eval.setup import EvaluationSetup, setup_of_run
from owma.planners import NAMED, AbstractPlannerConfig
from owma.results import plots
from owma.results.tables import paired_difference, summarise
from owma.runs.folder import RunFolder, versions
from owma.runs.load import SavedRun
from owma.runs.tuned import keep_tuned
from owma.tune.halving import Halved, Rows, halve

_REPORT = "report"


def new_tuning_folder(run: SavedRun, described: Mapping[str, Any]) -> RunFolder:
    """A new folder in the run's `tunings`. **Arguments:** `described`: what its `config.json` says."""
    folder = RunFolder.create(run.folder.path / "tunings", "tune")
    folder.write_json("config.json", described)
    folder.write_json("versions.json", versions())
    return folder


def tune_run(
    run: SavedRun, config: TuneConfig, folder: RunFolder, *, env: EnvSpec, judge: Judge, progress: Progress
) -> dict[str, Any]:
    """Tune each planner of the configuration, write what is found into the run (`tuned.json`), and return the results.

    Appends to `episodes.jsonl` of `folder` a row an episode, with its `round`; what is there already is not played
    again. Draws what a nat buys, and writes `results.json`: by planner `winner`, the `settings` that are written into
    the run (none where nothing is better than what the planner had), `tried` (by candidate: its `last_round` and what
    `summarise` says of it) and `report`, on other start states: `planners`, and of the winner and the planner as it was
    the paired `difference` in success and return.
    """
    evaluation = dataclasses.replace(
        run.config.evaluation,
        timed_decisions=0,
        replan_every=config.replan_every or run.config.evaluation.replan_every,
        max_steps=config.max_steps or run.config.evaluation.max_steps,
        # As it is before anything was tuned: what was found before counts no more than what is tried now.
        settings=tuple(setting for setting in run.config.evaluation.settings if setting not in run.tuned),
    )
    setup = setup_of_run(run, evaluation, env=env, judge=judge, value=config.value)
    kept = folder.read_jsonl("episodes.jsonl", drop_torn=True) if folder.episodes_jsonl.exists() else []
    folder.write_jsonl("episodes.jsonl", kept)
    results = {}
    for name in config.planners:
        planner = evaluation.settled(name, NAMED[name])
        players = _Players(config.candidates(name, planner), setup, folder, kept, progress)
        found = halve(
            list(players.candidates), players.play, seed=config.seed, first=config.first_episodes, most=config.episodes
        )
        settings = changed(planner, players.candidates[found.winner])
        results[name] = _summary(found, settings, _reported(found, players, config))
        _draw(name, results[name]["tried"], players.candidates, folder)
        written = tuple(f"{name}.{field}={json.dumps(value)}" for field, value in settings.items())
        keep_tuned(run.folder, name, written, {"folder": f"tunings/{folder.path.parent.name}/{folder.path.name}"})
    folder.write_json("results.json", results)
    return results


@dataclasses.dataclass(frozen=True)
class _Players:
    """The settings of one planner."""

    candidates: Mapping[str, AbstractPlannerConfig]
    setup: EvaluationSetup
    folder: RunFolder
    kept: Rows
    """Rows that a tuning which goes on has already."""
    progress: Progress

    def play(self, name: str, seed: int, episodes: int, stage: str) -> Rows:
        kept = [row for row in self.kept if (row["planner"], row["round"], row["seed"]) == (name, stage, seed)]
        if len(kept) >= episodes:
            return kept[:episodes]
        label = f"{'reporting' if stage == _REPORT else f'round {stage},'} {name}"
        with vector_env(self.setup.env, episodes, most_steps=self.setup.config.max_steps) as envs:
            with self.progress(label, self.setup.most_steps * episodes, 0) as advance:
                played = run_episodes(
                    self.setup.agent(self.candidates[name]),
                    envs,
                    planner_name=name,
                    seed=seed,
                    timed_decisions=0,
                    progress=advance,
                    judge=self.setup.judge,
                )
        rows = [row | {"round": stage} for row in played.rows]
        for row in rows[len(kept) :]:
            self.folder.append_jsonl("episodes.jsonl", row)
        return rows


def _reported(found: Halved, players: _Players, config: TuneConfig) -> dict[str, Any]:
    """What was found beside what was there, on start states that chose nothing."""
    incumbent = next(iter(players.candidates))
    names = dict.fromkeys((found.winner, incumbent))
    rows = [row for name in names for row in players.play(name, config.report_seed, config.report_episodes, _REPORT)]
    report = {"planners": summarise(rows)["planners"], "difference": {}}
    if found.winner != incumbent:
        keys = [key for key in ("success", "return") if all(row[key] is not None for row in rows)]
        report["difference"] = {key: paired_difference(rows, found.winner, incumbent, key) for key in keys}
    return report


def _draw(
    name: str, tried: Mapping[str, Any], candidates: Mapping[str, AbstractPlannerConfig], folder: RunFolder
) -> None:
    """What a nat buys: of the settings that differ in λ alone."""
    planner = next(iter(candidates.values()))
    at = {label: price for label, config in candidates.items() if (price := price_of(config)) is not None}
    alone = {label: price for label, price in at.items() if with_kl_coef(planner, price) == candidates[label]}
    if len(alone) > 1:
        title = f"{name}: what a nat buys, on {tried[next(iter(alone))]['episodes']} and fewer start states"
        plots.trade_off(
            folder.plots / f"{name}_prices.png", list(alone.values()), [tried[label] for label in alone], title=title
        )


def _summary(found: Halved, settings: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, Any]:
    tried = {name: summarise(rows)["planners"][name] for name, rows in found.rows.items()}
    return {
        "winner": found.winner,
        "best": found.best,
        "settings": dict(settings),
        "tried": {name: {"last_round": found.last_round[name], **entry} for name, entry in tried.items()},
        "report": report,
    }
