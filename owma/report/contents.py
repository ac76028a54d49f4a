"""The sections of a report, each from rows, traces or models that are at hand."""

import collections
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from owma._internal.json import jsonable
from owma.config.json import to_json
from owma.envs import GOAL_CELL, MAZE_MAP, START_CELL, cell_center, paid_ground
from owma.planners import NAMED
from owma.report.flags import eval_command, sweep_command, train_command
from owma.report.former import as_now
from owma.report.head import facts
from owma.report.page import (
    Section,
    claim,
    code,
    explorer,
    figures,
    folded,
    heading,
    image,
    page,
    paragraph,
    picture,
    table,
)
from owma.report.source import Source, Traces
from owma.results import plots
from owma.results.analysis import (
    OURS,
    Axis,
    ablations,
    aggregate,
    calibration,
    of_tasks,
    pareto,
    probability_of_improvement,
    robust,
)
from owma.results.claims import SKEW, claims, headline
from owma.results.intervals import counted
from owma.results.promises import doubtful_promises, kept_promises
from owma.results.tables import caption, columns_and_rows, infer_former_names, with_baselines

_SHOWN = 8
"""Lines of a table of comparisons that are not folded."""
_VERDICTS = {"loses": "below", "wins": "above", "open": "open", "none": "no verdict"}


def build(source: Source, decisions: dict[str, Any] | None) -> str:
    """The page. `decisions` is what `owma.report.explorer.explore` returns; `None` where no models are at hand."""
    axes = ablations(source.groups, source.usual) if source.points else []
    traces = source.traces()
    sections = (
        _losses(source, axes),
        _results(source),
        _one_decision(source, decisions),
        _comparisons(source),
        _promises(source),
        _knobs(axes),
        _courses(traces),
        _trajectories(source, traces),
        _training(source),
        _reproduction(source),
    )
    shown = [section for section in sections if section.body]
    return page(f"owma: {source.title}", headline(source.groups), facts(source), shown)


def _losses(source: Source, axes: Sequence[Axis]) -> Section:
    """What must not be overlooked: where a rival is better, and which claims are false."""
    compared = source.comparisons
    lost = sorted(
        (c for c in compared if c["verdict"] == "loses"),
        key=lambda c: (c["group"], c["metric"] != "success", c["mean"]),
    )
    body = paragraph(_said_of_comparisons(compared))
    for one in claims(source.groups, axes):
        verdict, kind = {True: ("holds", "true"), False: ("FALSE", "false"), None: ("open", "")}[one.holds]
        body += claim(verdict, kind, one.text, one.evidence)
    if lost:
        losing = _differences(lost)
        body += losing if len(lost) <= _SHOWN else folded(f"Where it is below: {len(lost)} comparisons", losing)
    return Section("Adaptation against its rivals", body)


def _said_of_comparisons(compared: Sequence[dict[str, Any]]) -> str:
    if not compared:
        return f"No planner was evaluated on the same episodes as {OURS}, so nothing is compared."
    by_verdict = collections.Counter(c["verdict"] for c in compared)
    judged = len(compared) - by_verdict["none"]
    said = f"{counted(len(compared), 'paired comparison')} of {OURS} with a rival. "
    if by_verdict["none"]:
        missing = "; ".join(dict.fromkeys(c["lacking"].removeprefix("no verdict: ") for c in compared if c["lacking"]))
        said += f"No verdict in {by_verdict['none']} of them ({missing or 'an interval is missing'}). "
    if judged:
        said += f"Below in {by_verdict['loses']}, above in {by_verdict['wins']}, open in {by_verdict['open']}. "
    return said + (
        "Intervals are 95 %, of the difference, by a bootstrap that resamples seeds, then pairs of episodes within "
        "them, widened for few seeds; they are not corrected for their number."
    )


