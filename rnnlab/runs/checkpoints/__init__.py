"""Checkpoints of a run: storage, manifests and compatibility."""
