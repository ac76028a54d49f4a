"""What stands on the first screen of a report: of what it is."""

from typing import Any

from owma.config.task import describe_task
from owma.envs import TWO_ROUTES_ID
from owma.report.source import Source
from owma.results.analysis import OURS
from owma.results.intervals import counted
from owma.results.promises import kept_promises


def facts(source: Source) -> dict[str, str]:
    """Environment, task, how much was evaluated, the price, what adaptation paid and kept, commit and date; what is not
    known of rows that came alone is left out.
    """
    experiment = source.experiment or (source.points[0].experiment if source.points else None)
    found: dict[str, str] = {}
    if experiment is not None:
        of_data = TWO_ROUTES_ID if source.on_two_routes else "that of the data"
        found["environment"] = experiment.evaluation.env or of_data
        found["task"] = describe_task(experiment.task)
    found["evaluated"] = _sizes(source)
    price = _price(source)
    if price is not None:
        found["price of a nat, λ"] = price
    ours = [row for row in source.rows if row["planner"] == OURS]
    paid = [float(row["kl"]) for row in ours if row.get("kl") is not None]
    if paid:
        found["adaptation pays"] = f"{sum(paid) / len(paid):.2g} nats a decision"
    kept = kept_promises(ours).get(OURS)
    if kept is not None and kept["promised"] > 0:
        found["of its promise is kept"] = f"{100 * kept['realised'] / kept['promised']:.0f} %"
    versions = source.versions or {}
    if versions.get("git_commit"):
        found["commit"] = versions["git_commit"][:10] + (", changed" if versions.get("git_dirty") else "")
    if versions.get("date"):
        found["date"] = versions["date"]
    return found


def _sizes(source: Source) -> str:
    entries = [entry for group in source.groups for entry in group.results["planners"].values()]
    if not entries:
        return "nothing yet"
    seeds = max(entry["seeds"] for entry in entries)
    episodes = max(entry["episodes"] / entry["seeds"] for entry in entries)
    several = f" in each of {len(source.groups)} experiments" if len(source.groups) > 1 else ""
    return f"{counted(seeds, 'seed')} × {counted(round(episodes), 'episode')}{several}"


def _price(source: Source) -> str | None:
    if source.experiment is not None:
        planner: Any = source.adapting
    else:
        planner = next((source.usual(group.settings).get(OURS) for group in source.groups), None)
    price = getattr(planner, "kl_coef", None)
    return f"{price:g}" if isinstance(price, int | float) else price if price is None else str(price)
