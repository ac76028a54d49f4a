# 40 minutes; seed 1
python benchmarks/attainment.py --decisions 64 --json runs/reference/attainment/summary.json
