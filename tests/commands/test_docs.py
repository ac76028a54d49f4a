"""`owma docs`, and `help` of what it shows: every public name is there, with what is said of its fields."""

import importlib.util
import inspect
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

import owma
import owma.docs.__main__
from owma.docs.site import GUIDES, faults, public_names

needs_pdoc = pytest.mark.skipif(importlib.util.find_spec("pdoc") is None, reason="pdoc is in the extra `docs`")


def test_help_shows_what_is_said_of_fields() -> None:
    shown = pydoc.plain(pydoc.render_doc(owma.OnlineAdaptation))
    assert "level_share: Of `readout` and `level`: the share of noise levels that adapt, noisiest first" in shown
    assert (inspect.getdoc(owma.AgentModel) or "").startswith("The trained models of an agent,")
    assert "NOT_FINITE: Fallback: a NaN or an infinity" in (inspect.getdoc(owma.PlanResult) or "")
    assert "Attributes" not in (inspect.getdoc(owma.Static) or ""), "it has none"


def test_a_fields_docstring_is_read_when_help_asks_for_it() -> None:
    code = "import sys, owma; assert 'owma._internal.help' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(owma.__file__).parent.parent).returncode == 0


def test_without_pdoc_it_says_what_to_install(invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'owma[docs]'" in invoke(owma.docs.__main__.main, "--out", tmp_path).refused()
    assert not any(tmp_path.iterdir())


@needs_pdoc
@pytest.mark.slow
def test_every_public_name_has_its_place(invoke, tmp_path: Path) -> None:
    done = invoke(owma.docs.__main__.main, "--out", tmp_path, "--check")
    assert done.code == 0 and Path(done.stdout.strip()) == tmp_path / "guide.html"
    assert set(public_names(owma)) == set(vars(owma)["__all__"])
    page, planners = ((tmp_path / name).read_text() for name in ("owma.html", "owma/planners.html"))
    assert 'id="OnlineAdaptation.level_share"' in page and "the share of noise levels that adapt" in page
    assert page.count("the share of noise levels that adapt") == 1, "once, at the field"
    assert 'id="Run.agent"' in page and "<math" in page and "\\hat" not in page
    for guide in GUIDES:
        loaded = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="([^"]*)', (tmp_path / f"{guide}.html").read_text())
        assert not [address for address in loaded if ":" in address], "nothing is of a network"
    (tmp_path / "owma" / "planners.html").write_text(planners.replace('id="CEM"', ""))
    (tmp_path / "data.html").write_text('<a href="owma.html#NoSuchName">x</a> <a href="gone.html">y</a>')
    found = faults(tmp_path)
    assert found[0] == "owma.planners: CEM is not there"
    assert {"data.html: owma.html#NoSuchName leads nowhere", "data.html: gone.html leads nowhere"} < set(found)
