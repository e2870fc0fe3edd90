"""Training: a pure update, the loop around it, losses, metrics and diagnostics; no files."""
