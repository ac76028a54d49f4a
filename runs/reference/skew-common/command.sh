# half an hour on two cores
python benchmarks/skew.py --skews 0.5 --seeds 1 2 3 --episodes 16 --json runs/reference/skew-common/summary.json
