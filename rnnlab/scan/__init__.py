"""The linear recurrence: one function, several backends."""

from rnnlab.scan.gated import gated_scan as gated_scan
from rnnlab.scan.linear import BACKENDS as BACKENDS
from rnnlab.scan.linear import linear_scan as linear_scan
from rnnlab.scan.linear import resolved as resolved
from rnnlab.scan.log_space import cumulative_log_scan as cumulative_log_scan
from rnnlab.scan.log_space import log_linear_scan as log_linear_scan