def _differences(compared: Sequence[dict[str, Any]]) -> Markup:
    def shown(c: dict[str, Any]) -> list[str]:
        scale, form = (100.0, ".0f") if c["metric"] == "success" else (1.0, ".3g")
        numbers = [f"{scale * c[key]:{form}}" for key in ("ours", "theirs")]
        ends = "–" if c["interval"] is None else "[" + ", ".join(f"{scale * e:+{form}}" for e in c["interval"]) + "]"
        unit = " %" if c["metric"] == "success" else ""
        place = [c["rival"], c["group"] or "all", c["metric"] + unit]
        sizes = [str(c["seeds"]), str(c["pairs"]), _VERDICTS[c["verdict"]]]
        return [*place, *numbers, f"{scale * c['mean']:+{form}}", ends, *sizes]

    headings = (
        "rival",
        "where",
        "metric",
        "ours",
        "theirs",
        "difference",
        "95 % interval",
        "seeds",
        "pairs",
        "verdict",
    )
    return table(headings, [shown(c) for c in compared], [c["verdict"] for c in compared])


def _results(source: Source) -> Section:
    body = Markup()
    by_skew = {f"{group.settings[SKEW]:g}": group.results for group in source.groups if SKEW in group.settings}
    known = [e["success"] for results in by_skew.values() for e in results["planners"].values()]
    if len(by_skew) > 1 and any(success is not None for success in known):
        body += picture(
            functools.partial(plots.skew_curve, results=by_skew),
            "Success against the share of the data that shows how.",
        )
    for place, group in enumerate(source.groups):
        results = group.results
        shown = _table_of_planners(results) + paragraph(caption(results), "note")
        for doubt in doubtful_promises(results):
            shown += paragraph(f"{doubt[0].upper()}{doubt[1:]}", "note")
        told = any(entry["success"] is not None for entry in results["planners"].values())
        front, pictures = pareto(results), Markup()
        if front:
            shown += paragraph(f"Highest mean success at the same milliseconds or less: {', '.join(front)}.", "note")
            draw = functools.partial(plots.success_against_latency, results=results)
            pictures += picture(draw, "What a decision costs and what it brings.")
        if told and len(by_skew) < 2:
            own = {name: entry for name, entry in results["planners"].items() if not _is_variation(name)}
            draw = functools.partial(plots.successes, results={"": {"planners": own}})
            pictures += picture(draw, "Success of each planner; small dots are seeds.")
        shown += folded("Pictures of it", figures(pictures)) if pictures else Markup()
        # What is varied is looked up; of one experiment the table is what one came for.
        body += (
            folded(f"{group.label}: the table", heading(group.label) + shown) if place else heading(group.label) + shown
        )
    return Section("Results", body)


def _table_of_planners(results: Mapping[str, Any]) -> Markup:
    """Planners with their own settings; variations of these on demand, and no column in which nothing is known."""
    names = list(with_baselines(results))
    headings, rows = columns_and_rows(results, wide=True)
    known = [i for i, _ in enumerate(headings) if i == 0 or any(row[i] != "–" for row in rows)]
    body = Markup()
    for part in (False, True):
        lines = [(name, row) for name, row in zip(names, rows) if _is_variation(name) == part]
        cells = [[row[i] for i in known] for _, row in lines]
        made = table([headings[i] for i in known], cells, ["ours" if name == OURS else "" for name, _ in lines])
        if lines:
            body += folded(f"Other settings of planners: {len(lines)} rows", made) if part else made
    return body


def _is_variation(name: str) -> bool:
    return "=" in name.partition("-")[2]


def _one_decision(source: Source, decisions: dict[str, Any] | None) -> Section:
    if decisions is None:
        missing = "The explorer of decisions needs the run's models, which are not beside these rows."
        return Section("One decision", paragraph(missing, "note"))
    if "plans" not in decisions["states"][0]:
        decisions = as_now(decisions)
    headings = ("λ", "J*", "E[V] under q*", "KL(q*‖p), nats", "rare share of q*", "effective draws")
    note = (
        "λ, J* and E[V] are in units of the value's standard deviation within a state. The rare share is the "
        "weight that q* puts on the 2 % of the trained model's draws that are worth most; it is known where there "
        "are many effective draws. "
    )
    if "paths" in decisions.get("map", {}):
        note += (
            "On the map each draw is the recorded future whose ψ is nearest to it: grey as the trained model expects "
            "it, blue as the adapted one does, dashed what was chosen. The states are those of one episode of "
            "adaptation, until its goal was reached."
        )
    else:
        note += "The cross marks the plan that was chosen."
    body = explorer(jsonable(decisions), headings, note)
    return Section("One decision", body, folds=True)


