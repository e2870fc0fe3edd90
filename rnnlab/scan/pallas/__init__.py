"""The scan as Pallas kernels for GPU and TPU."""
