"""Reader of words and tags in columns: Universal NER, CoNLL-2003, plain text and bad files."""

import pytest

from rnnlab.errors import DataError
from rnnlab.tasks.readers.iob2 import Sentence, read_iob2, read_sentences

UNER = """# sent_id = 1
# text = Kjeld bor i Aarhus
1\tKjeld\tB-PER\tB-PER#O\ts
2\tbor\tO\tO#O\ts
3-4\ti Aarhus\tO\tO#O\ts
3\ti\tO\tO#O\ts
4\tAarhus\tB-LOC\tB-LOCpart#O\ts

# text = #
1\t#\tO\tO#O\ts
"""
CONLL = """-DOCSTART- -X- O O

# # B-NP O
EU NNP B-NP I-ORG
Mary NNP I-NP I-PER
Ann NNP I-NP I-PER
"""


def test_files_of_columns_are_read_by_their_content(tmp_path):
    file = tmp_path / "a.iob2"
    file.write_text(UNER)
    words = ("Kjeld", "bor", "i", "Aarhus")
    assert read_iob2(file) == [
        Sentence(words, ("B-PER", "O", "O", "B-LOC")),
        Sentence(("#",), ("O",)),
    ]
    file.write_text(CONLL)
    tags = ("O", "B-ORG", "B-PER", "I-PER")
    assert read_iob2(file) == [Sentence(("#", "EU", "Mary", "Ann"), tags)]


def test_new_text_is_read_without_tags(tmp_path):
    (tmp_path / "a.txt").write_text("Kjeld, SID-huset.\n\n1.000 kr\n")
    sentences = read_sentences(tmp_path / "a.txt")
    assert [x.words for x in sentences] == [("Kjeld", ",", "SID-huset", "."), ("1.000", "kr")]
    (tmp_path / "b.conll").write_text("Kjeld\nsover\n\nnu\n")
    assert read_sentences(tmp_path / "b.conll") == [
        Sentence(("Kjeld", "sover"), None),
        Sentence(("nu",), None),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Kjeld\tB-PER\nsover\n", "line 2: must have 2 columns as the lines before it, got 1"),
        ("Kjeld NNP\n", "must have a column of tags such as O, B-PER and I-PER"),
        ("# only a comment\n\n", "must have a word, got only comments"),
    ],
)
def test_bad_file_names_the_line_and_what_to_do(tmp_path, content, message):
    (tmp_path / "a.conll").write_text(content)
    with pytest.raises(DataError, match=message):
        read_iob2(tmp_path / "a.conll")
