# ten minutes
python -m owma.sweep own --base ogbench-cube --name ogbench-cube-price --seeds 1 2 3 \
    --each online-adaptation.kl-coef=0.5 \
    --planners online_adaptation adaptation_off random_shooting tilted_resampling published \
    --overrides evaluation.episodes=16 evaluation.timed_decisions=0 evaluation.kl_coef=null --timed-decisions 0
