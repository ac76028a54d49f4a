"""`runs/quickstart.ipynb` is a notebook whose outputs are there, small, and what its cells give."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from documents import CHECKOUT
from notebooks import code_cells, read

QUICKSTART = CHECKOUT / "runs" / "quickstart.ipynb"


def _printed(notebook: dict) -> str:
    outputs = [output for cell in code_cells(notebook) for output in cell["outputs"]]
    return "".join(line for output in outputs for line in output.get("text", ()))


def test_its_cells_parse_and_its_outputs_are_there() -> None:
    notebook = read(QUICKSTART)
    assert notebook["nbformat"] == 4 and QUICKSTART.stat().st_size < 300_000
    cells = code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        ast.parse("".join(cell["source"]))
    kinds = [output["output_type"] for cell in cells for output in cell["outputs"]]
    assert kinds.count("display_data") == 2 and "error" not in kinds and cells[-1]["outputs"]
    # What the words beside it say: near the data at a large λ, where the task pays at a smaller one.
    table = re.findall(r"λ = ([\d.]+) +(\d+) +\S+ +\S+ +([\d.]+)\n", _printed(notebook))
    prices, success, nats = np.array(table, float).T
    assert prices.tolist() == [5.0, 1.0, 0.25] and success[0] < 40 < 60 < success[1] and (np.diff(nats) > 0).all()
    for target in re.findall(r"\]\(([^)#]+)", json.dumps(notebook, ensure_ascii=False)):
        assert (QUICKSTART.parent / target).exists(), target


@pytest.mark.slow
def test_it_runs_and_says_what_it_said(tmp_path: Path) -> None:
    made = tmp_path / "quickstart.ipynb"
    made.write_text(QUICKSTART.read_text())
    script = CHECKOUT / "tests" / "notebooks.py"
    subprocess.run([sys.executable, script, made], check=True, timeout=290, cwd=CHECKOUT)
    told, before = _printed(read(made)), _printed(read(QUICKSTART))
    # Its words, and to a tenth R^2 of the value: other processors round otherwise.
    words = [re.sub(r"-?\d+(\.\d+)?", "#", text).split() for text in (told, before)]
    assert words[0] == words[1]
    (now,), (then,) = (re.findall(r"linear (\d\.\d+)", text) for text in (told, before))
    assert abs(float(now) - float(then)) < 0.1
