# three minutes; seed 1
python benchmarks/anytime.py --json runs/reference/anytime/summary.json
