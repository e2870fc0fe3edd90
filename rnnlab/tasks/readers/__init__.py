"""Readers of users' own files: each returns NumPy arrays or refuses in one line, a `DataError`."""
