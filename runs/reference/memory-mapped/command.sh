# 15 minutes, 25 GB of disk
python benchmarks/memory_mapped.py --json runs/reference/memory-mapped/summary.json
