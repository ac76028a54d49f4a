"""A trained model and a planner that act: step by step, within a deadline, or from one file."""
