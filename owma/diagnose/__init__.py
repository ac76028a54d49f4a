"""`owma diagnose`: how good a trained model is, without an environment."""
