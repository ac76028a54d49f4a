# about two hours on two cores; as the program was before the value was a lower bound
python benchmarks/skew.py --skews 0 0.001 0.005 0.1 --seeds 1 2 3 --episodes 16 \
    --json runs/reference/skew-linear/summary.json
