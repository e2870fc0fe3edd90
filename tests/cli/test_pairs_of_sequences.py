"""Pronunciations and translations from the training to a bundle, by the commands of a user."""

import csv
import itertools
import json

import pytest

from rnnlab.cli import main

pytest.importorskip("jiwer")
pytest.importorskip("sacrebleu")

EXPERIMENT = '''
"""Is this a question?

Command:  rnnlab run small.py
"""

from pathlib import Path

from rnnlab import Experiment, ModelConfig, Preset, {task}, TrainConfig

PRESETS = {{
    "cpu": Preset(
        Experiment(
            {task}(Path("{path}"), batch_size=8, {settings}),
            ModelConfig(width=8, depth=1, expansion=1, conv_kernel_size=None, mlp_expansion=None),
            TrainConfig(steps=2, eval_every=2),
        ),
        {{"model.cell": ("mingru",)}},
    )
}}
'''


def succeed(*words):
    assert main.main(list(map(str, words))) == 0


def trained(folder, task, path, settings):
    """The directory of a trained run, its result, and its bundle."""
    file = folder / "small.py"
    file.write_text(EXPERIMENT.format(task=task, path=path, settings=settings), encoding="utf-8")
    succeed("run", file, "--out", folder / "runs")
    run = folder / "runs" / "cell=mingru,seed=0"
    succeed("bundle", run, "--out", folder / "bundle")
    return run, json.loads((run / "result.json").read_text()), folder / "bundle"


def predicted(folder, source, out):
    succeed("predict", folder, "--data.path", source, "--out", out)
    with out.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("implicit_promotion", "quick_compile")
@pytest.mark.parametrize(
    "alignment",
    [
        "attention",
        pytest.param("ctc", marks=pytest.mark.slow),
        pytest.param("transducer", marks=pytest.mark.slow),
    ],
)
def test_dictionary_of_a_user_is_trained_bundled_and_predicted(tmp_path, capsys, alignment):
    words = ["".join(x) for x in itertools.product("bdk", "aeo", "bdk")]
    dictionary = tmp_path / "words.dict"
    dictionary.write_text("\n".join(f"{word} {' '.join(word.upper())}" for word in words))
    settings = f'alignment="{alignment}"'
    run, result, bundle = trained(tmp_path, "Pronunciation", dictionary, settings)
    assert set(result["metrics"]["test"]) >= {"word_error", "phone_error"}
    assert result["baselines"]["most common phones of each letter"]["word_error"] == 0
    new = tmp_path / "new.txt"
    new.write_text("bad dab\nkeb\n")
    tables = [predicted(x, new, tmp_path / f"{x.name}.csv") for x in (run, bundle)]
    assert tables[0] == tables[1]
    assert [row["word"] for row in tables[0]] == ["bad", "dab", "keb"]
    assert set(" ".join(row["predicted"] for row in tables[0]).split()) <= set("ABDEKO")
    capsys.readouterr()
    succeed("sample", bundle, "--prompt", "bad")
    printed = capsys.readouterr().out
    assert ("bad: " if alignment == "ctc" else "Generated from: bad") in printed
    assert tables[0][0]["predicted"] in printed
    assert main.main(["sample", str(bundle), "--prompt", "zoo"]) == 3
    assert "got 'z' in 'zoo'" in capsys.readouterr().err
    status = main.main(["inspect", str(run), "--out", str(tmp_path / "figures")])
    refused = "to be inspected, got Transducer, which also reads labels"
    assert (status == 2) == (refused in capsys.readouterr().err) == (alignment == "transducer")


@pytest.mark.slow
@pytest.mark.usefixtures("implicit_promotion", "quick_compile")
def test_parallel_text_of_a_user_is_trained_bundled_and_translated(tmp_path, capsys):
    pytest.importorskip("tokenizers")
    words = {"I": "je", "you": "vous", "see": "vois", "eat": "mange", "it": "cela", "him": "lui"}
    pairs = itertools.product(("I", "you"), ("see", "eat"), ("it", "him"), ("now", "here", "too"))
    lines = [f"{' '.join(x)}\t{' '.join(words.get(w, w) for w in x)}" for x in pairs]
    text = tmp_path / "pairs.tsv"
    text.write_text("\n".join(lines))
    run, result, bundle = trained(tmp_path, "Translation", text, "vocab_size=300")
    assert result["signatures"]["bleu"].startswith("nrefs:1|")
    assert result["baselines"]["copied sentence"]["bleu"] < 50
    new = tmp_path / "new.tsv"
    new.write_text("I see it here\tje vois cela here\nyou\tvous\n")
    tables = [predicted(x, new, tmp_path / f"{x.name}.csv") for x in (run, bundle)]
    assert tables[0] == tables[1]
    assert [row["actual"] for row in tables[0]] == ["je vois cela here", "vous"]
    assert "BLEU" in capsys.readouterr().out
    succeed("sample", bundle, "--prompt", "I see him")
    assert "Generated from: I see him" in capsys.readouterr().out
