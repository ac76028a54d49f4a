"""Every flag of every command: frozen dataclasses, read without JAX."""
