python -m owma.sweep ablations --seeds 1 2 3 \
    --overrides evaluation.episodes=16 evaluation.timed_decisions=0 --timed-decisions 0
python -m owma.report runs/ablations --out runs/reference/ablations/report.html
