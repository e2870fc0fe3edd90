"""Predictors that need no gradient, which the models of a task are compared with."""
