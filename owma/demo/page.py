"""The page of `owma demo`, from the numbers that `owma.demo.told` has written."""

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from owma.report.page import asset, templates

TOLD = "told.json"
"""The numbers that are shipped, beside this file."""


def shipped() -> dict[str, Any]:
    """The numbers of the model that comes with owma."""
    return json.loads(resources.files("owma.demo").joinpath(TOLD).read_text(encoding="utf-8"))


def page(told: Mapping[str, Any]) -> str:
    """A whole document, complete without any other file. `told`: as `owma.demo.told.tell` returns it."""
    own = told["episodes"]["after"][told["own"]]
    trained = told["run"]
    return (
        templates("owma.demo")
        .get_template("demo.html")
        .render(
            title=headline(told),
            style=asset("explorer.css") + asset("demo.css", "owma.demo"),
            code=asset("outcomes.js") + asset("demo.js", "owma.demo"),
            told=told,
            draws=told["draws"],
            balls=own["of"],
            ms=f"{told['ms']:.0f}",
            model=f"{trained['updates']:,} updates, seed {trained['seed']}",
        )
    )


def headline(told: Mapping[str, Any]) -> str:
    """What the page shows, in a sentence or two; it promises no more than the balls do."""
    own = told["episodes"]["after"][told["own"]]
    share = f"{100 * told['recorded']['lower']:.2g} of 100 recordings take the lower way."
    if own["success"] > own["of"] / 2:
        return f"Only {share} Told that it pays, the agent takes it, without retraining."
    return f"{share} Told that it pays, the agent takes it in {own['success']} of {own['of']} tries."
