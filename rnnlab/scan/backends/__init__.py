"""Portable backends of the scan."""
