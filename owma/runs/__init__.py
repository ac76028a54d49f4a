"""Run folders, what lies in them, and runs read from disk."""

from owma._internal.moved import old_names as _old_names

__getattr__ = _old_names("runs")  # what was `owma/runs.py`
