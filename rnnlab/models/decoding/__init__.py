"""Decoders that generate label sequences with a model, step by step."""
