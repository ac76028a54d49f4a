"""`owma tune`: settings of planners by successive halving, for those who have an environment."""
