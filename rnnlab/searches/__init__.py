"""Hyper-parameter searches, whose trials are runs."""
