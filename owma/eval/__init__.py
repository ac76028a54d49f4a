"""Episodes in environments, and planners compared in them; `python -m owma.eval` is the command."""
