"""Sweeps: which points, and the steps that make each of them, whoever schedules these."""
