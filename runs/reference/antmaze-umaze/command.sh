# on one core of two: 26 minutes a training, 14 to 20 a seed to evaluate; eight to collect
python -m owma.sweep planners --base antmaze-umaze --name antmaze-umaze --seeds 1 2 3 \
    --overrides evaluation.episodes=16 evaluation.timed_decisions=0 task.falloff=2 --timed-decisions 0
