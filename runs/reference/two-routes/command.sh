# three seeds, 32 episodes; random actions and the data: python benchmarks/baselines.py runs/reference/two-routes
python benchmarks/skew.py --skews 0.02 --json runs/reference/two-routes/summary.json
