"""The portable backends of the scan."""
