"""Trained models as files that run without rnnlab: one function per time step, one per sequence."""

from rnnlab.export.files import PARITY_FILE as PARITY_FILE
from rnnlab.export.files import export_files as export_files
from rnnlab.export.files import forms_of as forms_of
from rnnlab.export.formats import FORMATS as FORMATS
from rnnlab.export.names import CARRY as CARRY
from rnnlab.export.names import INPUTS as INPUTS
from rnnlab.export.names import NEXT_CARRY as NEXT_CARRY
from rnnlab.export.names import OUTPUTS as OUTPUTS
from rnnlab.export.names import Field as Field
from rnnlab.export.names import flatten_carry as flatten_carry
from rnnlab.export.names import initial_values as initial_values
from rnnlab.export.names import input_fields as input_fields
from rnnlab.export.names import output_fields as output_fields
from rnnlab.export.names import unflatten_carry as unflatten_carry
from rnnlab.export.parity import evaluation_copy as evaluation_copy
from rnnlab.export.parity import largest_error as largest_error
from rnnlab.export.parity import require_small_error as require_small_error
from rnnlab.export.parity import rounding_error as rounding_error
from rnnlab.export.verification import verify_files as verify_files
