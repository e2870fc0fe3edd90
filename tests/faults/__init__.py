"""Injected faults: real signals to real processes, corrupt files, full disks, bad input."""
