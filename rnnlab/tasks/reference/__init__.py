"""Baselines without gradients that the models of a task are compared with."""
