"""Hyper-parameter searches, and jobs on this machine or a cluster."""
