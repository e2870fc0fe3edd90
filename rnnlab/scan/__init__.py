"""The linear recurrence: one function, several backends."""

from rnnlab.scan.affine import CoefficientFn as CoefficientFn
from rnnlab.scan.delta import delta_scan as delta_scan
from rnnlab.scan.dispatch import BACKENDS as BACKENDS
from rnnlab.scan.dispatch import resolve_backend as resolve_backend
from rnnlab.scan.gated import gated_scan as gated_scan
from rnnlab.scan.gated import gated_step as gated_step
from rnnlab.scan.linear import linear_scan as linear_scan
from rnnlab.scan.log_space import heinsen_scan as heinsen_scan
from rnnlab.scan.log_space import log_linear_scan as log_linear_scan
from rnnlab.scan.matrix import matrix_scan as matrix_scan
from rnnlab.scan.varying import broadcast_like as broadcast_like
from rnnlab.scan.varying import match_varying as match_varying
