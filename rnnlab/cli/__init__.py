"""What the `rnnlab` command does beside the benchmarks: a module a command."""
