"""JSON as the run folder needs it: numbers of any array library in, one spelling out, files replaced in one step."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def jsonable(obj: Any, where: str = "value") -> Any:
    """Turn `obj` into plain JSON data.

    Scalars and arrays of NumPy and JAX become numbers and nested lists, paths become strings, tuples become lists.
    A number that is not finite becomes `null`: `NaN` is not JSON, and most readers of a metrics file refuse it.
    Raises `TypeError`, naming the entry, for anything else.
    """
    if obj is None or isinstance(obj, bool | int | str):
        return obj
    if isinstance(obj, float):
        return obj if math.isfinite(obj) else None
    if isinstance(obj, os.PathLike):
        return os.fspath(obj)
    if isinstance(obj, Mapping):
        for key in obj:
            if not isinstance(key, str):
                raise TypeError(f"{where}: the key {key!r} is a {type(key).__name__}; JSON objects have string keys.")
        return {key: jsonable(item, f"{where}.{key}") for key, item in obj.items()}
    if isinstance(obj, list | tuple):
        return [jsonable(item, f"{where}[{i}]") for i, item in enumerate(obj)]
    # Imported here, because commands need this module to read their flags.
    import jax
    import numpy as np

    if isinstance(obj, np.ndarray | np.generic | jax.Array):
        return jsonable(np.asarray(obj).tolist(), where)
    raise TypeError(f"{where} is a {type(obj).__name__}, which has no JSON form.")


def canonical(obj: Any) -> str:
    """The one spelling of plain JSON data: sorted keys, no spaces; what fingerprints and digests are taken of."""
    return json.dumps(obj, sort_keys=True, separators=(",", ":"), allow_nan=False)


def replace_text(path: Path, text: str) -> None:
    """Write `text` to `path` so that a reader, or a kill at any moment, sees the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:  # a full disk: give back what half a file has taken
        temporary.unlink(missing_ok=True)
        raise
