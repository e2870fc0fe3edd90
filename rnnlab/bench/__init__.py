"""Benchmarks: compilation and run are timed apart, rounds are interleaved, outputs are used."""
