"""The front door: what a Python user trains, loads, evaluates and asks with. Its names are those of `owma`."""
