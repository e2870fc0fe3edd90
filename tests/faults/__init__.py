"""Faults on purpose: real signals to real processes, damaged files, full disks, wrong input."""
