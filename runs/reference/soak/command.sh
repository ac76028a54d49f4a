# two minutes, and four
python benchmarks/soak.py --json runs/reference/soak/summary.json
python benchmarks/soak.py --run runs/two-routes --json runs/reference/soak/run.json
