"""Generations, events, links, models and the lists of them in kawaii.generation.v1, to and from the model."""

from collections.abc import Sequence

from kawaii.generation.v1 import generation_pb2 as generationpb

from catalogue import Model, Parameter
from services.chassis import paging
from services.chassis.errors import invalid_field
from services.chassis.names import ID, name, parse_id
from services.chassis.protobuf import checked_milliseconds, duration, scalar, timestamp, value
from services.chassis.public_files import PublicFiles
from services.generation.core.download_links import DownloadLink
from services.generation.model import Draft, Event, Failure, Generation, Output, Placed, State
from services.generation.ports import Page
from services.generation.quota import Quota

COLLECTION = "generations"
DEFAULT_PAGE, MAX_PAGE = 50, 1000  # AIP-158: too large is coerced
PARAMETER_TYPES = {
    bool: generationpb.Model.Parameter.TYPE_BOOLEAN,
    int: generationpb.Model.Parameter.TYPE_INTEGER,
    str: generationpb.Model.Parameter.TYPE_TEXT,
}
MAX_MS = 2**62  # fits a 64-bit column


def identifier(resource_name: str, field: str = "name") -> str:
    """The id in generations/{id}, ours or the provider's. Raises InvalidArgument."""
    return parse_id(COLLECTION, resource_name, field)


def draft(message: generationpb.Generation) -> Draft:
    """An order from the fields a caller may set."""
    return Draft(
        model=message.model,
        prompt=message.prompt,
        image_uris=tuple(message.image_uris),
        aspect_ratio=message.aspect_ratio,
        output_format=message.output_format,
        parameters={key: scalar(value) for key, value in message.parameters.fields.items()},
    )


def to_pb(generation: Generation, files: PublicFiles) -> generationpb.Generation:
    """A generation as callers see it. The pictures of a canceled one are recorded, not shown."""
    shown = () if generation.state is State.CANCELED else generation.outputs
    message = generationpb.Generation(
        name=name(COLLECTION, generation.id),
        state=generationpb.Generation.State.Value(f"STATE_{generation.state}"),
        model=generation.draft.model,
        prompt=generation.draft.prompt,
        image_uris=generation.draft.image_uris,
        aspect_ratio=generation.draft.aspect_ratio,
        output_format=generation.draft.output_format,
        outputs=[output_pb(output, files) for output in shown],
        progress_percent=generation.progress,
        error=failure_pb(generation.failure),
        provider_task_id=generation.task_id,
        create_time=timestamp(generation.create_ms),
        update_time=timestamp(generation.update_ms),
        complete_time=timestamp(generation.complete_ms),
    )
    message.parameters.update(dict(generation.draft.parameters))
    return message


def created_pb(placed: Placed, files: PublicFiles) -> generationpb.CreateGenerationResponse:
    """The answer to an order."""
    return generationpb.CreateGenerationResponse(
        generation=to_pb(placed.generation, files), joined=placed.joined, quota=quota_pb(placed.quota)
    )


def retried_pb(placed: Placed, files: PublicFiles) -> generationpb.RetryGenerationResponse:
    """The answer to an order that is placed again."""
    generation = to_pb(placed.generation, files)
    return generationpb.RetryGenerationResponse(generation=generation, quota=quota_pb(placed.quota))


def output_pb(output: Output, files: PublicFiles) -> generationpb.Generation.Output:
    """An output's message, with its public URL as of now."""
    return generationpb.Generation.Output(
        index=output.index,
        object=name("objects", output.key),
        uri=files.uri(output.key),
        source_uri=output.source_uri,
        content_type=output.content_type,
        size_bytes=output.size,
        error_message=output.error,
        file_stem=output.file_stem,
    )


def failure_pb(failure: Failure | None) -> generationpb.Generation.Error | None:
    """The error of a failure; None leaves the field unset."""
    if failure is None:
        return None
    return generationpb.Generation.Error(
        reason=failure.reason, message=failure.message, provider_code=failure.provider_code
    )


def quota_pb(quota: Quota | None) -> generationpb.Quota | None:
    """The message of a quota; None leaves the field unset."""
    if quota is None:
        return None
    delay = duration(int(quota.reset_seconds * 1000))
    return generationpb.Quota(limit=quota.limit, remaining=quota.remaining, reset_delay=delay)


