"""`owma demo`: the page that it ships is whole, small, usable by keyboard, and promises no more than its balls do."""

import copy
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from browser import CONTRASTS, browser
from PIL import Image

import owma
from owma._internal.errors import CheckpointError
from owma.config.planners import Static
from owma.demo import hero
from owma.demo.drawing import decision_svg
from owma.demo.model import MODEL, demo_agent
from owma.demo.page import headline, page, shipped
from owma.report.futures import packed_counts

ROOT = Path(owma.__file__).parent.parent


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("demo") / "page.html"
    file.write_text(page(shipped()))
    return file


def test_the_command_writes_the_page_and_computes_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "owma.demo", "--no-open"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout == "owma-demo.html\n", done.stderr
    assert (tmp_path / "owma-demo.html").read_text() == page(shipped())
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time")}
    assert "jinja2" in imported and not imported & {"jax", "numpy", "gymnasium", "matplotlib"}


def test_it_is_small_and_holds_everything_itself(file: Path) -> None:
    text = file.read_text()
    assert len(text.encode()) < 1e6 and MODEL.stat().st_size < 1e6
    targets = re.findall(r"(?:src|href)=[\"']([^\"']*)", text)
    assert targets and all(target.startswith(("data:", "#")) for target in targets)
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_the_first_screen_says_it_and_the_keyboard_does_it(file: Path) -> None:
    told = shipped()
    plan, last = told["states"][0]["plans"][told["own"]], len(told["states"][0]["plans"][0]["kl"]) - 1
    with browser() as shown:
        for width in (1280, 400):
            shown.show(width, 800, prefers_reduced_motion="reduce")
            shown.go(file.as_uri())
            assert shown.js("innerWidth") == width and shown.js("document.documentElement.scrollWidth") <= width
            names = ("data-share", "after-share", "said", "step-is")
            text = {name: f"document.getElementById('{name}').textContent" for name in names}
            # At first: what was recorded, expected, and expected after the last step, with no key pressed.
            assert shown.js(text["after-share"]) == f"{100 * plan['lower'][last]:.0f} %"
            assert shown.js(text["data-share"]) == "2 %"
            focused = []
            for _ in range(5):
                shown.press("Tab")
                focused.append(shown.js("document.activeElement.id || document.activeElement.tagName"))
            assert focused == ["play", "step", "lambda", "SUMMARY", "SUMMARY"]
            shown.js("document.getElementById('step').focus()")
            shown.press("Home")
            assert shown.js(text["after-share"]) == f"{100 * plan['lower'][0]:.0f} %"
            assert shown.js("document.querySelectorAll('#of-task .way.after').length") == 0
            shown.press("ArrowRight")
            assert shown.js(text["said"]).startswith("After 1 adaptation step, at λ = ")
            shown.js("document.getElementById('lambda').focus()")
            shown.press("Home")
            assert "at λ = 5: " in shown.js(text["said"])
            shown.js("document.getElementById('play').focus()")
            shown.press("Space")
            assert shown.js(text["step-is"]) == f"{last} of {last}"  # at once, where motion is not wanted
            unnamed = (
                "[...document.querySelectorAll('input, button')].filter((e) => !e.labels?.length && !e.textContent)"
            )
            assert shown.js(f"{unnamed}.length") == 0
        assert not shown.complaints


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(file: Path, scheme: str) -> None:
    with browser() as shown:
        shown.show(1280, 800, prefers_color_scheme=scheme)
        shown.go(file.as_uri())
        shown.js("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
        contrasts = shown.js(CONTRASTS)
        assert len(contrasts) > 25 and min(contrasts)[0] >= 4.5, min(contrasts)


def test_the_balls_go_by_themselves_unless_motion_is_not_wanted(file: Path) -> None:
    where = "document.querySelector('#of-task .ball').getAttribute('cy')"
    with browser() as shown:
        shown.show(1280, 800)
        shown.go(file.as_uri())
        start = shown.js(where)
        shown.wait(f"{where} !== '{start}'")
        shown.show(1280, 800, prefers_reduced_motion="reduce")
        shown.go(file.as_uri())
        assert shown.js(f"new Promise((done) => setTimeout(() => done({where}), 1500))") == start


def test_the_headline_promises_no_more_than_the_balls_do() -> None:
    told = copy.deepcopy(shipped())
    own = told["episodes"]["after"][told["own"]]
    own["success"] = own["of"]
    assert headline(told).endswith("the agent takes it, without retraining.")
    own["success"] = 1
    assert headline(told).endswith(f"the agent takes it in 1 of {own['of']} tries.")


def test_the_moving_picture_says_the_same_where_it_stands_still(tmp_path: Path, monkeypatch) -> None:
    assert (hero._HELD + 11 * hero._HELD_STEP + hero._ROLLING + 5) / hero.FRAMES_PER_SECOND == pytest.approx(6, abs=0.1)
    for name, frames in (("_ROLLING", 2), ("_HELD", 1), ("_HELD_STEP", 1)):
        monkeypatch.setattr(hero, name, frames)
    told = copy.deepcopy(shipped())
    plan = told["states"][0]["plans"][told["own"]]
    plan["kl"], plan["lower"] = plan["kl"][:2], plan["lower"][:2]
    plan["draws"] = packed_counts(hero.unpacked(plan["draws"]).astype(int)[: 2 * told["draws"]].tolist())
    picture: Any = Image.open(hero.moving_picture(told, tmp_path / "new" / "hero.gif"))
    with picture:
        assert picture.size == (960, 390) and picture.info["loop"] == 0
        first = np.asarray(picture.convert("RGB")).astype(int)
        picture.seek(1)
        assert np.abs(np.asarray(picture.convert("RGB")) - first).max() > 50
        picture.seek(picture.n_frames - 1)
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), first)
    assert (ROOT / "runs" / "reference" / "demo" / "hero.gif").stat().st_size < 1e6


