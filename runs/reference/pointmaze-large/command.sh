# 75 minutes beside much other work, and a minute to collect
python -m owma.sweep planners --base pointmaze-large --name pointmaze-large --seeds 1 2 3 \
    --overrides evaluation.episodes=16 evaluation.timed_decisions=0 --timed-decisions 0
