"""Versions: sessions keep theirs, shares are met, and old versions are unloaded."""

import pytest
from serve.models import text_model, value_model

from rnnlab.serve.interface import Interface
from rnnlab.serve.jobs import RequestError
from rnnlab.serve.versions import KEPT, Versions


class NoSlots:
    """Slots that compute nothing."""

    num_slots = 1
    warm = 0

    def warm_up(self):
        self.warm += 1


def make_versions(count):
    versions = Versions("m")
    for number in range(count):
        versions.add(str(number), Interface.of(text_model()), NoSlots())
    return versions


def test_sessions_are_shared_out_by_their_name():
    versions = make_versions(2)
    versions.set_shares({"1": 0.9, "2": 0.1})
    chosen = {f"session-{k}": versions.choose(f"session-{k}").number for k in range(2000)}
    assert 140 < sum(number == "2" for number in chosen.values()) < 260
    assert all(versions.choose(name).number == number for name, number in chosen.items())


def test_smaller_share_moves_no_session_to_the_other_version():
    versions = make_versions(2)
    names = [str(k) for k in range(300)]
    versions.set_shares({"1": 0.5, "2": 0.5})
    before = {name for name in names if versions.choose(name).number == "1"}
    versions.set_shares({"1": 0.8, "2": 0.2})
    assert before < {name for name in names if versions.choose(name).number == "1"}


def test_rollback_restores_one_change_after_the_other():
    versions = make_versions(3)
    steps = [{"1": 1.0}, {"1": 0.5, "2": 0.5}, {"2": 1.0}]
    for shares in steps:
        versions.set_shares(shares)
    assert versions.roll_back() == steps[1]
    assert versions.roll_back() == steps[0] == versions.shares
    with pytest.raises(ValueError, match="must have been changed"):
        versions.roll_back()


def test_oldest_versions_without_sessions_are_unloaded():
    versions = make_versions(2)
    versions.set_shares({"1": 1.0})
    for number in range(2, 9):
        versions.add(str(number), Interface.of(text_model()), NoSlots())
    numbers = [version.number for version in versions.loaded]
    assert (len(numbers), numbers[0], numbers[-1]) == (KEPT, "1", "9")
    with pytest.raises(RequestError, match="version must be one of 1, 7, 8, 9, got '2'"):
        versions.get("2")


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"1": 0.5}, "add up to 1, got 0.5"),
        ({"1": 1.5, "2": -0.5}, r"in \(0, 1\], got 1.5"),
        ({"7": 1.0}, "must name loaded versions, 1, 2, got '7'"),
    ],
)
def test_invalid_shares_change_nothing(shares, message):
    versions = make_versions(2)
    versions.set_shares({"1": 1.0})
    with pytest.raises(ValueError, match=message):
        versions.set_shares(shares)
    assert versions.shares == {"1": 1.0}


def test_version_of_another_interface_is_refused_before_it_is_compiled():
    versions, slots = make_versions(1), NoSlots()
    with pytest.raises(ValueError, match="got another vocab_size"):
        versions.add("2", Interface.of(value_model()), slots)
    assert slots.warm == 0


def test_model_without_a_version_is_not_ready():
    with pytest.raises(RequestError, match="must be ready") as refused:
        make_versions(0).choose("a")
    assert refused.value.status == 503
