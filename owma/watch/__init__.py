"""Watching a run: losses, and promises against what is realised, in the terminal as they come."""
