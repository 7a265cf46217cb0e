"""Lists in kawaii.generation.v1: filters, page sizes and page tokens, to and from the model."""

from collections.abc import Sequence

from kawaii.generation.v1 import generation_pb2 as generationpb

from catalogue import Model
from services.chassis import paging
from services.chassis.errors import invalid_field
from services.chassis.names import ID
from services.chassis.protobuf import checked_milliseconds
from services.generation.model import Generation, State
from services.generation.ports import Page
from services.generation.wire import generations

DEFAULT_PAGE, MAX_PAGE = 50, 1000  # AIP-158: too large is coerced
MAX_MS = 2**62  # fits a 64-bit column


def page(request: generationpb.ListGenerationsRequest) -> Page:
    """What to list. Raises InvalidArgument for a negative size or a token that is not of this list."""
    return Page(
        size=paging.page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE),
        after=position(request),
        states=tuple(map(state_of, request.states)),
        start_ms=checked_milliseconds("start_time", request.start_time),
        end_ms=checked_milliseconds("end_time", request.end_time),
    )


def state_of(state: generationpb.Generation.State.ValueType) -> State:
    """A state by its proto number. Raises InvalidArgument for none or one that does not exist."""
    names = generationpb.Generation.State
    word = names.Name(state).removeprefix("STATE_") if state in names.values() else ""
    if word not in State.__members__:
        raise invalid_field("states", "There is no such state.")
    return State(word)


def position(request: generationpb.ListGenerationsRequest) -> tuple[int, str] | None:
    """The position (create_ms, id) after which a page begins. Raises InvalidArgument."""
    return TOKENS.position(listing(request), request.page_token)


def token(request: generationpb.ListGenerationsRequest, last: Generation) -> str:
    """The token of the page after the one that ends here."""
    return TOKENS.token(listing(request), str(last.create_ms), last.id)


def listing(request: generationpb.ListGenerationsRequest) -> bytes:
    """The filters, to which a page token is bound; the size may change."""
    filters = generationpb.ListGenerationsRequest(
        states=request.states, start_time=request.start_time, end_time=request.end_time
    )
    return filters.SerializeToString(deterministic=True)


def _position(create_ms: str, identifier: str) -> tuple[int, str]:
    if not ID.fullmatch(identifier):
        raise ValueError(identifier)
    return min(int(create_ms), MAX_MS), identifier


TOKENS = paging.PageTokens(_position, check=paging.digest_of, check_last=True)


def models(request: generationpb.ListModelsRequest, specs: Sequence[Model]) -> generationpb.ListModelsResponse:
    """A page of the model table. Raises InvalidArgument for a negative size or a token that is not of this list."""
    size = paging.page_size(request.page_size, len(specs), MAX_PAGE)
    tokens = [paging.encoded(spec.id) for spec in specs]
    if request.page_token and request.page_token not in tokens:
        raise paging.foreign_token()
    start = tokens.index(request.page_token) + 1 if request.page_token else 0
    following = tokens[start + size - 1] if start + size < len(specs) else ""
    shown = map(generations.model_pb, specs[start : start + size])
    return generationpb.ListModelsResponse(models=shown, next_page_token=following)
