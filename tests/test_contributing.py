"""The extensions that CONTRIBUTING.md shows are run, with the shapes that they promise checked, and type-checked."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import install_import_hook

CONTRIBUTING = Path(__file__).parent.parent / "CONTRIBUTING.md"
BOUNDS = CONTRIBUTING.parent / "owma" / "agent" / "README.md"


def _blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", CONTRIBUTING.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("extensions") / "extensions_of_a_user.py"
    file.write_text("\n\n".join(_blocks()))
    return file


@pytest.fixture(scope="module")
def extensions(file: Path) -> ModuleType:
    """All examples as one module, below the hook that a user would install."""
    sys.path.insert(0, str(file.parent))
    try:
        with install_import_hook(file.stem, "beartype.beartype"):
            return importlib.import_module(file.stem)
    finally:
        sys.path.remove(str(file.parent))


def test_examples_are_short() -> None:
    assert [len(block.splitlines()) <= 40 for block in _blocks()] == [True] * 5


def test_the_bounds_of_dependencies_are_those_of_pyproject() -> None:
    # What is installed with owma, and by the extras of users; of a package without an upper bound the table on the
    # controller's page says so.
    project = tomllib.loads((CONTRIBUTING.parent / "pyproject.toml").read_text())["project"]
    of_users = [
        text
        for name, texts in project["optional-dependencies"].items()
        if name not in ("test", "dev")
        for text in texts
    ]
    rows = re.findall(r"^\| (?P<packages>[^|]+) \| (?P<bound>[^|]+) \|", BOUNDS.read_text(), re.MULTILINE)
    bounds = {package: bound for packages, bound in rows for package in re.findall(r"[A-Za-z][\w-]*", packages)}
    for text in project["dependencies"] + of_users:
        name, bound = re.fullmatch(r"([\w-]+)(?:\[.*\])?(.*)", text).groups()  # type: ignore[union-attr]
        said = bounds[name].replace(" ", "")
        assert said == bound or (said == "loweronly" and "<" not in bound), text


def test_the_divergence(getkey, extensions, gaussian_model) -> None:
    # A move of the mean by (1, 0.5) against variances (2, 0.5): (1/2 + 0.25/0.5)/2 = 0.5.
    from owma.adaptation import AllParameters

    problem = gaussian_model([1.0, 0.0], [2.0, 0.5], [1.0, 1.0]).problem(jnp.zeros(2), jnp.asarray(1.0))
    delta = eqx.tree_at(lambda d: d.mean, AllParameters().zeros(problem.denoiser), jnp.asarray([1.0, 0.5]))
    noise = problem.noise(20_000, key=getkey())
    samples, values = problem.draw(delta, noise, with_reference=False)
    kl = extensions.MomentKL()(problem, delta, samples, values, noise, key=getkey())
    # Common noise: the only error is that of the variance, 1 %, and the chain's own 3 %.
    assert float(kl) == pytest.approx(0.5, rel=0.05)
    with pytest.raises(Exception, match="values"):  # the hook is in place
        extensions.MomentKL()(problem, delta, samples, values[:, None], noise, key=getkey())


def test_the_gradient_estimator(getkey, extensions, gaussian_model) -> None:
    from owma.adaptation import AllParameters, PathKL, Reparameterised

    problem = gaussian_model([1.0, 0.0], [2.0, 0.5], [0.5, 1.0]).problem(jnp.zeros(2), jnp.asarray(0.5))
    delta, noise = AllParameters().zeros(problem.denoiser), problem.noise(64, key=getkey())
    strategies, through = (
        estimator(problem, delta, PathKL(), noise, key=getkey()).gradient
        for estimator in (extensions.EvolutionStrategies(num_directions=256, radius=0.02), Reparameterised())
    )
    a, b = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in (strategies, through))
    # Four coordinates and 256 directions: an angle of about sqrt(4/256) or less.
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.97
    assert extensions.EvolutionStrategies(num_directions=4).nfe_per_draw(PathKL().extra_nfe, 11) == 9 * 11 * 2


def test_all_parts_in_a_planner(getkey, extensions, gaussian_model) -> None:
    # J₀ = 0.5 and J* = 0.5 + 1/(2·0.5) = 1.5 as in test_rivals; ten steps without a derivative of V get most of it.
    import owma

    model = gaussian_model([1.0, 0.0], [2.0, 0.5], [0.5, 1.0])
    planner = extensions.with_parts(
        owma.OnlineAdaptation(kl_coef=0.5),
        divergence=extensions.MomentKL(),
        gradient=extensions.EvolutionStrategies(),
        delta_filter=extensions.VectorParameters(),
    )

    @eqx.filter_jit
    @jax.vmap
    def plan(key):
        return planner.plan(model, jnp.zeros(2), planner.init(model), key=key)[2]

    info = plan(jax.random.split(getkey(), 200))
    assert set(np.asarray(info.result)) == {owma.PlanResult.PLANNED}
    attained = np.asarray(info.value - 0.5 * info.kl) - 0.5
    assert 0.7 < attained.mean() < 1 + 3 * attained.std() / np.sqrt(200)


def test_the_planner(getkey, extensions, gaussian_model) -> None:
    model = gaussian_model([0.0], [1.0], [1.0])
    planner = extensions.TopShare(num_samples=100, share=0.1).build()
    _, _, info = eqx.filter_jit(jax.vmap(lambda key: planner.plan(model, jnp.zeros(1), None, key=key)))(
        jax.random.split(getkey(), 300)
    )
    np.testing.assert_allclose(info.kl, np.log(10), rtol=1e-6)
    # The mean of the upper tenth of a standard normal: φ(1.2816)/0.1 = 1.755, of spread 0.41.
    assert float(jnp.mean(info.value)) == pytest.approx(1.755, abs=4 * 0.45 / np.sqrt(300) + 0.03)


@pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="pyright is in the extra `dev`")
def test_pyright_has_nothing_to_say(file: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, str(file)],
        cwd=file.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert checked.returncode == 0, checked.stdout
