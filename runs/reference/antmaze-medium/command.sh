# 26 minutes a training on one core of two, 25 on both for a seed to evaluate; eight to collect
python -m owma.sweep planners --base antmaze-medium --name antmaze-medium --seeds 1 2 3 \
    --overrides evaluation.episodes=16 evaluation.timed_decisions=0 task.falloff=2 evaluation.kl_coef=null --timed-decisions 0
