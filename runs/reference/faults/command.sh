# six minutes
python -m pytest -m faults -n 0
