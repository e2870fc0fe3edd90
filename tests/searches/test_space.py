"""The space of a search: its ranges, its choices, and its text on the command line."""

import pytest

from rnnlab import Adding, Experiment, ModelConfig, Preset, Range
from rnnlab.cli.search_space import read_space
from rnnlab.searches.search import require_valid
from rnnlab.searches.space import Space
from rnnlab.train.config import TrainConfig

PRESET = Preset(Experiment(Adding(), ModelConfig(width=8, depth=1), TrainConfig(steps=20)))
WITH_GRID = Preset(PRESET.experiment, {"model.cell": ("mingru", "gru"), "train.seed": (0, 1)})


def axes_of(*texts, preset=PRESET, flags=()):
    return read_space(preset, flags, texts)[1]


def test_space_of_text_has_the_types_of_the_settings():
    axes = axes_of(
        "train.learning-rate=log:1e-4:1e-2",
        "model.width=8:32:8",
        "model.depth=1, 2,3",
        "model.dropout=0:0.5",
        "train.schedule=constant,cosine",
        "train.weight_decay_gates=true,false",
    )
    assert axes == {
        "train.learning_rate": Range(1e-4, 1e-2, log=True),
        "model.width": Range(8, 32, step=8),
        "model.depth": (1, 2, 3),
        "model.dropout": Range(0.0, 0.5),
        "train.schedule": ("constant", "cosine"),
        "train.weight_decay_gates": (True, False),
    }
    assert axes["model.width"].is_whole
    assert not axes["model.dropout"].is_whole


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ((), "a search needs --space SETTING=VALUES"),
        (("model.depth",), "--space must be SETTING=VALUES, as in .*, got 'model.depth'"),
        (("model.depth=",), "--space must be SETTING=VALUES"),
        (("model.depth=1,,2",), "choices must be values separated by single commas, got '1,,2'"),
        (("model.depth=1,1",), "the choices of model.depth must differ"),
        (("model.depth=1", "model.depth=2"), "must name each setting once, got model.depth twice"),
        (("model.dpeth=1,2",), "did you mean 'depth'"),
        (("train.lr=1,2",), "did you mean --train.learning-rate?"),
        (("train.learning_rate=log:1e-4",), "a range must be LOW:HIGH, LOW:HIGH:STEP or log"),
        (("train.learning_rate=log:1:2:3",), "a range must be LOW:HIGH, LOW:HIGH:STEP or log"),
        (("train.learning_rate=log:0.1:abc",), "must be a finite number, as in 1e-3, got 'abc'"),
        (("train.learning_rate=1e-2:1e-4",), "a range must have low < high, got 0.01:0.0001"),
        (("model.dropout=log:0:0.5",), "a logarithmic range must start above 0"),
        (("model.depth=1:3:0.5",), "the step must be a whole number, got '0.5'"),
        (("model.depth=1:3:9",), "a step must be > 0, at most high - low"),
        (("model.depth=0:3",), "depth must be >= 1"),
        (("model.cell=mingru,grruu",), "grruu"),
    ],
)
def test_space_of_malformed_text_raises_one_clear_line(texts, message):
    def check():
        bases, axes = read_space(PRESET, (), texts)
        require_valid(Space(axes), bases)

    with pytest.raises(ValueError, match=message) as error:
        check()
    assert "\n" not in str(error.value)


def test_space_and_a_flag_of_one_setting_raise():
    with pytest.raises(ValueError, match=r"--model\.depth must be a flag or in the --space"):
        axes_of("model.depth=1,2", flags=["--model.depth", "2"])


def test_preset_with_a_grid_needs_one_cell_or_searches_over_it():
    with pytest.raises(ValueError, match=r"add --space model\.cell=mingru,gru"):
        axes_of("model.depth=1,2", preset=WITH_GRID)
    assert axes_of("model.depth=1,2", preset=WITH_GRID, flags=["--model.cell", "gru"])
    bases, axes = read_space(WITH_GRID, (), ["model.cell=lstm,mingru"])
    assert list(bases) == ["lstm", "mingru"]
    assert axes["model.cell"] == ("lstm", "mingru")
    assert {base.train.seed for base in bases.values()} == {0}


def test_option_of_one_cell_varies_only_in_its_trials():
    texts = ["model.forget_bias=0,1", "model.cell=lstm,gru"]
    space = Space(axes_of(*texts))
    assert space.applies("model.forget_bias", "lstm")
    assert not space.applies("model.forget_bias", "gru")
    assert space.combinations("lstm") == [
        {"model.cell": "lstm", "model.forget_bias": 0.0},
        {"model.cell": "lstm", "model.forget_bias": 1.0},
        {"model.cell": "gru"},
    ]


def test_space_of_numbers_has_no_list_of_combinations():
    assert Space({"model.dropout": Range(0.0, 0.5)}).combinations("gru") is None
    assert Space({"model.width": Range(1, 10**6)}).combinations("gru") is None
