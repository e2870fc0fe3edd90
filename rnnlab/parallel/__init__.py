"""Training on several devices: the mesh, the shardings of a training state, the sharded loss."""
