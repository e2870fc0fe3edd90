"""Small files: what is no JSON is named, and what could not be written says why and what to do."""

import errno
import json
import os
import time

import pytest

from rnnlab.atomic_io import read_json, write_json, writing
from rnnlab.errors import InsufficientResourcesError


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": [1, 0.5, float("inf")], "b": {"a": None}})
    assert read_json(path) == {"a": [1, 0.5, None], "b": {"a": None}}


@pytest.mark.parametrize(
    ("text", "name"), [('{"a": 1, "b": 2, "a": 1}', "a"), ('{"a": [{"b": 1, "b": 2}]}', "b")]
)
def test_a_name_that_is_there_twice_is_refused(tmp_path, text, name):
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"a.json is not JSON: '{name}' is there twice"):
        read_json(path)


def test_the_double_among_many_names_is_found_in_linear_time(tmp_path):
    path = tmp_path / "a.json"
    text = json.dumps({f"name{i}": i for i in range(200_000)})
    path.write_text(text[:-1] + ', "name123456": 0}', encoding="utf-8")
    began = time.process_time()
    with pytest.raises(ValueError, match="'name123456' is there twice"):
        read_json(path)
    # Quadratic, it takes many minutes.
    assert time.process_time() - began < 20


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_only_where_there_is_no_room_is_it_asked_for(tmp_path, number):
    path, error = tmp_path / "a", OSError(number, os.strerror(number))
    with pytest.raises(InsufficientResourcesError) as raised, writing(path):
        raise error
    reason = os.strerror(number)
    assert str(raised.value) == f"{path} could not be written: {reason}; make room for it"
    assert raised.value.__cause__ is error


def test_where_the_place_is_wrong_another_is_asked_for(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "a.json"
    with pytest.raises(InsufficientResourcesError) as raised:
        write_json(path, {})
    reason = os.strerror(errno.ENOTDIR)
    said = f"{path} could not be written: {reason}; choose another place for it"
    assert str(raised.value) == said


def test_an_error_without_a_number_is_told_by_its_words(tmp_path):
    said = r"a could not be written: odd; choose another place for it$"
    with pytest.raises(InsufficientResourcesError, match=said), writing(tmp_path / "a"):
        raise OSError("odd")
