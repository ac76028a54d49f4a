"""Outcomes psi, the model p(psi|s) of them, the policy that reads them and the value that judges them."""
