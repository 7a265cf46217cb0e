"""Times, durations and values cross the wire without loss; a field that is unset is 0 here, and 0 is unset there."""

import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from services.chassis.errors import InvalidArgument
from services.chassis.protobuf import checked_milliseconds, duration, milliseconds, scalar, timestamp, value

MOST_SECONDS = 253_402_300_799  # the end of the year 9999


@pytest.mark.parametrize("moment", [1, 999, 1_700_000_000_123, -1, MOST_SECONDS * 1000])
def test_a_time_comes_back_as_it_was(moment: int) -> None:
    rendered = timestamp(moment)

    assert rendered
    assert milliseconds(rendered) == checked_milliseconds("create_time", rendered) == moment
    assert rendered.ToMilliseconds() == moment


def test_zero_leaves_a_time_unset_and_an_unset_time_is_zero() -> None:
    assert timestamp(0) is None
    assert milliseconds(Timestamp()) == checked_milliseconds("create_time", Timestamp()) == 0


def test_a_time_in_an_impossible_year_is_refused_where_it_is_checked() -> None:
    impossible = Timestamp(seconds=MOST_SECONDS + 1)

    assert milliseconds(impossible) == (MOST_SECONDS + 1) * 1000
    with pytest.raises(InvalidArgument) as caught:
        checked_milliseconds("create_time", impossible)
    assert caught.value.metadata == {"field": "create_time"}


def test_a_duration_has_the_milliseconds_that_it_was_made_of() -> None:
    assert [duration(number).ToMilliseconds() for number in (0, 1, 86_400_000, 1_234)] == [0, 1, 86_400_000, 1_234]


def test_numbers_of_a_struct_without_a_fraction_are_whole() -> None:
    struct = Struct()
    struct.update({"whole": 2, "part": 2.5, "text": "2", "yes": True, "nothing": None})

    plain = {key: scalar(value) for key, value in struct.fields.items()}

    assert plain == {"whole": 2, "part": 2.5, "text": "2", "yes": True, "nothing": 0}
    assert type(plain["whole"]) is int


@pytest.mark.parametrize("plain", [True, False, 0, -3, 2**40, 1.5, "", "猫"])
def test_a_plain_value_comes_back_from_its_message(plain: object) -> None:
    back = scalar(value(plain))

    assert (type(back), back) == (type(plain), plain)
