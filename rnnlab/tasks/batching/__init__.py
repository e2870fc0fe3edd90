"""From examples to batches: order, padding and packing."""
