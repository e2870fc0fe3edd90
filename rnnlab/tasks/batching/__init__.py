"""Batches from examples: sampling order, padding, buckets and packing."""