def _comparisons(source: Source) -> Section:
    body = _over_tasks(source)
    for group in source.groups:
        rivals = dict.fromkeys(c["rival"] for c in group.comparisons if c["metric"] == "return")
        better = {name: probability_of_improvement(group.rows, OURS, name) for name in rivals}
        draw = functools.partial(
            plots.centres, by_planner=robust(_own(group.rows)), label="interquartile mean of the return"
        )
        pictures = picture(draw, "Interquartile mean of the return over seeds and episodes; small dots are seeds.")
        if better:
            label = f"P({OURS.replace('_', ' ')} is better)"
            draw = functools.partial(plots.centres, by_planner=better, label=label, centre="probability")
            pictures += picture(draw, "How likely an episode of adaptation is better than one of the rival.")
        body += heading(group.label) + figures(pictures)
    compared = source.comparisons
    if compared:
        body += folded(f"All {len(compared)} paired comparisons", _differences(compared))
    return Section("Comparisons", body, folded=True)


def _over_tasks(source: Source) -> Markup:
    """What rliable says of several tasks: a run is an experiment and a seed, its score the mean success."""
    scores = of_tasks(source.groups)
    if not scores:
        return Markup()
    tasks, seeds = next(iter(scores.values())).shape
    scores = {name: 100 * runs for name, runs in scores.items()}
    label = "interquartile mean of success over runs, %"
    draw = functools.partial(plots.centres, by_planner=aggregate(scores), label=label)
    pictures = picture(draw, f"Interquartile mean of success over runs, {tasks} experiments of {seeds} seeds.")
    draw = functools.partial(plots.profiles, scores=scores, label="success, %")
    pictures += picture(draw, "Performance profiles: the share of runs whose success is above τ.")
    return heading(f"Over {tasks} experiments") + figures(pictures)


