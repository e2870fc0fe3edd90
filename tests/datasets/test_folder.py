"""The files of a data set are found in either form, and are what the catalog describes."""

import re
from pathlib import Path

import pytest
from small_data_set import FILES, NAME, is_here, write_set

from rnnlab.datasets import DATASETS, dataset_files
from rnnlab.datasets import data_folder as folder_of_all
from rnnlab.errors import DataError


def refused(*arguments):
    """The one line of a DataError of `dataset_files`."""
    with pytest.raises(DataError) as raised:
        dataset_files(NAME, *arguments)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_catalog_has_a_valid_digest_and_address_for_every_file():
    assert len(DATASETS) == 12
    for name, data_set in DATASETS.items():
        assert name == data_set.name
        assert data_set.parts
        for file in data_set.files():
            # The records of MIT-BIH are compared with the list that PhysioNet publishes.
            is_listed = file.sha256 is None and "physionet.org/files/mitdb" in file.url
            assert is_listed or re.fullmatch("[0-9a-f]{64}", file.sha256), file
            assert not Path(file.name).is_absolute()
            assert ".." not in file.name
            assert file.url is None or file.url.startswith("https://")
            # The sizes of the official archives are not published.
            is_archive = name == "physionet2012" and file.name.endswith(".tar.gz")
            assert file.size or is_listed or is_archive


@pytest.mark.parametrize("name", list(DATASETS))
def test_files_of_a_data_set_that_is_here_are_valid(name):
    if not is_here(name):
        pytest.skip(f"{name} is not in the data folder")
    assert list(dataset_files(name)) == list(DATASETS[name].parts)


def test_data_folder_is_the_variable_or_a_folder_of_the_user(monkeypatch):
    monkeypatch.setenv("RNNLAB_DATA", "~/sets")
    assert folder_of_all() == Path.home() / "sets"
    monkeypatch.setenv("RNNLAB_DATA", "")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert folder_of_all() == Path("/data/rnnlab/data")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert folder_of_all() == Path.home() / ".local/share/rnnlab/data"


def test_dataset_files_returns_a_path_per_part_in_either_form(data_folder):
    write_set(data_folder / NAME, "hour.csv.xz", "data/a.csv", "data/b.csv")
    found = {"hour.csv": data_folder / NAME / "hour.csv.xz", "tables": data_folder / NAME}
    assert dataset_files(NAME) == found
    write_set(data_folder / NAME)
    assert dataset_files(NAME)["hour.csv"].name == "hour.csv"


def test_dataset_files_accepts_the_folder_of_the_set_and_the_one_above(tmp_path, data_folder):
    mine = write_set(tmp_path / "mine" / NAME)
    assert dataset_files(NAME, mine) == dataset_files(NAME, tmp_path / "mine")
    assert dataset_files(NAME, str(mine))["tables"] == mine


def test_missing_set_names_the_command_that_gets_it(tmp_path, data_folder):
    folder = data_folder / NAME
    assert refused() == (
        f"small is not here: {folder} has no hour.csv or hour.csv.xz; run "
        "`rnnlab data get small --from FOLDER`"
    )
    write_set(folder, "hour.csv", "data/a.csv")
    assert "has no 2 files such as data/b.csv; run" in refused()
    mine = write_set(tmp_path / "mine", "data/a.csv")
    assert refused(mine).startswith(f"{mine} has no hour.csv or hour.csv.xz, a part of small; ")


def test_truncated_file_is_an_error_with_its_bytes(data_folder):
    path = write_set(data_folder / NAME) / "hour.csv"
    size = len(FILES["hour.csv"])
    path.write_bytes(FILES["hour.csv"][:-1])
    assert refused() == (
        f"{path} must have {size} bytes, got {size - 1}: it is incomplete; remove it and run "
        "`rnnlab data get small --from FOLDER`"
    )


def test_file_with_a_flipped_bit_is_an_error_with_its_digest(data_folder):
    path = write_set(data_folder / NAME) / "data" / "b.csv"
    path.write_bytes(b"b\n3\n")
    message = rf"{path} must have the SHA-256 [0-9a-f]{{16}}..., got [0-9a-f]{{16}}...: it is corr"
    assert re.match(message, refused())


def test_unknown_name_is_an_error_with_the_known_ones():
    with pytest.raises(ValueError, match=r"name must be one of physionet2012, .*, got 'x'"):
        dataset_files("x")
