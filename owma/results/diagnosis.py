"""What the figures of a diagnosis mean: a sentence each, and whether it is good, doubtful or bad."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from owma.config.diagnose import Thresholds
from owma.results.intervals import counted

Verdict: TypeAlias = Literal["good", "doubtful", "bad", "unknown", "note"]
"""`note`: what is told without a judgement."""

_ORDER: tuple[Verdict, ...] = ("bad", "doubtful", "good", "unknown", "note")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    about: str
    """A word or two."""
    verdict: Verdict
    sentence: str
    """With the figures that the verdict is of."""


def worst(findings: Sequence[Finding]) -> Verdict:
    """The verdict on all of it."""
    found = {finding.verdict for finding in findings}
    for verdict in _ORDER:
        if verdict in found:
            return verdict
    return "unknown"


def all_findings(figures: Mapping[str, Any], thresholds: Thresholds) -> list[Finding]:
    """Of all figures of `owma.diagnose.diagnosis.diagnose_run`."""
    return [
        *outcome_findings(figures["outcomes"], thresholds),
        *policy_findings(figures["policy"], thresholds),
        *value_findings(figures["value"], figures["promises"]["explained"], thresholds),
        *support_findings(figures["support"], thresholds),
        *promise_findings(figures["promises"], thresholds),
    ]


def outcome_findings(figures: Mapping[str, Any], limits: Thresholds) -> list[Finding]:
    """Of `owma.train.held_out.outcome_figures`, and of what `owma diagnose` adds to them."""
    return [*_score(figures, limits), _calibration(figures, limits), _spread(figures, limits)]


def _score(figures: Mapping[str, Any], limits: Thresholds) -> list[Finding]:
    model, marginal, near = (figures.get(f"energy_score{of}") for of in ("", "_marginal", "_neighbours"))
    said = f"The energy score of p(ψ|s) on held-out outcomes is {_number(model)}"
    if marginal is not None:
        said += f"; without the state it would be {_number(marginal)}"
    skill, interval = figures.get("skill_neighbours"), figures.get("skill_neighbours_interval", (-math.inf, math.inf))
    if near is not None and skill is not None:
        said += f", and by the outcomes of like states {_number(near)}"
        verdict: Verdict = "good" if skill >= limits.skill else "doubtful"
        if skill < limits.bad_skill and interval[1] < limits.skill:
            verdict = "bad"
        said += f": {100 * abs(skill):.0f} % {'below' if skill >= 0 else 'above'} the latter (small is good)."
        return [Finding("outcomes", verdict, said)]
    if figures.get("skill_marginal") is None:
        return [Finding("outcomes", "unknown", f"{said}; there is no other episode to compare it with.")]
    useful = figures["skill_marginal"] > 0
    end = "." if useful else ": the model says no more of a state than of any other."
    return [Finding("outcomes", "good" if useful else "bad", said + end)]


def _calibration(figures: Mapping[str, Any], limits: Thresholds) -> Finding:
    off, chance, bias = (figures[key] for key in ("calibration", "calibration_by_chance", "coverage_bias"))
    verdict: Verdict = "good"
    if off > limits.calibration + chance:
        verdict = "bad" if off > limits.bad_calibration + chance else "doubtful"
    way = "too narrow" if bias < 0 else "too wide"
    mean = f", {way} in the mean" if verdict != "good" else ""
    said = (
        f"Intervals that should hold 10 to 90 % of held-out outcomes are off by {100 * off:.1f} points{mean} "
        f"({100 * chance:.1f} by chance, of {counted(figures['episodes'], 'episode')})."
    )
    return Finding("calibration", verdict, said)


def _spread(figures: Mapping[str, Any], limits: Thresholds) -> Finding:
    spread, (low, high) = figures["spread"], figures["spread_interval"]
    if spread is None:
        return Finding("spread", "unknown", "The held-out outcomes do not differ from what the model expects of them.")
    verdict: Verdict = "good" if limits.narrow <= spread <= limits.wide else "doubtful"
    replicated = figures.get("spread_replicated")
    if spread < limits.collapsed:
        # Where like states are far apart, what they differ by hides a collapse, but feigns none.
        is_bad = high < limits.narrow if replicated is None else replicated < limits.narrow
    else:
        is_bad = spread > limits.too_wide and (low > limits.wide if replicated is None else replicated > limits.wide)
    verdict = "bad" if is_bad else verdict
    said = f"The model's variance given the state is {_number(spread)} of the data's (95 % [{_range(low, high)}])"
    if replicated is not None:
        said += f", and among like states its draws vary {_number(replicated)} times as much as what was recorded"
    meaning = {
        (True, "bad"): ": it has collapsed, and what is rare in the data is missing from it.",
        (True, "doubtful"): ": it is narrow.",
        (False, "bad"): ": it is far too wide.",
        (False, "doubtful"): ": it is wide.",
    }
    return Finding("spread", verdict, said + meaning.get((spread < 1, verdict), "."))


def policy_findings(figures: Mapping[str, Any], limits: Thresholds) -> list[Finding]:
    """Of `owma.diagnose.diagnosis.policy_figures`."""
    told, other, swapped = (figures[key] for key in ("error", "error_other_outcome", "error_other_state"))
    gain, (low, _) = figures["use"], figures["use_interval"]
    if told is None or gain is None:
        return [Finding("policy", "unknown", "All recorded actions are alike, so that there is nothing to read out.")]
    verdict: Verdict = "good" if gain >= limits.use and low > 0 and told < 1 else "doubtful"
    if told >= 1 or gain <= 0:
        verdict = "bad"
    said = (
        f"The mean action of π(a|s,ψ) errs by {_number(told)} of the variance of held-out actions when it is told the "
        f"recorded outcome, {_number(other)} when told another outcome of the same state, {_number(swapped)} when told "
        f"one of another state: the outcome explains {100 * gain:.1f} % of what the state leaves open"
    )
    end = {"good": ".", "doubtful": ", which may be chance.", "bad": ", so that a plan changes nothing that helps."}
    if told >= 1:
        end["bad"] = "; the mean action of the data errs less."
    return [Finding("policy", verdict, said + end[verdict])]


def value_findings(figures: Mapping[str, Any], at_starts: float | None, limits: Thresholds) -> list[Finding]:
    """Of `owma.diagnose.diagnosis.value_figures`, and of what V explains at starts."""
    members, found = figures["held_out"], []
    if members is None:
        said = "The run has one decoder, fitted to all episodes: its R² on others is not known."
        found.append(Finding("value", "unknown", said))
    else:
        best = max(members.values())
        verdict: Verdict = "good" if best >= limits.value else "doubtful" if best >= limits.bad_value else "bad"
        each = ", ".join(f"{name} {_number(r2)}" for name, r2 in members.items())
        found.append(Finding("value", verdict, f"R² of V on episodes that it was not fitted to: {each}."))
    if at_starts is None:
        said = "Returns do not differ among the outcomes of like states at starts."
        return [*found, Finding("value in a state", "unknown", said)]
    is_bad = at_starts < limits.bad_value_within
    verdict = "bad" if is_bad else "good" if at_starts >= limits.value_within else "doubtful"
    said = (
        f"Of what returns differ by among like states, which is what plans are chosen by, V explains "
        f"{_number(at_starts)} at starts and {_number(figures['within'])} at all held-out states (R²)."
    )
    return [*found, Finding("value in a state", verdict, said)]


def support_findings(figures: Mapping[str, Any], limits: Thresholds) -> list[Finding]:
    """Of `owma.diagnose.diagnosis.support_figures`."""
    near, count = figures["near_best"], figures["episodes"]
    verdict: Verdict = "good" if near >= limits.support else "doubtful" if near >= limits.bad_support else "bad"
    said = (
        f"{near:,} of {count:,} recorded episodes come near the best discounted return, {_number(figures['best'])} "
        f"(median {_number(figures['median'])}), and pass by {100 * figures['within_reach']:.0f} % of held-out states."
    )
    found = [Finding("support", verdict, said), _recognised(figures, limits)]
    recorded, drawn = figures["recorded_share"], figures["drawn_share"]
    if not recorded:
        said = f"V calls no recorded outcome near the best, though {near:,} came there: it cannot tell them."
        return [*found, Finding("the best drawn", "doubtful", said)]
    kept = drawn / recorded
    verdict = "good" if kept >= limits.kept_share else "doubtful" if kept >= limits.lost_share else "bad"
    said = (
        f"At starts V calls {100 * recorded:.2g} % of recorded outcomes near the best, and {100 * drawn:.2g} % of the "
        f"model's draws{': the model has lost them.' if verdict == 'bad' else '.'}"
    )
    return [*found, Finding("the best drawn", verdict, said)]


def _recognised(figures: Mapping[str, Any], limits: Thresholds) -> Finding:
    """Whether V knows what the recorded best is worth; R² over all states says little of what was rare."""
    mean, value, median = (figures[key] for key in ("near_best_mean", "near_best_value", "median"))
    if not mean > median:
        return Finding("value of the best", "unknown", "No recorded episode returns more than the median one.")
    share = (value - median) / (mean - median)
    verdict: Verdict = "good" if share >= limits.recognised else "bad" if share < limits.bad_recognised else "doubtful"
    said = f"Of the {_number(mean)} that the episodes near the best return from their starts V says {_number(value)}"
    members: Mapping[str, float] | None = figures["near_best_values"]
    if members is not None:
        said += f": {', '.join(f'{name} {_number(of_one)}' for name, of_one in members.items())}"
        if verdict != "good" and "linear" in members:
            said += ". Trained with `--value.kernels 256` the linear value is corrected near what was recorded"
    return Finding("value of the best", verdict, f"{said}.")


def promise_findings(figures: Mapping[str, Any], limits: Thresholds) -> list[Finding]:
    """Of `owma.diagnose.diagnosis.promise_figures`."""
    low, best = figures["worst"], figures["best"]
    margin = limits.beyond * (best - low)
    own = next(row for row in figures["prices"] if row["kl_coef"] == figures["kl_coef"])
    promise, base = own["promise"], figures["recorded"]
    said = (
        f"At λ = {own['kl_coef']:g} plans at starts promise {_number(promise)} for {_number(own['kl'])} nats (static "
        f"{_number(figures['static'])}; recorded: mean {_number(base)}, best {_number(best)})"
    )
    backed = None if promise - base <= margin else (own["chosen"] - base) / (promise - base)
    if promise > best + margin:
        return [Finding("promise", "bad", f"{said}: more than was ever recorded."), _prices(figures)]
    if backed is None:
        return [Finding("promise", "good", f"{said}, no more than the recorded mean."), _prices(figures)]
    verdict: Verdict = "good" if backed >= limits.backed else "doubtful"
    said += (
        f"; recorded outcomes of like states, chosen by the same price, return {_number(own['chosen'])}, "
        f"{100 * backed:.0f} % of the gain."
    )
    return [Finding("promise", verdict, said), _prices(figures)]


def _prices(figures: Mapping[str, Any]) -> Finding:
    """Which prices are within the data; no advice: what they return is known to an environment alone."""
    knee = figures["knee"]
    said = (
        "Promise against nats shows no knee"
        if knee is None
        else f"Promise against nats bends at λ = {knee:g}: below it a nat buys less"
    )
    said += ". That is no advice: which λ returns most, `owma tune` finds in the environment."
    return Finding("prices", "note", said)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"


def _range(low: float, high: float) -> str:
    return ", ".join("unknown" if not math.isfinite(end) else f"{end:.3g}" for end in (low, high))
