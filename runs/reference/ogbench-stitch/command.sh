# extra `ogbench`; on one core of two: seven minutes a training, about 18 a seed to evaluate
python -m owma.sweep planners --base ogbench-stitch --name ogbench-stitch --seeds 1 2 3 \
    --overrides evaluation.episodes=16 evaluation.timed_decisions=0 --timed-decisions 0
