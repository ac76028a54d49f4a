# nine minutes, and one and a half to collect
python -m owma.sweep planners --base pointmaze-umaze --name pointmaze-umaze --seeds 1 2 3 \
    --overrides evaluation.episodes=16 evaluation.timed_decisions=0 --timed-decisions 0
