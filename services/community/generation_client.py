"""The client of the generation service, which maps its answers and events to the community's model."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, replace
from hashlib import sha256

import structlog
from grpc import aio
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

from services.chassis.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    KawaiiError,
    NotFound,
    OutOfRange,
    ResourceExhausted,
    Unavailable,
)
from services.chassis.names import name, parse_id, parse_key
from services.chassis.public_files import PublicFiles
from services.chassis.status import translated, translated_stream
from services.community.model import GenerationStatus, OrderState, Quota, Refused, Request, Unclear, UnreadableEvent

logger = structlog.get_logger()

PLACE_SECONDS = 13.0  # above generation's own wait for the provider, below the edge's limit for a request
AWAY = "UPSTREAM_UNAVAILABLE"
States = generationpb.Generation.State
STATES = {
    States.STATE_READY: OrderState.PENDING,
    States.STATE_DIALING: OrderState.PENDING,
    States.STATE_SENDING: OrderState.RUNNING,
    States.STATE_AMBIGUOUS: OrderState.RUNNING,
    States.STATE_RUNNING: OrderState.RUNNING,
    States.STATE_STORING: OrderState.RUNNING,
    States.STATE_SUCCEEDED: OrderState.SUCCEEDED,
    States.STATE_FAILED: OrderState.FAILED,
    States.STATE_UNKNOWN: OrderState.TIMED_OUT,
    States.STATE_CANCELED: OrderState.FAILED,
    States.STATE_EXPIRED: OrderState.FAILED,
    States.STATE_RESULT_LOST: OrderState.FAILED,
}
UNHAPPY = (OrderState.FAILED, OrderState.TIMED_OUT)
SENTENCES = {
    States.STATE_CANCELED: ("CANCELED", "The picture was canceled before it was made."),
    States.STATE_EXPIRED: ("EXPIRED", "Nobody could take the order in time. Nothing was made. Order it again."),
    States.STATE_RESULT_LOST: (
        "RESULT_LOST",
        "The picture was made, and lost before it could be kept. Order it again.",
    ),
    States.STATE_UNKNOWN: ("TIMED_OUT", "It took too long. If the picture still comes, it will be shown here."),
}
FAILED = ("GENERATION_FAILED", "The picture could not be made. Change the prompt or try again.")
LOST = ("RESULT_LOST", "The picture was made, but there is no stored copy of it. Order it again.")
GONE = ("GENERATION_GONE", "The generation is not known any more. Order it again.")


class GenerationClient:
    """The Generations port over kawaii.generation.v1."""

    def __init__(self, channel: aio.Channel, files: PublicFiles) -> None:
        self._generation = generationrpc.GenerationServiceStub(channel)
        self._files = files

    async def place(
        self, request: Request, request_id: str, quota_subjects: Sequence[str] = ()
    ) -> GenerationStatus | Refused | Unclear:
        """Create a generation; a definite refusal is Refused, a call without an answer is Unclear."""
        ordered = generationpb.CreateGenerationRequest(
            generation=self._draft(request),
            request_id=request_id,
            request_digest=digest_of(request),
            quota_subjects=quota_subjects,
        )
        try:
            with translated():
                placed = await self._generation.CreateGeneration(ordered, timeout=PLACE_SECONDS)
            return replace(status_of(placed.generation), quota=quota_of(placed))
        except AlreadyExists as taken:  # the order's id is nobody else's, so whatever it made is this order's
            first = taken.metadata.get("generation", "")
            return await self.get(first) if first else Unclear()
        except KawaiiError as error:
            return refused(error)

    async def get(self, generation_id: str) -> GenerationStatus | Unclear:
        """Get a generation by its id."""
        wanted = generationpb.GetGenerationRequest(name=name("generations", generation_id))
        try:
            with translated():
                return status_of(await self._generation.GetGeneration(wanted))
        except NotFound:
            return GenerationStatus(generation_id, OrderState.FAILED, reason=GONE[0], message=GONE[1])
        except KawaiiError:
            return Unclear()

    async def find(self, request_id: str) -> GenerationStatus | Unclear | None:
        """Find the generation of a request."""
        try:
            with translated():
                return status_of(
                    await self._generation.FindGeneration(generationpb.FindGenerationRequest(request_id=request_id))
                )
        except NotFound:
            return None
        except KawaiiError:
            return Unclear()

    async def forget(self, generation_id: str) -> None:
        """Have a generation's prompt and input pictures removed."""
        unwanted = generationpb.ForgetGenerationRequest(name=name("generations", generation_id))
        try:
            with translated():
                await self._generation.ForgetGeneration(unwanted)
        except NotFound:
            return
        except FailedPrecondition as early:
            raise Unavailable(early.message) from early

    async def events(self, after: int) -> AsyncIterator[GenerationStatus | UnreadableEvent]:
        """Watch the event stream. It continues after pruned events, whose orders are read one by one by their loop."""
        try:
            async for event in self._events(after):
                yield event
        except OutOfRange as pruned:
            logger.warning("events_missed", after=after, **pruned.metadata)
            async for event in self._events(int(pruned.metadata["pruned_through"])):
                yield event

    async def _events(self, after: int) -> AsyncIterator[GenerationStatus | UnreadableEvent]:
        stream = self._generation.WatchEvents(generationpb.WatchEventsRequest(after_sequence=after))
        async for event in translated_stream(aiter(stream)):
            yield event_status(event)

    def _draft(self, request: Request) -> generationpb.Generation:
        uris = [ref if ":" in ref else self._files.uri(ref) for ref in request.image_refs]
        draft = generationpb.Generation(
            model=request.model,
            prompt=request.prompt,
            aspect_ratio=request.aspect_ratio,
            output_format=request.output_format,
            image_uris=uris,
        )
        draft.parameters.update(dict(request.parameters))
        return draft


