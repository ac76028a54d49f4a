"""What rows of episodes say: tables, comparisons, scores and figures."""