def test_the_drawing_of_a_decision_is_of_what_is_shipped() -> None:
    told = shipped()
    drawn = decision_svg(told)
    assert drawn == (ROOT / "runs" / "reference" / "demo" / "decision.svg").read_text(), "owma demo --drawing draws it"
    plan = told["states"][0]["plans"][told["own"]]
    plan["lower"][-1], plan["kl"][-1] = 0.5, 3.0
    assert ">50 %, at 3.0 nats</text>" in decision_svg(told) and ">50 %" not in drawn
    # On a screen of 400 pixels the least letters are ten high; each ink has another where the page is dark.
    sizes = [float(size) for size in re.findall(r'font-size[=:]"?([\d.]+)', drawn)]
    assert min(sizes) * 400 / float(re.findall(r'viewBox="0 0 (\d+)', drawn)[0]) >= 10
    light, dark = (dict(re.findall(r"\.(\w+)\{fill:(#\w+)\}", part)) for part in drawn.split("@media"))
    assert light.keys() == dark.keys() and all(light[role] != dark[role] for role in light)


def test_what_is_shipped_agrees_with_itself() -> None:
    told = shipped()
    assert told["kl_coefs"] == sorted(told["kl_coefs"], reverse=True) and max(told["kl_coefs"]) == 5.0
    assert min(told["kl_coefs"]) == 0.1 and len(told["episodes"]["after"]) == len(told["kl_coefs"])
    for plan in told["states"][0]["plans"]:
        # Nothing is adapted yet; and every λ begins from the same model.
        assert abs(plan["kl"][0]) < 1e-6 and plan["lower"][0] == told["states"][0]["plans"][0]["lower"][0]
        assert all(0 <= share <= 1 for share in plan["lower"])


def test_the_shipped_model_acts() -> None:
    agent = demo_agent(Static())
    obs = np.array([*shipped()["start"], 0.0, 0.0], np.float32)
    action, _, info = agent.act(obs, agent.init(), key=jax.random.key(0))
    assert action.shape == (2,) and np.abs(action).max() <= 1 and np.isfinite(float(info.plan.value))
    assert float(info.plan.kl) == 0.0


def test_a_model_that_is_torn_or_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "torn.npz").write_bytes(MODEL.read_bytes()[:1000])
    arrays = dict(np.load(MODEL))
    arrays.pop(next(name for name in arrays if name.startswith("policy")))
    np.savez(tmp_path / "less.npz", **arrays)
    for name in ("torn.npz", "less.npz", "none.npz"):
        with pytest.raises(CheckpointError, match=f"{name} cannot be read"):
            demo_agent(path=tmp_path / name)
