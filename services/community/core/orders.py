"""Orders of pictures: stored first with their artwork, then sent to generation until it has answered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from services.chassis import failpoints
from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.errors import Aborted, AlreadyExists, FailedPrecondition, NotFound, invalid_field
from services.chassis.lease_loop import LeasedWork, LeaseLoop
from services.chassis.names import new_id
from services.chassis.parking import Parking, WorkFault, guarded
from services.community import metrics
from services.community.core import validation
from services.community.core.artworks import Artworks, new_artwork, title_of
from services.community.model import (
    GenerationStatus,
    NewArtwork,
    Order,
    OrderAnswer,
    Quota,
    Refused,
    Request,
    State,
    Unclear,
)
from services.community.model.artworks import MOVES
from services.community.model.orders import ORDERS, PARKED_SENTENCE
from services.community.ports import CreditsShortError, Generations, OrderStore

AT_ONCE = 20  # orders that are processed concurrently; each may wait for generation's answer
LEASE_SECONDS = 30.0  # above what placing an order takes
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 300.0  # between two attempts for an order that generation does not answer
PATIENCE_MS = 900_000  # how long an order is tried that generation refuses for now
GONE = NotFound("The artwork was deleted before its picture was ordered.", "WITHDRAWN")
WITHDRAWN = Refused(GONE.reason, GONE.message, GONE)

logger = structlog.get_logger()


@dataclass(frozen=True)
class NewOrder:
    """An order to place, not validated yet."""

    prompt: str
    model: str
    title: str = ""
    aspect_ratio: str = ""
    output_format: str = ""
    image_uris: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _RequestKey:
    """The idempotency key of a request, empty for none, and its digest, which a repetition must have too."""

    id: str
    digest: str


def _request_key(kind: str, request_id: str, digest: str) -> _RequestKey:
    key, kept = validation.request_id(request_id), validation.request_digest(digest)
    return _RequestKey(f"{kind}:{key}" if key else "", kept)


class Orders:
    """Orders pictures for artworks. cost is the price of one in credits; 0 where credits are disabled."""

    def __init__(
        self,
        database: Database,
        artworks: Artworks,
        store: OrderStore,
        generations: Generations,
        parking: Parking,
        *,
        own_key: Callable[[str], str],
        cost: int,
        clock: Clock,
    ) -> None:
        self._database, self._artworks, self._store, self._generations = database, artworks, store, generations
        self._own_key, self._cost, self._clock = own_key, cost, clock
        work = LeasedWork(
            loop=ORDERS,
            claim=lambda limit: database.write_urgently(store.claim, limit, LEASE_SECONDS),
            do=self.process,
            failed=self._failed,
            postponed=self._postponed,
            at_once=AT_ONCE,
            lease_seconds=LEASE_SECONDS,
            before_parking=self._give_up,
        )
        self._loop = LeaseLoop(work, parking)

    async def create(
        self, viewer_id: str, given: NewOrder, request_id: str, digest: str = "", quota_subjects: Sequence[str] = ()
    ) -> OrderAnswer:
        """Order a picture for a new artwork; the same request_id is the same artwork.

        Raises:
            Unauthenticated, InvalidArgument.
            AlreadyExists: the request_id was used with another digest (reason IDEMPOTENCY_KEY_REUSED).
            NotFound: the request_id was used, and its artwork was deleted.
            FailedPrecondition: INSUFFICIENT_CREDITS, nothing was stored; PROVIDER_REJECTED, the artwork is FAILED.
            ResourceExhausted, Unavailable: no capacity, or a daily quota is used up; nothing was stored.
        """
        user_id = validation.signed_in(viewer_id)
        request_key, counted = _request_key("request", request_id, digest), validation.quota_subjects(quota_subjects)
        if earlier := await self._joined(user_id, request_key):
            return earlier
        request = self._request(given)
        new = NewArtwork(
            title=title_of(validation.text("title", given.title, validation.MAX_TITLE_LENGTH), request.prompt),
            prompt=request.prompt,
            model=request.model,
            aspect_ratio=request.aspect_ratio,
            output_format=request.output_format,
            image_refs=request.image_refs,
        )
        now = self._clock()
        artwork = new_artwork(new, user_id, now, state=State.GENERATING, key=request_key.id or None)
        order = replace(self._order(artwork.id, user_id, request, request_key), quota_subjects=counted)
        try:
            kept = await self._database.write(self._store.open, replace(artwork, order_id=order.id), order)
        except CreditsShortError as short:
            raise self._short(short) from None
        await failpoints.reach("order.opened")
        if kept.id != artwork.id:  # a concurrent equal request was faster
            return await self._joined(user_id, request_key) or OrderAnswer(await self._artworks.get(user_id, kept.id))
        quota = await self._place(order, fresh=True)
        return OrderAnswer(await self._artworks.get(user_id, kept.id), quota=quota)

    async def regenerate(
        self,
        viewer_id: str,
        artwork_id: str,
        request_id: str = "",
        digest: str = "",
        quota_subjects: Sequence[str] = (),
    ) -> OrderAnswer:
        """Order the picture of an artwork anew, once for each request_id.

        Raises:
            Unauthenticated, NotFound, PermissionDenied.
            FailedPrecondition: INSUFFICIENT_CREDITS, PROVIDER_REJECTED, or NOT_REGENERABLE for an artwork that is being
                made, is published, or was never ordered.
            AlreadyExists: the request_id was used with another digest (reason IDEMPOTENCY_KEY_REUSED).
            Aborted: the artwork changed meanwhile.
        """
        request_key, counted = _request_key("regenerate", request_id, digest), validation.quota_subjects(quota_subjects)
        if earlier := await self._joined(validation.signed_in(viewer_id), request_key):
            return earlier
        card = await self._artworks.owned(viewer_id, artwork_id)
        artwork = card.artwork
        if State.GENERATING not in MOVES[artwork.state] or not (artwork.prompt and artwork.model):
            if earlier := await self._joined(
                viewer_id, request_key
            ):  # the same request was faster than our second look
                return earlier
            raise FailedPrecondition(
                "Only a draft or a failed artwork that was made from a prompt can be made again.", "NOT_REGENERABLE"
            )
        parameters = card.order.request.parameters if card.order else {}
        request = Request(
            prompt=artwork.prompt,
            model=artwork.model,
            aspect_ratio=artwork.aspect_ratio,
            output_format=artwork.output_format,
            image_refs=artwork.image_refs,
            parameters=parameters,
        )
        order = replace(self._order(artwork.id, viewer_id, request, request_key), quota_subjects=counted)
        try:
            reopened = await self._database.write(self._store.reopen, artwork, order)
        except CreditsShortError as short:
            raise self._short(short) from None
        await failpoints.reach("order.opened")
        if not reopened:
            if earlier := await self._joined(viewer_id, request_key):  # a concurrent equal request was faster
                return earlier
            raise Aborted("The artwork changed meanwhile. Look at it again.")
        quota = await self._place(order, fresh=False)
        return OrderAnswer(await self._artworks.get(viewer_id, artwork_id), quota=quota)

    async def _joined(self, user_id: str, request_key: "_RequestKey") -> OrderAnswer | None:
        """The answer with the artwork that an earlier request with this key ordered. Raises AlreadyExists, NotFound."""
        if not request_key.id:
            return None
        earlier = await self._database.read(self._store.requested, user_id, request_key.id)
        if earlier is None:
            return None
        if request_key.digest and earlier.request_digest and request_key.digest != earlier.request_digest:
            raise AlreadyExists("This idempotency key was used for a different request.", "IDEMPOTENCY_KEY_REUSED")
        return OrderAnswer(await self._artworks.get(user_id, earlier.artwork_id), joined=True)

    async def run(self) -> None:
        """Process due orders until cancelled: those that generation has not confirmed, or that had no event lately."""
        await self._loop.run()

    async def process_due(self) -> int:
        """Process the due orders once; returns their number."""
        return await self._loop.do_due()

    async def _failed(self, order: Order, fault: WorkFault) -> None:
        """Make an order due again, unless it is parked: then it was given up before."""
        if not fault.parked:
            await self._database.write(self._store.delay, order.id, fault.pause_seconds)

    async def _postponed(self, order: Order, error: Exception) -> None:
        """Leave an order until its lease expires: a dependency is away."""
        logger.warning("order_postponed", order=order.id, cause=str(error))

    async def _give_up(self, order: Order) -> None:
        """Show the owner that the order is given up; if our own code fails at that too, it is parked all the same."""
        await guarded(ORDERS, order.id, lambda: self._database.write(self._store.give_up, order.id, PARKED_SENTENCE))

    async def process(self, order: Order) -> None:
        """Ask generation for the state of a due order, or send the order again. Raises Unavailable."""
        answer = await self._answer(order)
        match answer:
            case Unclear():
                await self._database.write(self._store.delay, order.id, pause(order.tries))
                return
            case GenerationStatus():
                await self._apply(order, answer)
                if not order.generation_id:
                    await self._apply_current(order, answer)
            case Refused() if not self._has_time(order, answer):
                await self._refuse(order, answer)
        await self._database.write(self._store.postpone, order.id, pause(order.tries))

    async def _apply_current(self, order: Order, placed: GenerationStatus) -> None:
        """Apply the current state: an event of it may have been skipped before its generation was known here."""
        if isinstance(now := await self._generations.get(placed.generation_id), GenerationStatus):
            await self._apply(order, now)

    async def _answer(self, order: Order) -> GenerationStatus | Refused | Unclear:
        if order.generation_id:
            return await self._generations.get(order.generation_id)
        if await self._database.read(self._store.abandoned, order):  # nobody waits, but it may have been taken
            return await self._generations.find(order.id) or WITHDRAWN
        metrics.RESENT.inc()
        return await self._generations.place(order.request, order.id, order.quota_subjects)

    async def _place(self, order: Order, *, fresh: bool) -> Quota | None:
        """Send an order to generation now; returns the state of the daily quota, if generation answers with it.

        Anything but a definite refusal is completed in the background.
        A fresh artwork is deleted again when its order was refused for capacity or as invalid; any other is kept.
        """
        match await self._generations.place(order.request, order.id, order.quota_subjects):
            case GenerationStatus() as status:
                await self._apply(order, status)
                return status.quota
            case Refused() as refused if fresh and (refused.faulty or refused.passing):
                await self._database.write(self._store.withdraw, order.id)
                raise refused.error
            case Refused() as refused:
                await self._refuse(order, refused)
                raise refused.error
        return None

    async def _apply(self, order: Order, status: GenerationStatus) -> None:
        if applied := await self._database.write(self._store.apply, status, order.id):
            metrics.order_updated(applied)

    async def _refuse(self, order: Order, refused: Refused) -> None:
        await self._database.write(self._store.refuse, order.id, refused.reason, refused.message)
        metrics.refused(refused.reason)

    def _has_time(self, order: Order, refused: Refused) -> bool:
        return refused.passing and self._clock() - order.create_ms < PATIENCE_MS

    def _order(self, artwork_id: str, user_id: str, request: Request, request_key: "_RequestKey") -> Order:
        order = Order(new_id("ord"), artwork_id, user_id, request, cost=self._cost, create_ms=self._clock())
        return replace(order, request_key=request_key.id, request_digest=request_key.digest)

    def _request(self, given: NewOrder) -> Request:
        if len(given.image_uris) > validation.MAX_IMAGES:
            raise invalid_field("image_uris", f"At most {validation.MAX_IMAGES} pictures to start from may be given.")
        uris = tuple(validation.uri("image_uris", uri) for uri in given.image_uris)
        return Request(
            prompt=validation.required("prompt", given.prompt, validation.MAX_PROMPT_LENGTH),
            model=validation.required("model", given.model, validation.MAX_NAME_LENGTH),
            aspect_ratio=validation.text("aspect_ratio", given.aspect_ratio, validation.MAX_NAME_LENGTH),
            output_format=validation.text("output_format", given.output_format, validation.MAX_NAME_LENGTH),
            image_refs=tuple(self._own_key(uri) or uri for uri in uris),
            parameters=given.parameters,
        )

    def _short(self, short: CreditsShortError) -> FailedPrecondition:
        return FailedPrecondition(
            f"A picture costs {self._cost} credits, and you have {short.balance}. Check in tomorrow for more.",
            "INSUFFICIENT_CREDITS",
            metadata={"balance": str(short.balance), "cost": str(self._cost)},
        )


def pause(tries: int) -> float:
    """Seconds until the next attempt: exponential back-off with a bound."""
    return float(min(PAUSE_SECONDS * 2 ** min(tries, 10), LONGEST_PAUSE_SECONDS))
