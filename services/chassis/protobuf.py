"""Values of protobuf messages in plain Python and back: times, durations and the values of a Struct."""

from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from services.chassis.errors import invalid_field


def timestamp(milliseconds: int) -> Timestamp | None:
    """A time from milliseconds since 1970; None, which leaves a field unset, for 0."""
    seconds, rest = divmod(milliseconds, 1000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000_000) if milliseconds else None


def milliseconds(moment: Timestamp) -> int:
    """A time in milliseconds since 1970; 0 when it is unset. Any number comes back, also of an impossible year."""
    return moment.seconds * 1000 + moment.nanos // 1_000_000


def checked_milliseconds(field: str, moment: Timestamp) -> int:
    """A time in milliseconds since 1970; 0 when it is unset.

    Raises:
        InvalidArgument: the time lies outside the years 1 to 9999.
    """
    try:
        return moment.ToMilliseconds()
    except ValueError:
        raise invalid_field(field, f"{field} lies outside the years 1 to 9999.") from None


def duration(milliseconds: int) -> Duration:
    """A duration from milliseconds."""
    seconds, rest = divmod(milliseconds, 1000)
    return Duration(seconds=seconds, nanos=rest * 1_000_000)


def value(plain: Any) -> Value:
    """A Struct's value from a bool, a number or a text."""
    return ParseDict(plain, Value())


def scalar(value: Value) -> Any:
    """A Struct's value in plain Python. Its numbers are all floating; those without a fraction count as integers."""
    kind = value.WhichOneof("kind")
    plain = None if kind is None else getattr(value, kind)
    return int(plain) if isinstance(plain, float) and plain.is_integer() else plain
