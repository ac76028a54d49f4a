"""The configuration of cumulants."""

import dataclasses
import math
from typing import Literal

from owma._internal.errors import ConfigError
from owma.config.json import later_field

MOST_MONOMIALS = 4096


@dataclasses.dataclass(frozen=True)
class FeatureTrainingConfig:
    """Training of learned cumulants, before all else: by the train command, on the run's dataset."""

    updates: int = 5_000
    """Gradient steps."""
    batch_size: int = 512
    """Transitions in each."""
    learning_rate: float = 1e-3
    """Peak of a cosine that ends at zero."""
    ema_decay: float = 0.995
    """Of the averaged weights, which are what is kept, and `hilbert`'s targets."""
    discount: float = 0.99
    """gamma of `hilbert`, in (0, 1): distances saturate at 1/(1 - gamma) steps."""
    expectile: float = 0.95
    """Of `hilbert`, in [0.5, 1): how near to the shortest of the recorded ways."""
    n_step: int = later_field(1)
    """Of `hilbert`: recorded steps that are counted before the target network is asked. Distances grow by at most as
    many in the time that it takes to follow the weights, 1/(1 - ema_decay) updates."""
    report_every: int = 500
    """Updates between two rows of metrics, and two checkpoints."""

    def __post_init__(self) -> None:
        for name in ("updates", "batch_size", "report_every", "n_step"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)}: must be at least 1.")
        if not 0 < self.discount < 1:
            raise ConfigError(f"discount={self.discount}: must lie strictly between 0 and 1.")
        if not 0.5 <= self.expectile < 1:
            raise ConfigError(f"expectile={self.expectile}: must be at least 0.5 and less than 1.")


@dataclasses.dataclass(frozen=True)
class FeaturesConfig:
    """Which cumulants c(s) the outcomes add up."""

    kind: Literal["identity", "fourier", "polynomial", "random", "reward", "laplacian", "dynamics", "hilbert"] = (
        "fourier"
    )
    """`identity`: c(s) = s, standardised. `fourier`: sqrt(2/d) cos(Ws + b), random W and b. `polynomial`: all products
    of up to `degree` coordinates. `random`: an untrained network. `reward`: the recorded reward alone. Learned on the
    dataset: `laplacian`, the smoothest functions along its transitions; `dynamics`, what the next state is predicted
    from; `hilbert`, coordinates in which distances are steps."""
    num_features: int = 64
    """d, for all but `identity`, `polynomial` and `reward`."""
    bandwidth: float = 3.0
    """Length scale of `fourier` and `random` in standard deviations of the observation."""
    degree: int = later_field(2)
    """Of `polynomial`."""
    width: int = later_field(256)
    """Units in each hidden layer, of `random` and of learned ones."""
    depth: int = later_field(2)
    """Hidden layers, likewise."""
    coordinates: int = later_field(0)
    """How many of the observation's coordinates the cumulants are functions of; 0: of all. In AntMaze the first two are
    the position. Not for learned ones and `reward`."""
    first_coordinate: int = later_field(0)
    """The first of them, counted from 0: the leading ones, unless told otherwise."""
    pretraining: FeatureTrainingConfig = later_field(FeatureTrainingConfig())

    def __post_init__(self) -> None:
        for name in ("num_features", "degree", "width", "depth"):
            if getattr(self, name) < 1:
                raise ConfigError(f"features.{name}={getattr(self, name)}: must be at least 1.")
        if self.coordinates < 0 or (self.coordinates and (self.is_learned or self.kind == "reward")):
            raise ConfigError(
                f"features.coordinates={self.coordinates}: must be 0, or for kinds identity, fourier, polynomial and "
                "random how many coordinates count."
            )
        if self.first_coordinate < 0 or (self.first_coordinate and not self.coordinates):
            raise ConfigError(
                f"features.first_coordinate={self.first_coordinate}: must not be negative, and needs "
                "features.coordinates, how many count from there on."
            )

    @property
    def is_learned(self) -> bool:
        """Whether they are trained on the dataset before the outcome model is."""
        return self.kind in ("laplacian", "dynamics", "hilbert")

    @property
    def looked_at(self) -> slice:
        """The coordinates that the cumulants are functions of."""
        stop = self.first_coordinate + self.coordinates
        return slice(self.first_coordinate, stop) if self.coordinates else slice(None)

    def size(self, obs_dim: int) -> int:
        """How many cumulants there are, of observations of `obs_dim` numbers."""
        dims = self.coordinates or obs_dim
        if self.kind == "polynomial":
            return math.comb(dims + self.degree, self.degree) - 1
        return {"identity": dims, "reward": 1}.get(self.kind, self.num_features)

    def check(self, obs_dim: int) -> None:
        """Raises `ConfigError` where observations of `obs_dim` numbers have fewer coordinates than are asked for, or
        too many products.
        """
        start, stop = self.first_coordinate, self.first_coordinate + self.coordinates
        if stop > obs_dim:
            first = f" from {start} on" if start else ""
            remedy = f"{'--world.features.first-coordinate 0 ' if start else ''}--world.features.coordinates 0"
            raise ConfigError(
                f"--world.features.coordinates={self.coordinates}{first}: the observations have {obs_dim}; ask for no "
                f"more, or pass {remedy} for all of them."
            )
        if self.kind == "polynomial" and (count := self.size(obs_dim)) > MOST_MONOMIALS:
            raise ConfigError(
                f"--world.features.degree={self.degree}: {self.coordinates or obs_dim} coordinates have {count:,} "
                f"products of that degree, more than {MOST_MONOMIALS:,}; lower it, or pass --world.features.kind "
                "fourier."
            )
