"""Training: cumulants where they are learned, the outcome model with its readout policy, then the value decoder."""
