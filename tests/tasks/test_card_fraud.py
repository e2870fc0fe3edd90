"""Card frauds by time, on a small generated file of the public table's format."""

import numpy as np
import pytest
from fitted_estimators import assert_fitted_to_the_same

from rnnlab.errors import DataError
from rnnlab.tasks import CardFraud, card_fraud
from rnnlab.tasks.batch import arrays
from rnnlab.tasks.card_fraud import card_features
from rnnlab.tasks.readers.card_transactions import COLUMNS, read_card_transactions


def rows(count=400, seed=0):
    rng = np.random.default_rng(seed)
    seconds = np.sort(rng.integers(0, 172_792, count))
    classes = np.arange(count) % 20 == 7
    values = rng.normal(size=(count, 28)) + 2 * classes[:, None]
    amounts = rng.uniform(0, 300, count).round(2)
    return np.column_stack([seconds, values.round(6), amounts, classes])


@pytest.fixture
def write(tmp_path):
    def write(table, name="creditcard.csv"):
        lines = [",".join(f'"{column}"' for column in COLUMNS)]
        for row in table:
            cells = [f"{row[0]:.0f}", *(repr(float(x)) for x in row[1:-1]), f'"{row[-1]:.0f}"']
            lines.append(",".join(cells))
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


def test_first_day_trains_and_validates_and_the_second_tests(write):
    path = write(rows())
    (train, valid, test), note = card_fraud._parts(path, 0.25)
    first_day = int((rows()[:, 0] < 86_400).sum())
    assert len(train[1]) + len(valid[1]) == first_day
    assert len(test[1]) == 400 - first_day
    np.testing.assert_allclose(train[0].mean(0), 0, atol=1e-5)
    assert note.startswith("transactions without 0 equal rows: ")
    data = CardFraud(path, length=16, batch_size=4, balance=0.5, class_weights=0.5).load(0)
    assert data.train_batch(3).inputs.shape == (4, 16, 32)
    (batch,) = data.eval_sets["test"]()
    assert (batch.targets[batch.mask] == test[1]).all()
    assert data.metrics[0] == "average_precision/fraud"


def test_equal_rows_are_dropped_before_the_split(write):
    table = rows()
    doubled = np.concatenate([table, table[[7, 300, 300]]])
    plain, found = (read_card_transactions(write(x, f"{len(x)}.csv")) for x in (table, doubled))
    assert (plain.duplicates, found.duplicates) == (0, 3)
    np.testing.assert_equal(found[:4], plain[:4])


@pytest.mark.parametrize("part", ["valid", "test"])
def test_planted_constant_in_an_evaluated_part_changes_no_training_number(
    write, part, fitted_arrays
):
    planted = rows()
    first_day = int((planted[:, 0] < 86_400).sum())
    valid = len(card_fraud._parts(write(planted), 0.25)[0][1][1])
    start, stop = {"valid": (first_day - valid, first_day), "test": (first_day, None)}[part]
    planted[start:stop, 1:30] += 1000
    settings = {"length": 16, "batch_size": 4, "class_weights": 0.5, "balance": 0.5, "valid": 0.25}
    paths = write(rows()), write(planted, "planted.csv")
    plain, other = (CardFraud(path, **settings).load(0) for path in paths)
    assert other.fingerprint != plain.fingerprint
    assert other.loss_options == plain.loss_options
    for n in range(3):
        np.testing.assert_equal(other.train_batch(n), plain.train_batch(n))
    unchanged = {"valid": "test", "test": "valid"}[part]
    sets = [[x for b in data.eval_sets[unchanged]() for x in arrays(b)] for data in (plain, other)]
    np.testing.assert_equal(*sets)
    assert_fitted_to_the_same(plain.baselines, other.baselines, fitted_arrays)


def test_features_of_a_transaction_do_not_read_later_ones(write):
    read = read_card_transactions(write(rows()))
    past = type(read)(*(x[:100] for x in read[:4]), 0)
    np.testing.assert_array_equal(card_features(past), card_features(read)[:100])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "line 1: must have the columns Time, V1 to V28, Amount, Class, got 'a, b'"),
        (",".join(COLUMNS) + "\n", "must have transactions, got none"),
        (",".join(COLUMNS) + "\n" + "x," * 30 + "0\n", "must have numbers only: .* row 0"),
        (",".join(COLUMNS) + "\n" + "1," * 30 + "2\n", "line 2: must have finite values and"),
        (",".join(COLUMNS) + "\n" + "1," * 30 + "1\n", "must have frauds before and after 86400"),
    ],
)
def test_file_of_another_format_raises_data_error(tmp_path, text, message):
    (tmp_path / "table.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        CardFraud(tmp_path / "table.csv").load(0)


def test_missing_file_or_path_raises_an_error_with_its_name(tmp_path):
    with pytest.raises(DataError, match=r"none.csv: cannot be read"):
        CardFraud(tmp_path / "none.csv").load(0)
    with pytest.raises(ValueError, match="path must be the file"):
        CardFraud().load(0)
