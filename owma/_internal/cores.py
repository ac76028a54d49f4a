"""How many cores there are to work with."""

import os


def usable_cores() -> int:
    """The cores that this process may use, where the system tells them apart from those of the machine (Linux does)."""
    affinity = getattr(os, "sched_getaffinity", None)
    return (os.cpu_count() or 1) if affinity is None else len(affinity(0))
