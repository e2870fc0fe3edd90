"""The ONNX engine gives the predictions and the text of the JAX engine."""

import numpy as np
import pytest
from serve.models import LazySlots, text_model, tokens_alone, value_model

from rnnlab.serve.sampling import POSITION, settings_row

pytest.importorskip("onnxruntime")

from rnnlab.export.files import export_files
from rnnlab.serve.onnx_slots import OnnxSlots


@pytest.fixture(scope="module")
def files():
    return export_files(text_model())


@pytest.mark.parametrize("has_sequence", [True, False])
def test_onnx_slots_read_and_generate_like_jax_slots(files, has_sequence):
    sequence = files["sequence.onnx"] if has_sequence else None
    slots = OnnxSlots(text_model(), files["step.onnx"], sequence, 4, 3)
    expected = LazySlots(text_model(), 4, 3)
    slots.warm_up()
    prompts = [np.arange(5), np.arange(9) % 11, np.arange(5)[::-1]]
    for engine in (slots, expected):
        engine.read([3], [np.array([7, 7, 7])], [True])  # is replaced
    found, wanted = (
        engine.read([3, 0, 2], prompts, [True] * 3, wants_outputs=True)
        for engine in (slots, expected)
    )
    for k, prompt in enumerate(prompts):
        size = len(prompt)
        for name in ("outputs", "surprise"):
            one, two = (getattr(read, name)[k, :size] for read in (found, wanted))
            np.testing.assert_allclose(one, two, rtol=2e-4, atol=2e-4)
    assert found.not_finite.tolist() == [-1] * 3
    settings = np.stack([settings_row(seed, 0.8, None) for seed in range(3)])
    parts = []
    for _ in range(3):
        parts.append(slots.advance([3, 0, 2], settings))
        settings[:, POSITION] += 3
    tokens = np.concatenate(parts, axis=1)
    for seed, (row, prompt) in enumerate(zip(tokens.tolist(), prompts, strict=True)):
        assert row == tokens_alone(text_model(), prompt, 9, seed=seed)


def test_onnx_slots_mark_values_that_are_not_finite():
    model = value_model()
    files = export_files(model)
    slots = OnnxSlots(model, files["step.onnx"], files["sequence.onnx"], 4, 3)
    good = np.ones((3, 2), np.float32)
    bad = good.copy()
    bad[1] = np.nan
    read = slots.read([0, 1], [good, bad], [True, True], wants_outputs=True)
    assert read.not_finite.tolist() == [-1, 1]
    assert np.isfinite(read.outputs[0]).all()
