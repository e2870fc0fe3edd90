"""Models as ONNX files in standard operators, written without tracing."""

from rnnlab.export.onnx.forms import Call as Call
from rnnlab.export.onnx.forms import Part as Part
from rnnlab.export.onnx.forms import onnx_form as onnx_form
from rnnlab.export.onnx.forms import onnx_function_form as onnx_function_form
from rnnlab.export.onnx.forms import over_time as over_time
from rnnlab.export.onnx.model import write as write
from rnnlab.export.onnx.runtime import open_session as open_session
from rnnlab.export.onnx.runtime import read as read
