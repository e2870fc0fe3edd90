"""Inspecting a model: pure functions of a cell or model and its inputs."""

from rnnlab.analysis.attention import attention_weights as attention_weights
from rnnlab.analysis.attribution import gradient_times_input as gradient_times_input
from rnnlab.analysis.attribution import integrated_gradients as integrated_gradients
from rnnlab.analysis.gates import GateStatistics as GateStatistics
from rnnlab.analysis.gates import gate_meaning as gate_meaning
from rnnlab.analysis.gates import gate_statistics as gate_statistics
from rnnlab.analysis.gradients import gradient_flow as gradient_flow
from rnnlab.analysis.gradients import state_gradients as state_gradients
from rnnlab.analysis.jacobian import decays as decays
from rnnlab.analysis.jacobian import jacobians as jacobians
from rnnlab.analysis.jacobian import log_product_norms as log_product_norms
from rnnlab.analysis.jacobian import lyapunov_exponents as lyapunov_exponents
from rnnlab.analysis.jacobian import spectral_radius as spectral_radius
from rnnlab.analysis.layers import CellInputs as CellInputs
from rnnlab.analysis.layers import LayerRef as LayerRef
from rnnlab.analysis.layers import cell_inputs as cell_inputs
from rnnlab.analysis.layers import layers as layers
from rnnlab.analysis.memory_horizon import decay_horizon as decay_horizon
from rnnlab.analysis.memory_horizon import input_sensitivity as input_sensitivity
from rnnlab.analysis.memory_horizon import memory_horizon as memory_horizon
from rnnlab.analysis.states import PCA as PCA
from rnnlab.analysis.states import participation_ratio as participation_ratio
from rnnlab.analysis.states import principal_components as principal_components
from rnnlab.analysis.states import states as states
from rnnlab.analysis.states import top_activating_steps as top_activating_steps
