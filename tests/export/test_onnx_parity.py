"""ONNX files compute what their models compute, in ONNX Runtime."""

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from cases import MODELS, TOLERANCE, build, onnx_error  # noqa: E402

from rnnlab.export import forms_of  # noqa: E402
from rnnlab.export.onnx import write  # noqa: E402
from rnnlab.registry import REGISTRY  # noqa: E402

FLAGS = ((), ("reset", "mask"))
SIZES = tuple((b, t) for b, t in zip((1, 3, 5, 1, 3), (0, 1, 7, 64, 129), strict=True))
"""Every length with a batch size."""


@pytest.mark.parametrize("cell", REGISTRY)
def test_every_registered_cell_has_a_valid_onnx_form(cell):
    for form in ("step", "sequence"):
        content = onnx.load_from_string(write(build(cell), form))
        onnx.checker.check_model(content, full_check=True)


@pytest.mark.parametrize(
    ("form", "flags"), [("step", ("reset", "mask")), ("sequence", ()), ("sequence", FLAGS[-1])]
)
def test_file_of_all_cells_equals_the_model(form, flags):
    sizes = [(3, 0), (5, 9)] if form == "sequence" else [(5, 9)]
    assert onnx_error(build(), form, flags, sizes) <= TOLERANCE


@pytest.mark.parametrize("name", ["gap decay", "bidirectional gaps", "attention", "rglru", "lru"])
def test_sequence_with_a_mask_equals_the_model(name):
    assert onnx_error(MODELS[name](), "sequence", ("mask",), [(3, 7)]) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("flags", FLAGS, ids="+".join)
@pytest.mark.parametrize("name", MODELS)
def test_files_of_all_models_equal_them_at_all_lengths(name, flags):
    module = MODELS[name]()
    for form in forms_of(module):
        sizes = SIZES if form == "sequence" else ((1, 1), (3, 4), (5, 9))
        assert onnx_error(module, form, flags, sizes) <= TOLERANCE, form


@pytest.mark.slow
@pytest.mark.parametrize("cell", REGISTRY)
def test_sequences_of_every_length_and_batch_size_equal_the_model(cell):
    sizes = [(b, t) for b in (1, 3, 5) for t in (0, 1, 7, 64, 129)]
    assert onnx_error(build(cell, depth=2), "sequence", (), sizes) <= TOLERANCE
