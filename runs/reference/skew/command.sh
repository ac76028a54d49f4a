# about two hours on two cores
python benchmarks/skew.py --skews 0 0.001 0.005 0.1 --seeds 1 2 3 --episodes 16 \
    --json runs/reference/skew/summary.json
