# 15 minutes
python benchmarks/adaptation_latency.py --decisions 60 --json runs/reference/latency/summary.json
