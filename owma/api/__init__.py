"""The Python interface: `fit`, `load`, `evaluate` and `Run`, which are exported from `owma`."""
