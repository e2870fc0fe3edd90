"""Runs: their directories, checkpoints, locks, signals and records."""
