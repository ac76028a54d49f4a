"""Datasets made by scripted control or trained policies; `python -m owma.collect` is the command."""
