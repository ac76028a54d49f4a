"""A trained model and a planner that act: step by step, within a deadline, or from one file."""

from owma._internal.moved import old_names as _old_names

__getattr__ = _old_names("agent")  # what was `owma/agent.py`
