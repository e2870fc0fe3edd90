"""The settings of models: fields, options of cells, equality, and errors."""

import re

import pytest
from flax import nnx

from rnnlab.models.building import require_buildable
from rnnlab.models.config import ModelConfig, available_options, settings_class
from rnnlab.models.options import cell_options
from rnnlab.registry import REGISTRY, find_cell

pytestmark = pytest.mark.usefixtures("quick_compile")


@pytest.mark.parametrize("cell", [*REGISTRY, "lstm+minlstm"])
def test_settings_of_every_cell_describe_the_same_config(cell):
    config = ModelConfig(cell)
    settings = config.settings()
    assert set(available_options(cell)) <= set(settings)
    assert ModelConfig.from_settings(settings) == config
    assert hash(ModelConfig.from_settings(settings)) == hash(config)
    assert vars(settings_class(cell)()) | {"cell": cell} == settings


def test_option_of_its_default_value_is_equal_to_no_option():
    assert ModelConfig("minlstm", options={"forget_bias": 0.0}) == ModelConfig("minlstm")
    assert ModelConfig("minlstm", options={"forget_bias": 1.0}) != ModelConfig("minlstm")


@pytest.mark.parametrize(
    ("cell", "option", "message"),
    [
        ("gru", "heads", "option 'heads' is unknown for cell 'gru'; its options are reset_after"),
        ("minlstm", "forget_bais", "did you mean 'forget_bias'?"),
        ("rnn", "widht", "did you mean 'width'?"),
    ],
)
def test_unknown_option_names_those_of_the_cell(cell, option, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ModelConfig(cell, options={option: 1})


def test_option_of_several_cells_applies_to_each_and_defaults_to_its_own():
    def biases(options):
        config = ModelConfig("lstm+minlstm", width=4, expansion=1, options=options)
        model = config.build(2, in_features=2, rngs=nnx.Rngs(0))
        lstm, minlstm = (layer.cell for layer in model.body.layers)
        return lstm.bias[...].max(), minlstm.forget_bias[...].max()

    assert settings_class("lstm+minlstm")().forget_bias is None
    assert biases({}) == (1, 0)
    assert biases({"forget_bias": None}) == (1, 0)
    assert biases({"forget_bias": 2.0}) == (2, 2)


def test_override_of_the_cell_drops_its_options():
    config = ModelConfig("minlstm", width=8, options={"forget_bias": 2.0})
    assert config.override({"width": 4}).options == {"forget_bias": 2.0}
    assert config.override({"cell": "lstm"}) == ModelConfig("lstm", width=8)
    assert config.override({"cell": "lstm", "forget_bias": 3.0}).options == {"forget_bias": 3.0}


def test_cell_options_are_keyword_only_parameters_with_their_docs():
    options = cell_options(find_cell("minlstm").load())
    assert {"candidate", "decay_range", "normalize", "forget_bias", "backend"} <= set(options)
    assert not {"rngs", "dtype", "param_dtype", "kernel_init"} & set(options)
    assert options["normalize"].type is bool
    assert options["normalize"].doc.startswith("divides both gates by their sum")
    assert cell_options(find_cell("transformer").load())["heads"].default == 4


def test_cell_options_annotation_of_an_unknown_name_raises():
    class MyCell:
        def __init__(self, *, gain: "Missing" = 1): ...  # noqa: F821

    with pytest.raises(ValueError, match=r"annotations of the constructor of MyCell .*'Missing'"):
        cell_options(MyCell)


def test_settings_class_documents_each_setting_once():
    lines = settings_class("minlstm").__doc__.splitlines()
    assert sum(line.strip().startswith("forget_bias:") for line in lines) == 1
    assert sum(line.strip().startswith("width:") for line in lines) == 1


def test_user_cell_without_dtypes_raises_before_it_is_built(tmp_path):
    file = tmp_path / "cells.py"
    file.write_text(
        """
from rnnlab import MinGRU

class NoDtypes(MinGRU):
    def __init__(self, in_features, features, *, rngs):
        super().__init__(in_features, features, rngs=rngs)
"""
    )
    message = r"NoDtypes must accept .*rngs, dtype, param_dtype\).*unexpected .* 'dtype'"
    with pytest.raises(ValueError, match=message):
        ModelConfig(f"{file}:NoDtypes")


def test_cell_features_set_the_width_of_each_blocks_cell():
    config = ModelConfig("mingru+tcn", width=4, depth=2, cell_features=[3, 4])
    assert ModelConfig.from_settings(config.settings()) == config
    model = config.build(2, in_features=2, rngs=nnx.Rngs(0))
    assert model.body.layers[0].cell.features == 3
    for wrong in ((3,), (3, 5)):
        with pytest.raises(ValueError, match="cell_features"):
            config.override({"cell_features": wrong}).build(2, in_features=2, rngs=nnx.Rngs(0))


def test_settings_of_a_source_are_buildable_before_the_data_is_known():
    require_buildable(ModelConfig(width=8, depth=1, attention_heads=2, input_feeding=True))
    require_buildable(ModelConfig(width=8, depth=1, input_decay=True))
    with pytest.raises(ValueError, match="depth must be >= 2 for cell"):
        require_buildable(ModelConfig("mingru+gru", width=8, depth=1))
