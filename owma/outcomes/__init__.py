"""Outcomes psi: the world model p(psi|s), the readout policy pi(a|s,psi), values V(psi) and tasks."""
