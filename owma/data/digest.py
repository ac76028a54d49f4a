"""What tells one dataset from another without keeping it: its size, its form, and a digest of some of its rows."""

import dataclasses
import hashlib
from typing import Any

import numpy as np

from owma.data.dataset import OfflineDataset
from owma.outcomes.transitions import Transitions

_ROWS = 10_000
"""Spread over the dataset; of a memory-mapped one no others are read."""


def digest_of(dataset: OfflineDataset) -> dict[str, Any]:
    """Plain values for a run to keep: `dataset`, `transitions`, `obs`, `action` (numbers in each) and `sha256`."""
    transitions = dataset.transitions
    rows = np.unique(np.linspace(0, len(transitions) - 1, _ROWS).astype(np.int64))
    sample, digest = transitions.rows(rows), hashlib.sha256()
    for field in dataclasses.fields(Transitions):
        digest.update(np.ascontiguousarray(getattr(sample, field.name)).tobytes())
    return {
        "dataset": dataset.dataset_id,
        "transitions": len(transitions),
        "obs": transitions.obs.shape[1],
        "action": transitions.action.shape[1],
        "sha256": digest.hexdigest(),
    }


def is_digest(value: Any) -> bool:
    """Whether what a file holds can have come from `digest_of`."""
    if not isinstance(value, dict):
        return False
    counts = [value.get(name) for name in ("transitions", "obs", "action")]
    texts = [value.get(name) for name in ("dataset", "sha256")]
    return all(type(count) is int for count in counts) and all(isinstance(text, str) for text in texts)


def difference(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """In a few words, by what two datasets differ; `None` if they do not. Their names are of no account."""
    shapes = [
        f"{digest['transitions']:,} transitions of {digest['obs']} numbers observed and {digest['action']} acted"
        for digest in (before, now)
    ]
    if shapes[0] != shapes[1]:
        return f"{shapes[0]} then, {shapes[1]} now"
    return None if before["sha256"] == now["sha256"] else "of the same size, with other contents"
