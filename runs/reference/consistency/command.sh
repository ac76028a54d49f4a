# five minutes
python benchmarks/consistency.py --decisions 150 --json runs/reference/consistency/summary.json
