"""Sweeps: which points, and the steps that make each of them, whoever schedules these."""

from owma.sweeps.plan import (
    SWEEPS as SWEEPS,
    Point as Point,
    SweepConfig as SweepConfig,
    points as points,
    read_points as read_points,
    write_points as write_points,
)
