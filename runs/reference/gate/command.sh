# five minutes
python benchmarks/gate.py --keep
