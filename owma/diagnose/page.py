"""The page of a diagnosis: one HTML file that needs no other."""

import dataclasses
import functools

from markupsafe import Markup

from owma._internal.help import field_doc
from owma.config.diagnose import Thresholds
from owma.diagnose.diagnosis import Diagnosis
from owma.report.page import Section, claim, folded, page, paragraph, picture, table
from owma.results import plots

FILE = "diagnosis.html"

_KINDS = {"good": "true", "bad": "false"}
"""The classes of verdicts in the page's style."""

_HEADLINES = {
    "good": "Nothing of what was looked at speaks against this model.",
    "doubtful": "Doubtful: {}.",
    "bad": "Bad: {}.",
    "unknown": "Nothing could be told of this model.",
    "note": "Nothing of this model was judged.",
}


def headline(found: Diagnosis) -> str:
    """The verdict, and what it is of."""
    named = [finding.about for finding in found.findings if finding.verdict == found.verdict]
    return _HEADLINES[found.verdict].format(", ".join(named))


def diagnosis_page(found: Diagnosis, thresholds: Thresholds) -> str:
    """A whole document."""
    sections = [
        Section("Findings", _findings(found)),
        Section("Outcomes", _outcomes(found)),
        Section("Policy", _policy(found)),
        Section("Promises", _promises(found)),
        Section("Thresholds", _thresholds(thresholds), folded=True),
    ]
    return page(f"owma diagnose {found.about['run']}", headline(found), found.about, sections)


def _findings(found: Diagnosis) -> Markup:
    listed = [claim(f.verdict, _KINDS.get(f.verdict, ""), f.sentence, f.about) for f in found.findings]
    return Markup().join(listed)


def _outcomes(found: Diagnosis) -> Markup:
    figures = found.figures["outcomes"]
    body = picture(
        functools.partial(plots.calibration_and_spread, outcomes=figures),
        "Left, how many held-out outcomes lie in central intervals of p(ψ|s), a line a whitened coordinate. Right, "
        "the variance that is left given the state: of the model, and of the data, which cannot have more than the "
        "smaller of two estimates says, the squared error of the model's mean and the variance among like states.",
    )
    body += picture(
        functools.partial(plots.rank_histograms, outcomes=figures),
        "Where held-out outcomes lie among the model's draws: flat is right, a hollow too narrow, a hill too wide.",
    )
    if found.figures["value"]["held_out"] is not None:
        held_out = found.figures["value"]["held_out"]
        body += folded(
            "R² of each value", table(("value", "R², held out"), [(n, f"{r:.3f}") for n, r in held_out.items()])
        )
    return body


def _policy(found: Diagnosis) -> Markup:
    figures = found.figures["policy"]
    if figures["error"] is None:
        return paragraph("All recorded actions are alike.")
    return picture(
        functools.partial(plots.policy_errors, policy=figures),
        "What a policy errs by that is told another outcome of the same state is what one errs by that knows the state "
        "alone. The noise of recorded actions is in all of these.",
    )


def _promises(found: Diagnosis) -> Markup:
    promises, support = found.figures["promises"], found.figures["support"]
    body = picture(
        functools.partial(plots.promises_by_price, promises=promises, support=support),
        f"Left, what plans promise at {promises['starts']} starts by the nats that they pay, λ above each, and what "
        "recorded outcomes of like states returned, chosen by the same price. Right, the returns of all episodes.",
    )
    headings = ("λ", "promise", "nats", "recorded, by this λ", "distance from the data", "fallbacks")
    rows = [
        (
            f"{row['kl_coef']:g}",
            *(f"{row[key]:.3g}" for key in ("promise", "kl", "chosen")),
            "–" if row["off_data"] is None else f"{row['off_data']:.2g}",
            f"{100 * row['fallbacks']:.0f} %",
        )
        for row in promises["prices"]
    ]
    kinds = ["ours" if row["kl_coef"] == promises["kl_coef"] else "" for row in promises["prices"]]
    body += table(headings, rows, kinds)
    return body + paragraph(
        "Distance: of ψ* from the nearest recorded outcome of like states; 1 is what one in twenty of these has from "
        "the others. None of this chooses λ: python -m owma.tune finds it where there is an environment.",
        "note",
    )


def _thresholds(thresholds: Thresholds) -> Markup:
    names = [field.name for field in dataclasses.fields(thresholds)]
    said = paragraph("Provisional: chosen by what the figures mean, and not ranked yet by the success of runs.", "note")
    for name in names:
        said += claim(name, "", field_doc(Thresholds, name), f"{getattr(thresholds, name):g}")
    return said
