"""Online world-model adaptation: offline RL that bends its model of outcomes toward the task, at every decision."""
# ruff: noqa: I001  (in the order of the layers)

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from owma._internal.version import __version__ as __version__
    from owma._internal.errors import (
        CheckpointError as CheckpointError,
        ConfigError as ConfigError,
        DatasetError as DatasetError,
        OwmaError as OwmaError,
    )
    from owma.outcomes.features import (
        AbstractFeatures as AbstractFeatures,
        FeaturesConfig as FeaturesConfig,
        FeatureTrainingConfig as FeatureTrainingConfig,
    )
    from owma.outcomes.transitions import Transitions as Transitions
    from owma.diffusion import AbstractDenoiser as AbstractDenoiser
    from owma.outcomes.tasks import (
        AbstractTask as AbstractTask,
        GoalTask as GoalTask,
        LabelledTask as LabelledTask,
        PreferenceTask as PreferenceTask,
        RecordedTask as RecordedTask,
        RewardTask as RewardTask,
    )
    from owma.config.policy import PolicyConfig as PolicyConfig
    from owma.outcomes.pessimism import AbstractPessimism as AbstractPessimism, LowerBound as LowerBound
    from owma.outcomes.policy import ReadoutPolicy as ReadoutPolicy
    from owma.outcomes.value import (
        AbstractValue as AbstractValue,
        EnsembleValue as EnsembleValue,
        LinearValue as LinearValue,
        TaskValue as TaskValue,
        ValueDecoder as ValueDecoder,
        infer_task as infer_task,
    )
    from owma.config.value import ValueConfig as ValueConfig
    from owma.config.world import WorldConfig as WorldConfig
    from owma.outcomes.world import WorldModel as WorldModel
    from owma.adaptation import (
        AbstractAscent as AbstractAscent,
        AbstractCorrection as AbstractCorrection,
        AbstractDeltaFilter as AbstractDeltaFilter,
        AbstractDivergence as AbstractDivergence,
        AbstractGradient as AbstractGradient,
    )
    from owma.planners import (
        PUBLISHED as PUBLISHED,
        AbstractPlanner as AbstractPlanner,
        AbstractPlannerConfig as AbstractPlannerConfig,
        AgentModel as AgentModel,
        CEM as CEM,
        CEMPlanner as CEMPlanner,
        FKSteering as FKSteering,
        FKSteeringPlanner as FKSteeringPlanner,
        GuidedDiffusion as GuidedDiffusion,
        GuidedDiffusionPlanner as GuidedDiffusionPlanner,
        NoiseOptimization as NoiseOptimization,
        NoiseOptimizationPlanner as NoiseOptimizationPlanner,
        OnlineAdaptation as OnlineAdaptation,
        OnlineAdaptationPlanner as OnlineAdaptationPlanner,
        PlanInfo as PlanInfo,
        PlanResult as PlanResult,
        RandomShooting as RandomShooting,
        RandomShootingPlanner as RandomShootingPlanner,
        Static as Static,
        StaticPlanner as StaticPlanner,
        SVDD as SVDD,
        SVDDPlanner as SVDDPlanner,
        TiltedResampling as TiltedResampling,
        TiltedResamplingPlanner as TiltedResamplingPlanner,
        TwistedSMC as TwistedSMC,
        TwistedSMCPlanner as TwistedSMCPlanner,
    )
    from owma.planners.adapt import Adapted as Adapted, adapt as adapt
    from owma.agent.act import Agent as Agent, AgentState as AgentState, StepInfo as StepInfo
    from owma.agent.export import (
        ExportedAgent as ExportedAgent,
        ExportedInfo as ExportedInfo,
        export_agent as export_agent,
        load_exported as load_exported,
    )
    from owma.data import (
        AntMazeCollect as AntMazeCollect,
        HopperCollect as HopperCollect,
        OfflineDataset as OfflineDataset,
        OGBenchMazeCollect as OGBenchMazeCollect,
        OGBenchNoisyCollect as OGBenchNoisyCollect,
        OGBenchPlayCollect as OGBenchPlayCollect,
        PointMazeCollect as PointMazeCollect,
        StitchCollect as StitchCollect,
        TwoRoutesCollect as TwoRoutesCollect,
        load_minari as load_minari,
    )
    from owma.config.data import ArrayFolder as ArrayFolder, D4rlFile as D4rlFile, OgbenchFile as OgbenchFile
    from owma.config.task import (
        GoalTaskConfig as GoalTaskConfig,
        LabelledTaskConfig as LabelledTaskConfig,
        MinariDataset as MinariDataset,
        PreferenceTaskConfig as PreferenceTaskConfig,
        RecordedTaskConfig as RecordedTaskConfig,
        RewardTaskConfig as RewardTaskConfig,
    )
    from owma.config.training import TrainingConfig as TrainingConfig
    from owma.config.experiment import EvaluationConfig as EvaluationConfig, ExperimentConfig as ExperimentConfig
    from owma.runs.rows import EpisodeRow as EpisodeRow
    from owma.api.evaluate import evaluate as evaluate
    from owma.api.run import Run as Run, load as load
    from owma.api.fit import fit as fit
else:
    # JAX, and what stands on it, takes seconds to import: nothing of it is until a name is asked for, so that commands
    # read their flags first.
    from owma._internal.lazy import on_demand as _on_demand
    from owma._internal.moved import find_old_modules as _find_old_modules

    _find_old_modules()

    __getattr__, __dir__, __all__ = _on_demand(__name__)
