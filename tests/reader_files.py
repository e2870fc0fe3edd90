"""What the tests of the readers share: files with a given content, and one-line errors."""

import pytest

from rnnlab.errors import DataError


@pytest.fixture
def write_file(tmp_path):
    """A function that writes a file and returns its path."""

    def write_file(content, name="data"):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content, encoding="utf-8")
        return path

    return write_file


def assert_refused(read, path, message, *arguments, **options):
    """Asserts that a reader raises one line that starts with the path and matches `message`."""
    with pytest.raises(DataError, match=message) as raised:
        read(path, *arguments, **options)
    assert str(raised.value).startswith(str(path))
    assert len(str(raised.value).splitlines()) == 1


def outcome(read, *arguments, **options):
    """The message of the error that a reader raises, or an empty string."""
    try:
        read(*arguments, **options)
    except DataError as error:
        return str(error)
    return ""


def assert_read_or_refused(messages):
    """Asserts that of many outcomes some are read, some are errors, and each error is one line."""
    assert "" in messages
    assert any(messages)
    assert not any("\n" in message for message in messages)
