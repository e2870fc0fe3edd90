"""The language model's peer in torch is the same model; the benchmark writes records."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab import records
from rnnlab.cli import main
from rnnlab.models.config import ModelConfig

pytestmark = pytest.mark.usefixtures("implicit_promotion", "quick_compile")

SMALL = ModelConfig(width=6, depth=2, expansion=2, conv_kernel_size=3, mlp_expansion=2)


def test_torch_language_model_with_rnnlab_weights_returns_equal_logits():
    torch = pytest.importorskip("torch")
    from rnnlab.bench.torch_language_model import torch_language_model

    ours = SMALL.build(5, vocab_size=5, rngs=nnx.Rngs(0))
    leaves, treedef = jax.tree.flatten(nnx.state(ours))
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [p + 0.3 * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=True)]
    nnx.update(ours, jax.tree.unflatten(treedef, moved))
    theirs = torch_language_model(SMALL, 5)

    def copy(parameter, x, turn=True):
        x = np.asarray(x[...])
        parameter.copy_(torch.tensor(x.T if turn and x.ndim == 2 else x))

    def linear(layer, kernel, bias):
        copy(layer.weight, kernel)
        copy(layer.bias, bias)

    with torch.no_grad():
        embedding, *blocks, norm, head = theirs
        copy(embedding.weight, ours.embedding, turn=False)
        copy(norm.weight, ours.norm.scale)
        linear(head, ours.head_kernel, ours.head_bias)
        for their, our in zip(blocks, ours.body.layers, strict=True):
            first, conv, cell, project, _ = their.mix
            copy(first.weight, our.norm.scale)
            taps = np.asarray(our.conv.kernel[...])[::-1].T[:, None]
            conv.conv.weight.copy_(torch.tensor(taps.copy()))
            copy(conv.conv.bias, our.conv.bias)
            for layer, name in zip(cell.projections, ("update", "candidate"), strict=True):
                linear(layer, *(getattr(our.cell, f"{name}_{part}") for part in ("kernel", "bias")))
            linear(project, our.project.kernel, our.project.bias)
            second, up, _, down, _ = their.mlp
            copy(second.weight, our.mlp.layers[0].scale)
            linear(up, our.mlp.layers[1].kernel, our.mlp.layers[1].bias)
            linear(down, our.mlp.layers[3].kernel, our.mlp.layers[3].bias)
        ids = np.random.default_rng(0).integers(5, size=(2, 9))
        expected = theirs(torch.tensor(ids)).numpy()
    logits = ours(ours.initial_carry((2,)), jnp.asarray(ids, jnp.int32))[1]
    np.testing.assert_allclose(logits, expected, atol=2e-4)


def test_bench_language_model_writes_records(tmp_path, capsys):
    sizes = ["--batch-size", "2", "--length", "8", "--width", "4", "--vocab-size", "5"]
    assert (
        main.main(["bench", "language-model", *sizes, "--repeats", "2", "--out", str(tmp_path)])
        == 0
    )
    measured = list(records.read(tmp_path / "rows.jsonl"))
    assert measured[0]["implementation"] == "rnnlab"
    for row in measured:
        assert row["tokens_per_second"] == pytest.approx(16 / row["seconds"])
    assert "relative to rnnlab" in capsys.readouterr().out
    assert main.main(["bench", "language-model", "--repeats", "0"]) == 2
    assert "repeats" in capsys.readouterr().err
