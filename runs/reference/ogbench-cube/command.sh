# extra `ogbench`; ten minutes a training, two at a time, 22 to evaluate, and half an hour to collect
python -m owma.sweep planners --base ogbench-cube --name ogbench-cube --seeds 1 2 3 \
    --overrides evaluation.episodes=16 evaluation.timed_decisions=0 evaluation.kl_coef=null --timed-decisions 0
