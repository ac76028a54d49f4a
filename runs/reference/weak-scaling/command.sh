# two minutes
python benchmarks/weak_scaling.py --json runs/reference/weak-scaling/summary.json
