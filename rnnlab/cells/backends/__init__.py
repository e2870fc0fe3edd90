"""How nonlinear cells run over time."""
