"""The guides and the reference of all public names, as pages."""
