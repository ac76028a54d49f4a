# five minutes
python benchmarks/demonstrator.py --json runs/reference/demonstrator/summary.json
