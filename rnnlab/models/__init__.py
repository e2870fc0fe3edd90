"""Sequence models: configuration, the model, generation."""

from rnnlab.models.sequence_model import SequenceModel as SequenceModel
