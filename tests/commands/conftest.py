"""A small experiment's file, for the commands that read one."""

import pytest

EXPERIMENT = '''
"""Is this a question?

Command:  rnnlab run {name}
"""

from pathlib import Path

from rnnlab.architecture import Architecture
from rnnlab.experiment import Experiment, Preset
from rnnlab.tasks import Text
from rnnlab.train.settings import Training

PRESETS = {{
    "cpu": Preset(
        Experiment(
            Text(Path("{text}"), length=8, batch_size=4),
            Architecture(width=4, depth=1, expansion=1, conv_size=None, mlp_expansion=None),
            Training(steps=4, evaluate_every=2, log_every=1),
        ),
        {{"model.cell": ("mingru", "gru")}},
    )
}}
'''


@pytest.fixture
def experiment(tmp_path):
    """Its text is one that every model learns."""
    text, file = tmp_path / "text.txt", tmp_path / "small.py"
    text.write_text("abcabcabc " * 60, encoding="utf-8")
    file.write_text(EXPERIMENT.format(name=file.name, text=text), encoding="utf-8")
    return str(file)