def digest_of(request: Request) -> str:
    """The digest of an order, by object keys: independent of the URL that our own pictures have today."""
    return sha256(json.dumps(asdict(request), sort_keys=True, default=str).encode()).hexdigest()


def event_status(event: generationpb.Event) -> GenerationStatus | UnreadableEvent:
    """The status in an event; one that cannot be read must not end the stream."""
    try:
        return status_of(event.generation, event.sequence)
    except Exception as error:  # noqa: BLE001 - handed on to the event consumer, which logs it
        return UnreadableEvent(event.generation.name.removeprefix("generations/"), event.sequence, error)


def status_of(generation: generationpb.Generation, sequence: int = 0) -> GenerationStatus:
    """The status of a generation. It is SUCCEEDED only once its picture is stored."""
    state, generation_id = state_of(generation), parse_id("generations", generation.name)
    kept = next((output.object for output in generation.outputs if output.object), "")
    key = parse_key(kept) if kept and state is OrderState.SUCCEEDED else ""
    reason, message = sentence(generation) if state in UNHAPPY else ("", "")
    if state is OrderState.SUCCEEDED and not key:
        state, (reason, message) = OrderState.FAILED, LOST
    return GenerationStatus(generation_id, state, generation.provider_task_id, key, reason, message, sequence)


def quota_of(placed: generationpb.CreateGenerationResponse) -> Quota | None:
    """The state of the daily quota after this order; None when the order was not counted just now."""
    quota = placed.quota
    counted = Quota(quota.limit, quota.remaining, quota.reset_delay.ToMilliseconds())
    return counted if placed.HasField("quota") else None


def state_of(generation: generationpb.Generation) -> OrderState:
    """The order state of a generation. A state of a newer release counts as RUNNING: it is read again later."""
    if generation.state not in STATES:
        logger.warning("state_unknown", generation=generation.name, state=generation.state)
    return STATES.get(generation.state, OrderState.RUNNING)


def sentence(generation: generationpb.Generation) -> tuple[str, str]:
    """Reason and message of a generation that ended without a picture."""
    if generation.error.message:
        return generation.error.reason, generation.error.message
    return SENTENCES.get(generation.state, FAILED)


def refused(error: KawaiiError) -> Refused | Unclear:
    """Whether an error is a definite refusal of an order, or leaves its outcome unknown.

    Generation looks a request up before it validates it, so a refusal concerns an order that it does not hold. It
    denies orders to nobody: PERMISSION_DENIED comes from a proxy, and says nothing of an order sent before.
    """
    match error:
        case InvalidArgument():
            return Refused(error.reason, error.message, error, faulty=True)
        case FailedPrecondition():
            return Refused(error.reason, error.message, error)
        case ResourceExhausted():
            return Refused(error.reason, error.message, error, passing=True)
        case _ if error.reason == AWAY:
            return Refused(error.reason, error.message, error, passing=True)
        case _:
            return Unclear()
