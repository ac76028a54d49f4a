"""Goals that are told as a state: how far a state is from it, in the model's own cumulants."""

import numpy as np

from owma._internal.tree import map_rows
from owma._internal.types import Float, HostArray
from owma.outcomes.features import AbstractFeatures
from owma.outcomes.tasks import AbstractRewardTask
from owma.outcomes.whitening import Standardisation
from owma.outcomes.world import WorldModel


class StateGoalTask(AbstractRewardTask):
    r"""$r = -\|c(s') - c(g)\|$, g the observation of a state that is to be reached, c a model's cumulants.

    Of `hilbert` cumulants that is minus the number of steps from s' to g, discounted (Park et al. 2024, arXiv
    2402.15567): a slope that leads there from anywhere, and of no task's making. Of `fourier` ones it is
    $-\sqrt{2 - 2k(s', g)}$, k being their Gaussian kernel: flat farther than a few of their length scales away.
    """

    goal: Float[HostArray, " obs"]
    observation: Standardisation
    features: AbstractFeatures

    @classmethod
    def of(cls, world: WorldModel, goal: Float[HostArray, " obs"]) -> "StateGoalTask":
        """**Arguments:** `goal`: an observation, as the model was trained on."""
        return cls(np.asarray(goal, np.float32), world.observation, world.features)

    @property
    def name(self) -> str:
        return "distance to the goal"

    def label(
        self, obs: Float[HostArray, "n obs"], action: Float[HostArray, "n act"], next_obs: Float[HostArray, "n obs"]
    ) -> Float[np.ndarray, " n"]:
        del obs, action
        return self.of_cumulants(self.cumulants(next_obs))

    def cumulants(self, obs: Float[HostArray, "n obs"]) -> Float[np.ndarray, "n features"]:
        """c of every row."""
        return map_rows(lambda state: self.features(self.observation(state)), np.asarray(obs))

    def of_cumulants(self, cumulants: Float[np.ndarray, "n features"]) -> Float[np.ndarray, " n"]:
        """The rewards of states with these cumulants: of many goals, `cumulants` need be computed once only."""
        return -np.linalg.norm(cumulants - self.cumulants(self.goal[None]), axis=1)
