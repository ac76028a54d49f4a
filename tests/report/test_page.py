"""A report in a browser: tables are sorted by keyboard, filtered and taken along, parts open, on white and on black."""

from pathlib import Path
from typing import Any

import pytest
from browser import CONTRASTS, browser

from owma.report.contents import build
from owma.report.source import Source
from owma.results.analysis import aggregate, groups, interquartile_mean, of_tasks
from owma.results.claims import against_best, headline
from owma.runs.folder import RunFolder

SHARE = {"static": 1, "online_adaptation": 4, "random_shooting": 3, "cem": 2, "svdd": 0, "fk_steering": 1}
"""Episodes of four that succeed."""


def _rows(seeds: int, share: dict[str, int] = SHARE, **more: Any) -> list[dict[str, Any]]:
    row = {"value": 20.0, "promise_gap": 5.0, "kl": 3.0, "nfe": 7, "ms_p50": None, "ms_p95": None} | more
    return [
        row | {"planner": name, "seed": seed, "episode": i, "success": i < count, "return": 100.0 * count + i + seed}
        for name, count in share.items()
        for seed in range(seeds)
        for i in range(4)
    ]


def test_tables_and_parts_of_a_page(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "rows")
    folder.write_jsonl("episodes.jsonl", _rows(2))
    folder.write_json("versions.json", {"git_commit": "a" * 40, "git_dirty": True, "date": "2026-01-02"})
    path = tmp_path / "report.html"
    path.write_text(build(Source.read(folder.path), None))
    names = (
        "[...document.querySelectorAll('#results tbody tr')].filter(r => !r.hidden).map(r => r.cells[0].textContent)"
    )
    with browser() as page:
        for width, scheme in ((1280, "light"), (400, "dark")):
            page.show(width, 900, prefers_color_scheme=scheme)
            page.go(path.as_uri())
            first = page.js("document.querySelector('header').innerText")
            assert "No verdict (2 seeds, 5 are needed; 8 pairs, 10 are needed): adaptation succeeds in 100 %" in first
            for said in ("2 seeds × 4 episodes", "3 nats a decision", "75 %", "aaaaaaaaaa, changed", "2026-01-02"):
                assert said in first
            assert page.js("document.documentElement.scrollHeight") <= 3 * 900
            assert page.js("document.documentElement.scrollWidth") <= width
            # By keyboard: the second column, from the best on and then from the worst on.
            page.js("document.querySelectorAll('#results th button')[1].focus()")
            page.press("Enter")
            assert page.js(names)[:3] == ["online_adaptation", "random_shooting", "cem"]
            assert page.js("document.querySelectorAll('#results th')[1].ariaSort") == "descending"
            page.press("Enter")
            assert page.js(names)[0] == "svdd" and page.js(names)[-1] == "online_adaptation"
            # A name stays in sight while numbers are scrolled.
            page.js("document.querySelector('#results .wide').scrollLeft = 150")
            left = page.js("document.querySelector('#results td').getBoundingClientRect().left")
            assert abs(left - page.js("document.querySelector('#results .wide').getBoundingClientRect().left")) < 2
            page.js(
                "const asked = document.querySelector('.tools input'); asked.value = 'ADAPT 100';"
                "asked.dispatchEvent(new Event('input'))"
            )
            assert page.js(names) == ["online_adaptation"]
            # What is saved is what is shown.
            page.js(
                "URL.createObjectURL = (blob) => { blob.text().then((text) => { window.saved = text; }); return '#'; }"
            )
            for kind, begins in (("CSV", '"planner","success % [95 %]"'), ("LaTeX", "\\begin{tabular}{lr")):
                page.js(
                    "window.saved = ''; [...document.querySelectorAll('.tools button')]"
                    f".find(b => b.textContent === '{kind}').click()"
                )
                page.wait("window.saved")
                saved = page.js("window.saved")
                assert saved.startswith(begins) and "cem" not in saved
            assert "online\\_adaptation & 100 [" in saved and "\\%" in saved
            page.js("document.querySelector('nav a[href=\"#comparisons\"]').click()")
            page.wait("document.querySelector('#comparisons details').open")
            page.wait("[...document.images].every(i => i.complete)")
            assert page.js("[...document.images].every(i => i.naturalWidth > 100)")
            assert min(ratio for ratio, _ in page.js(CONTRASTS)) >= 4.5
        assert not page.complaints


@pytest.mark.parametrize(
    ("ours", "theirs", "begins"),
    [
        (
            4,
            1,
            "Adaptation is above the best rival: adaptation succeeds in 100 %, random_shooting 25 %; difference +75 [",
        ),
        (
            0,
            3,
            "Adaptation is below the best rival: adaptation succeeds in 0 %, random_shooting 75 %; difference -75 [",
        ),
        (3, 3, "No difference from the best rival is shown: adaptation succeeds in 75 %, random_shooting 75 %"),
    ],
)
def test_the_headline_is_by_the_rule_of_verdicts(ours: int, theirs: int, begins: str) -> None:
    share = {"online_adaptation": ours, "random_shooting": theirs, "static": 0}
    (group,) = groups(_rows(5, share))
    assert headline([group]).startswith(begins)
    best = against_best(group)
    assert best is not None and best["rival"] == "random_shooting"
    (few,) = groups(_rows(3))
    assert headline([few]).startswith("No verdict (3 seeds, 5 are needed): adaptation succeeds in 100 %")
    assert headline([group, few]).startswith("Adaptation in 2 experiments: ")
    assert headline([few, few]) == "Adaptation in 2 experiments: no verdict in 2 (3 seeds, 5 are needed)."


def test_forms_of_the_method_are_no_rivals_and_returns_stand_in_for_success() -> None:
    (group,) = groups(_rows(5, {"online_adaptation": 3, "adaptation_draw": 4, "static": 1}))
    best = against_best(group)
    assert best is not None and (best["rival"], best["metric"]) == ("static", "success")
    untold = [row | {"success": None} for row in _rows(5, {"online_adaptation": 3, "static": 1})]
    (group,) = groups(untold)
    assert "adaptation returns 304, static 104; difference +200" in headline([group])
    assert "there is no verdict" in headline(groups(_rows(5, {"static": 1})))


def test_over_tasks_runs_are_seeds_within_tasks() -> None:
    """Two tasks of two seeds: runs 0.5, 0.5, 1, 1; the stratified bootstrap never leaves a task out."""
    rows = _rows(2, {"static": 2}, settings={"a": 1}) + _rows(2, {"static": 4}, settings={"a": 2})
    scores = of_tasks(groups(rows))
    assert scores["static"].tolist() == [[0.5, 0.5], [1.0, 1.0]]
    found = aggregate(scores)["static"]
    assert found["iqm"] == interquartile_mean(scores["static"].reshape(-1)) == 0.75
    assert found["interval"] == [0.75, 0.75]  # the seeds of a task agree
    assert of_tasks(groups(_rows(2))) == {}  # one task
