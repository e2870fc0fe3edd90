"""The `rnnlab` command: its entry point, its parser and one module per command."""
