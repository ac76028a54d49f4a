# four minutes
python benchmarks/cold_start.py runs/two-routes --json runs/reference/cold-start/summary.json