def _own(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows of planners with their own settings."""
    return [row for row in rows if not row.get("planner_settings")]


def _promises(source: Source) -> Section:
    body = Markup()
    for group in source.groups:
        rows = [row for row in _own(group.rows) if row["value"] is not None and row["promise_gap"] is not None]
        if rows:
            draw = functools.partial(plots.promised_against_realised, by_planner=calibration(rows))
            caption = "What plans promised against what was realised" + (f" ({group.label})." if group.label else ".")
            title = "What plans promised, and what of it came"
            kept = functools.partial(plots.promises_kept, promises=kept_promises(rows), title=title)
            body += figures(picture(kept, f"{title}, by planner.") + picture(draw, caption))
    return Section("Promises", body, folded=True)


def _knobs(axes: Sequence[Axis]) -> Section:
    body = Markup()
    for axis in axes:
        draw = functools.partial(plots.ablation, values=axis.values, entries=axis.entries, field=axis.field)
        where = f" ({axis.group})" if axis.group else ""
        if axis.field == "kl_coef" and axis.base == OURS and all(entry["kl"] is not None for entry in axis.entries):
            trade = functools.partial(
                plots.trade_off,
                kl_coefs=[float(value) for value in axis.values],
                entries=axis.entries,
                title="What a nat buys, by its price λ",
            )
            body += picture(trade, f"Success and the promise gap against the nats that are paid{where}.")
        body += picture(draw, f"{axis.base}: {axis.field}, all else as it is by default{where}.")
    return Section("Knobs", body, folded=True)


def _courses(traces: dict[str, Traces]) -> Section:
    body = Markup()
    for label, by_planner in traces.items():
        whole = {name: trace for name, trace in by_planner.items() if "decision_kl" in trace}
        adapting = {name: trace for name, trace in whole.items() if trace.get("first_kl", trace["decision_kl"]).size}
        adapting = {name: trace for name, trace in adapting.items() if "first_kl" in trace}
        if whole:
            where = f" ({label})" if label else ""
            body += picture(functools.partial(plots.decisions, traces=whole), f"Decisions over the episode{where}.")
            if adapting:
                draw = functools.partial(plots.convergence, traces=adapting)
                body += picture(draw, f"Adaptation at the first decision{where}: mean and middle 80 % of start states.")
            draw = functools.partial(plots.value_before_after, traces=whole)
            body += picture(draw, f"V of the trained model's draws and of the plan, every decision{where}.")
    return Section("The course of decisions", body, folded=True)


def _trajectories(source: Source, traces: dict[str, Traces]) -> Section:
    video = source.folder.path / "video.gif"
    body = image(video, "One episode.") if video.exists() else Markup()
    if not source.on_two_routes:
        return Section("Trajectories", body, folded=True)
    planners = {group.label: group.results["planners"] for group in source.groups}
    for label, of_group in traces.items():
        results = planners[label]
        ordered = [name for name in results if name in of_group]
        draw = functools.partial(
            plots.maze_trajectories,
            maze_map=MAZE_MAP,
            trajectories={name: list(of_group[name]["positions"]) for name in ordered},
            start=cell_center(*START_CELL),
            goal=cell_center(*GOAL_CELL),
            successes={name: results[name]["success"] for name in ordered},
            pays=paid_ground(),
        )
        body += picture(draw, f"Where each planner goes{f' ({label})' if label else ''}.")
    return Section("Trajectories", body, folded=True)


def _training(source: Source) -> Section:
    metrics = source.folder.read_jsonl("metrics.jsonl", drop_torn=True) if source.folder.metrics_jsonl.exists() else []
    losses = [row for row in metrics if any("loss" in key for key in row)]
    draw = functools.partial(plots.training_curves, rows=losses)
    return Section("Training", picture(draw, "Losses of training.") if losses else Markup(), folded=True)


def _reproduction(source: Source) -> Section:
    body = Markup()
    if source.experiment is not None:
        body += paragraph("All rows:") + code(train_command(source.experiment))
        # A run's experiment was not varied: it is the only one. Of an evaluation that was stopped there may be none.
        old = infer_former_names(source.groups[0].results) if source.groups else {}
        names = [name for name in dict.fromkeys(row["planner"] for row in source.rows) if name in NAMED]
        run, evaluation = f"runs/{source.experiment.name}", source.experiment.evaluation
        acting = {name: evaluation.settled(name, NAMED[old[name] if name in old else name]) for name in names}
        shown = [(name, eval_command(run, acting[name], evaluation, source.experiment.seed)) for name in names]
        body += folded("The rows of one planner again", table(("planner", "command"), shown))
    elif source.sweep is not None:
        body += paragraph("All rows:") + code(sweep_command(source.sweep))
        commands = table(("row", "train", "evaluate"), list(_point_commands(source)))
        body += folded(f"Each of the {len(source.points)} rows by itself", commands)
    else:
        body += paragraph("These rows came without a configuration; runs/README.md names the command.", "note")
    config = source.experiment or source.sweep
    if config is not None:
        body += folded("Configuration", code(json.dumps(to_json(config), indent=1)))
    if source.versions is not None:
        body += folded("Versions and machine", code(json.dumps(source.versions, indent=1)))
    # Not where it lies on the machine that wrote it: a report is read elsewhere.
    path = source.folder.path
    path = Path(path.parent.name, path.name) if path.is_absolute() else path
    body += paragraph(f"This page: python -m owma.report {path}", "note")
    return Section("How to reproduce", body, folded=True)


def _point_commands(source: Source) -> Iterator[tuple[str, str, str]]:
    for point in source.points:
        run = f"runs/{point.experiment.name}"
        evaluate = eval_command(run, point.planner, point.experiment.evaluation, point.experiment.seed)
        yield point.key, train_command(point.experiment), evaluate
