"""Ways to run a nonlinear cell over time."""
