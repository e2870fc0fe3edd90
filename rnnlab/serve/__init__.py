"""A server of trained models: many streams, whose states are rows of one array."""
