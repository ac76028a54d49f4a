# five minutes
python benchmarks/training_throughput.py --json runs/reference/throughput/summary.json
