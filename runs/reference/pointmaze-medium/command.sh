# 19 minutes beside other work, and half a minute to collect
python -m owma.sweep planners --base pointmaze-medium --name pointmaze-medium --seeds 1 2 3 \
    --overrides evaluation.episodes=16 evaluation.timed_decisions=0 --timed-decisions 0
