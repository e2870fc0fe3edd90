"""Small files: reading names what is not JSON; a failed write names the reason and a remedy."""

import errno
import json
import os
import time

import pytest

from rnnlab.atomic_io import raise_resource_errors, read_json, write_json
from rnnlab.errors import InsufficientResourcesError


def test_read_json_returns_what_write_json_wrote(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": [1, 0.5, float("inf")], "b": {"a": None}})
    assert read_json(path) == {"a": [1, 0.5, None], "b": {"a": None}}


@pytest.mark.parametrize(
    ("text", "name"), [('{"a": 1, "b": 2, "a": 1}', "a"), ('{"a": [{"b": 1, "b": 2}]}', "b")]
)
def test_read_json_with_a_duplicate_key_is_an_error(tmp_path, text, name):
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"a.json is not JSON: the key '{name}' occurs twice"):
        read_json(path)


def test_read_json_finds_a_duplicate_key_in_linear_time(tmp_path):
    path = tmp_path / "a.json"
    text = json.dumps({f"name{i}": i for i in range(200_000)})
    path.write_text(text[:-1] + ', "name123456": 0}', encoding="utf-8")
    began = time.process_time()
    with pytest.raises(ValueError, match="'name123456' occurs twice"):
        read_json(path)
    # Quadratic, it takes many minutes.
    assert time.process_time() - began < 20


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_write_error_of_a_full_disk_advises_to_free_space(tmp_path, number):
    path, error = tmp_path / "a", OSError(number, os.strerror(number))
    with pytest.raises(InsufficientResourcesError) as raised, raise_resource_errors(path):
        raise error
    reason = os.strerror(number)
    assert str(raised.value) == f"{path} could not be written: {reason}; free disk space"
    assert raised.value.__cause__ is error


def test_write_error_of_a_wrong_path_advises_another_directory(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "a.json"
    with pytest.raises(InsufficientResourcesError) as raised:
        write_json(path, {})
    reason = os.strerror(errno.ENOTDIR)
    message = f"{path} could not be written: {reason}; choose another directory"
    assert str(raised.value) == message


def test_write_error_without_errno_shows_its_message(tmp_path):
    message = r"a could not be written: odd; choose another directory$"
    with (
        pytest.raises(InsufficientResourcesError, match=message),
        raise_resource_errors(tmp_path / "a"),
    ):
        raise OSError("odd")
