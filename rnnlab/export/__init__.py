"""Trained models as files that run without rnnlab: one function per time step, one per sequence."""

from rnnlab.export.names import Field as Field
from rnnlab.export.names import flatten_carry as flatten_carry
from rnnlab.export.names import initial_values as initial_values
from rnnlab.export.names import input_fields as input_fields
from rnnlab.export.names import output_fields as output_fields
from rnnlab.export.names import unflatten_carry as unflatten_carry
