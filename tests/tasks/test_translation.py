"""Translations, on a small parallel text whose rule is known."""

import itertools
import json
import zipfile

import numpy as np
import pytest

from rnnlab.bundle.kinds import dump_preparation, load_preparation
from rnnlab.errors import DataError
from rnnlab.tasks import Translation
from rnnlab.tasks.batch import IGNORE_INDEX
from rnnlab.tasks.readers.bitext import read_bitext
from rnnlab.tasks.text_units import UNKNOWN, TextUnits
from rnnlab.tasks.translation import _read

pytest.importorskip("sacrebleu")
WORDS = {"I": "je", "you": "vous", "see": "vois", "eat": "mange", "a": "un", "dog": "chien"}


@pytest.fixture
def bitext(tmp_path):
    subjects, verbs, objects = ("I", "you"), ("see", "eat"), ("dog", "cat", "cow", "hen", "owl")
    lines = []
    for subject, verb, thing in itertools.product(subjects, verbs, objects):
        english = [subject, verb, "a", thing]
        french = " ".join(WORDS.get(word, word) for word in english)
        lines += [f"{' '.join(english)}.\t{french}.\tCC-BY"]
        if thing == "dog":
            lines += [f"{' '.join(english)}.\t{french}\u202f!\tCC-BY"]
    lines += ["this one is far too long to be kept\tceci est trop long"]
    file = tmp_path / "pairs.tsv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def task(path, **settings):
    return Translation(path, **{"units": "characters", "max_words": 4, "batch_size": 4} | settings)


def test_reader_takes_text_and_zip_files_and_columns(bitext, tmp_path):
    packed = tmp_path / "pairs.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("_about.txt", "no tabs here")
        archive.writestr("fra.txt", bitext.read_bytes())
    pairs = read_bitext(bitext)
    assert pairs == read_bitext(packed)
    assert pairs[:2] == [
        ("I see a dog.", "je vois un chien."),
        ("I see a dog.", "je vois un chien !"),
    ]
    assert read_bitext(bitext, (1, 0)) == [(y, x) for x, y in pairs]


def test_parts_share_no_source_sentence(bitext):
    read = _read(bitext, (0, 1), 4, None)
    parts = [{source for source, _ in part} for part in read.parts.values()]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 20
    assert read.omitted == 1
    assert {len(of) for part in read.parts.values() for _, of in part} == {1, 2}


def test_subset_keeps_the_test_part(bitext):
    whole, few = (_read(bitext, (0, 1), 4, count).parts for count in (None, 5))
    assert whole["test"] == few["test"]
    assert len(few["train"]) == 5
    assert set(few["train"]) < set(whole["train"])


@pytest.mark.parametrize("units", ["characters", "bpe"])
def test_right_labels_score_100(bitext, units):
    pytest.importorskip("tokenizers")
    data = task(bitext, units=units, vocab_size=300).load(0)
    pairs = []
    for batch in data.eval_sets["test"]():
        ends = batch.targets <= 0
        pairs += data.decode(np.where(ends, IGNORE_INDEX, batch.targets), batch)
    # A rare character of a reference has no token of its own, so that no model can produce it.
    tokens = data.preparation.target_units
    for predicted, references in pairs:
        assert predicted in [tokens.decode(tokens.encode(x)) for x in references]
    assert len(pairs) == 2
    assert data.signatures["bleu"].startswith("nrefs:")


def test_byte_pairs_are_learned_and_reversed_in_any_script():
    pytest.importorskip("tokenizers")
    units = TextUnits.learn(["le chat noir", "le chat blanc"] * 5, "bpe", 300)
    sentences = ["le chat", "Ça alors !", "кот"]
    encoded = units.encode_all(sentences)
    assert units.decode_all(encoded) == sentences
    assert len(encoded[0]) == 2
    assert max(x.max() for x in encoded) < len(units.symbols) <= 300


def test_rare_characters_are_one_token():
    units = TextUnits.learn(["aaa bbb", "é"], "characters", 0)
    assert units.encode("aé").tolist() == [units.symbols.index("a"), UNKNOWN]
    assert units.decode(np.array([0, 1, UNKNOWN, units.symbols.index("b")])) == "b"


def test_preparation_of_a_bundle_translates_new_sentences(bitext, tmp_path):
    data = task(bitext).load(0)
    stored = json.loads(json.dumps(dump_preparation(data.preparation)))
    preparation = load_preparation(stored, "preparation")
    labels = data.preparation.target_units.encode("un")

    def outputs(batch):
        return np.tile(labels, (len(batch.source.inputs), 1))

    found = preparation.predict(outputs, "a dog\n\nyou", None)
    assert found.to_csv() == "source,predicted\na dog,un\nyou,un\n"
    pairs = tmp_path / "new.tsv"
    pairs.write_text("a\tun\n")
    assert "BLEU" in preparation.predict(outputs, pairs, None).summary
    with pytest.raises(DataError, match="source must have >= 1 sentence, got none"):
        preparation.predict(outputs, " \n", None)


def test_nearest_sentence_is_better_than_the_copy(bitext):
    pytest.importorskip("sklearn")
    scores = task(bitext).load(0).baselines()
    copied, nearest = (scores[x] for x in ("copied sentence", "nearest training sentence"))
    assert nearest["chrf"] > copied["chrf"]


def test_fingerprint_follows_text_and_units(bitext, tmp_path):
    changed = tmp_path / "changed.tsv"
    changed.write_text(bitext.read_text("utf-8").replace("un hen", "une hen"), encoding="utf-8")
    tasks = task(bitext), task(changed), task(bitext, columns=(1, 0))
    assert len({x.load(0).fingerprint for x in tasks}) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; give a file with data"),
        ("Go.\tVa !\nno tab here\n", "line 2: must have 2 columns separated by tabs, got 1: 'no"),
        ("Go.\t \n", "line 1, column 2: must have a sentence, got an empty cell; write it or"),
        ("Go.\tVa !\n", "must have >= 10 sentences of at most 4 words, got 1; add sentences"),
    ],
)
def test_wrong_text_raises_one_line(tmp_path, text, message):
    file = tmp_path / "a.tsv"
    file.write_text(text)
    with pytest.raises(DataError) as error:
        task(file).load(0)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"units": "words"}, "units must be one of .*'words'"),
        ({"columns": (0, 0)}, "columns must be two different numbers"),
        ({"units": "bpe", "vocab_size": 100}, "vocab_size must be >= 259"),
        ({"sentences": 0}, "sentences must be an int >= 1"),
    ],
)
def test_wrong_setting_raises(bitext, settings, message):
    pytest.importorskip("tokenizers")
    with pytest.raises(ValueError, match=message):
        task(bitext, **settings).load(0)