def event_pb(event: Event, files: PublicFiles) -> generationpb.Event:
    """The message of an outbox event."""
    return generationpb.Event(
        sequence=event.sequence,
        event_id=event.id,
        generation=to_pb(event.generation, files),
        create_time=timestamp(event.create_ms),
    )


def link_pb(link: DownloadLink) -> generationpb.DownloadLink:
    """The message of a download link; one that does not expire is the URL that was given."""
    direct = link.expire_ms > 0
    return generationpb.DownloadLink(uri=link.uri, direct=direct, expire_time=timestamp(link.expire_ms))


def parameter_pb(name: str, parameter: Parameter) -> generationpb.Model.Parameter:
    """The message of what a model's parameter may hold."""
    return generationpb.Model.Parameter(
        name=name,
        type=PARAMETER_TYPES[parameter.kind],
        choices=map(value, parameter.choices),
        minimum=parameter.least,
        maximum=parameter.most,
        default_value=None if parameter.default is None else value(parameter.default),
    )


def model_pb(spec: Model) -> generationpb.Model:
    """The message of a catalogue row."""
    return generationpb.Model(
        name=name("models", spec.id),
        family=spec.family,
        display_name=spec.display_name,
        max_prompt_length=spec.max_prompt_length,
        aspect_ratios=spec.aspect_ratios,
        output_formats=spec.output_formats,
        min_images=spec.min_images,
        max_images=spec.max_images,
        parameters=list(spec.parameters),
        credits=spec.credits,
        patience=duration(int(spec.patience_seconds * 1000)),
        media_kind=generationpb.Model.MediaKind.Value(f"MEDIA_KIND_{spec.media_kind.upper()}"),
        parameter_rules=[parameter_pb(name, parameter) for name, parameter in spec.parameters.items()],
    )


def page(request: generationpb.ListGenerationsRequest) -> Page:
    """What to list. Raises InvalidArgument for a negative size or a token that is not of this list."""
    return Page(
        size=paging.page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE),
        after=_position(request),
        states=tuple(map(_state_of, request.states)),
        start_ms=checked_milliseconds("start_time", request.start_time),
        end_ms=checked_milliseconds("end_time", request.end_time),
    )


def _state_of(state: generationpb.Generation.State.ValueType) -> State:
    """A state by its proto number. Raises InvalidArgument for none or one that does not exist."""
    names = generationpb.Generation.State
    word = names.Name(state).removeprefix("STATE_") if state in names.values() else ""
    if word not in State.__members__:
        raise invalid_field("states", "There is no such state.")
    return State(word)


def _position(request: generationpb.ListGenerationsRequest) -> tuple[int, str] | None:
    """The position (create_ms, id) after which a page begins. Raises InvalidArgument."""
    return TOKENS.position(_listing(request), request.page_token)


def page_token(request: generationpb.ListGenerationsRequest, last: Generation) -> str:
    """The token of the page after the one that ends here."""
    return TOKENS.token(_listing(request), str(last.create_ms), last.id)


def _listing(request: generationpb.ListGenerationsRequest) -> bytes:
    """The filters, to which a page token is bound; the size may change."""
    filters = generationpb.ListGenerationsRequest(
        states=request.states, start_time=request.start_time, end_time=request.end_time
    )
    return filters.SerializeToString(deterministic=True)


def _parsed_position(create_ms: str, identifier: str) -> tuple[int, str]:
    if not ID.fullmatch(identifier):
        raise ValueError(identifier)
    return min(int(create_ms), MAX_MS), identifier


TOKENS = paging.PageTokens(_parsed_position, check=paging.digest_of, check_last=True)


def models_pb(request: generationpb.ListModelsRequest, specs: Sequence[Model]) -> generationpb.ListModelsResponse:
    """A page of the model table. Raises InvalidArgument for a negative size or a token that is not of this list."""
    size = paging.page_size(request.page_size, len(specs), MAX_PAGE)
    tokens = [paging.encoded(spec.id) for spec in specs]
    if request.page_token and request.page_token not in tokens:
        raise paging.foreign_token()
    start = tokens.index(request.page_token) + 1 if request.page_token else 0
    following = tokens[start + size - 1] if start + size < len(specs) else ""
    shown = map(model_pb, specs[start : start + size])
    return generationpb.ListModelsResponse(models=shown, next_page_token=following)
