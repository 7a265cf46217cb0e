"""Lists in kawaii.generation.v1: filters, page sizes and page tokens, to and from the model."""

import base64
import binascii
from collections.abc import Sequence
from hashlib import sha256

from google.protobuf.timestamp_pb2 import Timestamp
from kawaii.generation.v1 import generation_pb2 as generationpb

from catalogue import Model
from services.chassis.errors import InvalidArgument
from services.chassis.names import ID
from services.generation.model import Generation, State
from services.generation.ports import Page
from services.generation.wire import generations

DEFAULT_PAGE, MAX_PAGE = 50, 1000  # AIP-158: too large is coerced
MAX_MS = 2**62  # fits a 64-bit column


def page(request: generationpb.ListGenerationsRequest) -> Page:
    """What to list. Raises InvalidArgument for a negative size or a token that is not of this list."""
    return Page(
        size=min(size_of(request) or DEFAULT_PAGE, MAX_PAGE),
        after=position(request),
        states=tuple(map(state_of, request.states)),
        start_ms=moment("start_time", request.start_time),
        end_ms=moment("end_time", request.end_time),
    )


def size_of(request: generationpb.ListGenerationsRequest | generationpb.ListModelsRequest) -> int:
    """The requested page size, 0 when the request leaves it out. Raises InvalidArgument for a negative size."""
    if request.page_size < 0:
        raise InvalidArgument("page_size must not be negative.", metadata={"field": "page_size"})
    return request.page_size


def foreign_token() -> InvalidArgument:
    """The error for a page token that does not belong to this list."""
    return InvalidArgument("The page_token is not one of this list. Start again without it.", "INVALID_PAGE_TOKEN")


def state_of(state: generationpb.Generation.State.ValueType) -> State:
    """A state by its proto number. Raises InvalidArgument for none or one that does not exist."""
    names = generationpb.Generation.State
    word = names.Name(state).removeprefix("STATE_") if state in names.values() else ""
    if word not in State.__members__:
        raise InvalidArgument("There is no such state.", metadata={"field": "states"})
    return State(word)


def moment(field: str, time: Timestamp) -> int:
    """A filter's time in milliseconds. Raises InvalidArgument outside the years 1 to 9999."""
    try:
        return time.ToMilliseconds()
    except ValueError:
        raise InvalidArgument(f"{field} lies outside the years 1 to 9999.", metadata={"field": field}) from None


def fingerprint(request: generationpb.ListGenerationsRequest) -> str:
    """A digest of the filters, to which a page token is bound; the size may change."""
    filters = generationpb.ListGenerationsRequest(
        states=request.states, start_time=request.start_time, end_time=request.end_time
    )
    return sha256(filters.SerializeToString(deterministic=True)).hexdigest()[:8]


def position(request: generationpb.ListGenerationsRequest) -> tuple[int, str] | None:
    """The position (create_ms, id) after which a page begins. Raises InvalidArgument."""
    if not request.page_token:
        return None
    try:
        created, last, filters = base64.urlsafe_b64decode(request.page_token).decode().split("|")
        if filters == fingerprint(request) and ID.fullmatch(last):
            return min(int(created), MAX_MS), last
    except (ValueError, binascii.Error):
        pass
    raise foreign_token()


def token(request: generationpb.ListGenerationsRequest, last: Generation) -> str:
    """The token of the page after the one that ends here."""
    return base64.urlsafe_b64encode(f"{last.create_ms}|{last.id}|{fingerprint(request)}".encode()).decode()


def models(request: generationpb.ListModelsRequest, specs: Sequence[Model]) -> generationpb.ListModelsResponse:
    """A page of the model table. Raises InvalidArgument for a negative size or a token that is not of this list."""
    size = size_of(request) or len(specs)
    tokens = [base64.urlsafe_b64encode(spec.id.encode()).decode() for spec in specs]
    if request.page_token and request.page_token not in tokens:
        raise foreign_token()
    start = tokens.index(request.page_token) + 1 if request.page_token else 0
    following = tokens[start + size - 1] if start + size < len(specs) else ""
    shown = map(generations.model_pb, specs[start : start + size])
    return generationpb.ListModelsResponse(models=shown, next_page_token=following)
