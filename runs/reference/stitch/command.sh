# 16 minutes
python -m owma.sweep planners --base stitch --name stitch --seeds 1 2 3 \
    --overrides evaluation.episodes=16 evaluation.timed_decisions=0 --timed-decisions 0
