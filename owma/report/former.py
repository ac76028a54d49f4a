"""What explorers of earlier versions have kept in their pages, in today's form."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from owma.envs import MAZE_MAP
from owma.report.futures import packed


def as_now(decisions: Mapping[str, Any]) -> dict[str, Any]:
    """Of one λ, without ways on the map: the states alone are there, where it was the two-route maze."""
    states = []
    for state in decisions["states"]:
        plan = {
            "value": [float(np.mean(values)) for values in state["values"]],
            "kl": state["kl"],
            "objective": state["objective"],
            "values": packed(np.asarray(state["values"]), bits=8),
            "psi": packed(np.asarray(state["psi"])),
            "chosen": state["plan"],
        }
        kept = {key: state[key] for key in ("step", "position", "optimum")}
        states.append(kept | {"plans": [plan]})
    told = {"kl_coefs": [decisions["kl_coef"]], "own": 0, "value_scale": decisions["value_scale"], "states": states}
    if "maze" in decisions:
        half = len(MAZE_MAP) / 2
        walls = [[int(cell == 1) for cell in row] for row in decisions["maze"]]
        told["map"] = {"box": [-half, -half, half, half], "walls": walls, "side": 1.0}
    return told
