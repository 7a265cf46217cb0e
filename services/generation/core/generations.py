"""What callers may do with generations: order, look, list, cancel, retry, forget, watch."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import sha256

from catalogue import Model
from services.chassis import failpoints
from services.chassis.database import Database
from services.chassis.errors import (
    Aborted,
    FailedPrecondition,
    Unavailable,
    invalid_field,
)
from services.chassis.lease_loop import LOOK_SECONDS
from services.chassis.names import new_id
from services.chassis.notifier import Notifier
from services.generation.core.admission import AdmissionControl
from services.generation.core.validation import UrlPolicy, checked
from services.generation.model import (
    FINAL,
    RETRYABLE,
    Draft,
    Event,
    Generation,
    Placed,
    State,
)
from services.generation.ports import FenceLost, GenerationStore, Page, Sent
from services.generation.quota import SITE, Charge

MAX_NAME_LENGTH = 255  # of a request id, as AIP-155 and the Idempotency-Key draft have it, and of a quota's subject
MAX_SUBJECTS = 4  # subjects that one order counts for: a person, an address, and one spare for a key
EVENT_BATCH = 100  # events read at once


class Generations:
    """The operations on generations that callers have."""

    def __init__(
        self,
        database: Database,
        store: GenerationStore,
        notifier: Notifier,
        admission: AdmissionControl,
        models: Mapping[str, Model],
        *,
        url_policy: UrlPolicy,
        daily_quota: int = 0,
        site_orders: int = 0,
    ) -> None:
        self._database = database
        self._store = store
        self._notifier = notifier
        self._models = models
        self._admission = admission
        self._url_policy = url_policy
        self._daily_quota, self._site_orders = daily_quota, site_orders

    async def create(
        self, draft: Draft, request_id: str, quota_subjects: Sequence[str] = (), request_digest: str = ""
    ) -> Placed:
        """Store an order and wait a short time for the provider's definite answer.

        The daily quotas count it for each of its subjects, and for the site, once it is stored, whatever becomes of it:
        for all of them or, when the day of one is used up, for none and it is not stored. A repeated request_id must
        come with the same digest, or without one with the same order.

        Raises:
            InvalidArgument: the order is not one its model takes.
            AlreadyExists: the request_id was used for another order.
            FailedPrecondition: the provider refused the order for good (reason PROVIDER_REJECTED).
            ResourceExhausted, Unavailable: no account can take it soon (core/admission.py); nothing was billed, and
                the same request_id orders again.
            ResourceExhausted: a subject has used up its day (reason RATE_LIMIT), or the site (SITE_QUOTA_EXCEEDED).
        """
        check_name("request_id", request_id)
        check_subjects(quota_subjects)
        check_name("request_digest", request_digest)
        sent = sent_as(draft, request_digest)
        # Before anything is checked: what an order of before had to be says nothing of what one has to be today.
        first = await self._database.read(self._store.requested, request_id, sent) if request_id else None
        charges = self._charges(quota_subjects)
        stored = Placed(first, joined=True) if first else await self._new(draft, request_id, charges, sent)
        admitted = await self._admission.readmitted(stored, charges)
        decided = await self._admission.decided(admitted.generation)
        if decided.state is State.FAILED and decided.failure and not decided.task_id:
            raise FailedPrecondition(decided.failure.message, decided.failure.reason, metadata=named(decided))
        return replace(admitted, generation=decided)

    async def _new(self, draft: Draft, request_id: str, charges: Sequence[Charge], sent: Sent) -> Placed:
        """Check and store an order, unless the same was stored meanwhile."""
        complete, spec = checked(draft, self._models)
        await self._url_policy.check(complete.image_uris)
        new = Generation(new_id("gen"), complete, spec.family)
        request_hash = sent_as(complete).hash if sent.draft else sent.hash
        insert = self._store.insert
        stored = await self._database.write(insert, new, request_id, request_hash, charges, sent_hash=sent.hash)
        if not stored.joined:
            await failpoints.reach("accept.after_commit")
        return stored

    def _charges(self, subjects: Sequence[str]) -> Sequence[Charge]:
        callers = sorted({subject for subject in subjects if subject}) if self._daily_quota else []
        site = [Charge(SITE, self._site_orders)] if self._site_orders else []
        return [*(Charge(subject, self._daily_quota) for subject in callers), *site]

    async def get(self, identifier: str) -> Generation:
        """One generation by either id. Raises NotFound."""
        return await self._database.read(self._store.get, identifier)

    async def list(self, page: Page) -> Sequence[Generation]:
        """A page, newest first."""
        return await self._database.read(self._store.list, page)

    async def cancel(self, identifier: str) -> Generation:
        """Cancel a generation for its owner; repeating it changes nothing.

        Raises:
            NotFound: no such generation.
            FailedPrecondition: it has ended otherwise.
        """
        generation = await self._database.read(self._store.get, identifier)
        while generation.state not in FINAL:
            try:
                return await self._database.write(self._store.cancel, generation)
            except FenceLost:
                generation = await self._database.read(self._store.get, identifier)
        if generation.state is not State.CANCELED:
            raise FailedPrecondition(f"The generation has ended as {generation.state} and cannot be canceled.")
        return generation

    async def find(self, request_id: str) -> Generation:
        """The generation that a request has made. Raises NotFound."""
        return await self._database.read(self._store.made_by, request_id)

    async def forget(self, identifier: str) -> None:
        """Remove the prompt and input pictures of a generation; repeating it changes nothing.

        Raises:
            NotFound: no such generation.
            FailedPrecondition: it has not ended (reason NOT_ENDED).
        """
        generation = await self._database.read(self._store.get, identifier)
        if not await self._database.write(self._store.forget, generation.id):
            sentence = "The generation is still under way. Cancel it, or come back when it has ended."
            raise FailedPrecondition(sentence, "NOT_ENDED")

    async def retry(
        self, identifier: str, quota_subjects: Sequence[str] = (), *, accept_double_billing: bool
    ) -> Placed:
        """Order a generation that ended without pictures once more; the daily quotas count it like a new order.

        Raises:
            InvalidArgument: the subjects are none that an order can count for.
            NotFound: no such generation.
            FailedPrecondition: it is under way or has its pictures (reason NOT_RETRYABLE), or its first order may have
                been taken and the caller did not accept that (reason MAY_BILL_TWICE).
            ResourceExhausted: a subject has used up its day (reason RATE_LIMIT), or the site (SITE_QUOTA_EXCEEDED);
                the generation stays as it is.
            Aborted: it changed meanwhile.
        """
        check_subjects(quota_subjects)
        generation = await self._database.read(self._store.get, identifier)
        if generation.state not in RETRYABLE or not generation.draft.prompt:  # without one it was forgotten
            raise FailedPrecondition(f"A generation in {generation.state} cannot be retried.", "NOT_RETRYABLE")
        if generation.state is State.UNKNOWN and not accept_double_billing:
            raise FailedPrecondition(
                "Its first order may have been taken. Accept double billing to retry.", "MAY_BILL_TWICE"
            )
        try:
            ready = await self._database.write(self._store.restart, generation, self._charges(quota_subjects))
        except FenceLost:
            raise Aborted("The generation changed meanwhile. Look at it again.") from None
        return replace(ready, generation=await self._admission.decided(ready.generation))

    async def watch(self, identifier: str) -> AsyncIterator[Generation]:
        """The generation now and at each change, until it is final. Raises NotFound."""
        generation = await self._database.read(self._store.get, identifier)
        with self._notifier.subscribed(generation.id) as subscription:
            yield generation
            while generation.state not in FINAL:
                await subscription.wait(LOOK_SECONDS)
                self._stay_open()
                now = await self._database.read(self._store.get, generation.id)
                if now.visible != generation.visible:
                    yield now
                generation = now

    async def events(self, after: int) -> AsyncIterator[Event]:
        """Outbox events after a sequence; never ends by itself."""
        with self._notifier.subscribed("outbox") as subscription:
            while True:
                batch = await self._database.read(self._store.events, after, EVENT_BATCH)
                for event in batch:
                    yield event
                    after = event.sequence
                    await failpoints.reach("outbox.published")
                if not batch:
                    await subscription.wait(LOOK_SECONDS)
                self._stay_open()

    def _stay_open(self) -> None:
        if self._notifier.closing:
            raise Unavailable("The service is restarting. Watch again.", retry_after=1)

    def models(self) -> Sequence[Model]:
        """The catalogue of models."""
        return tuple(self._models.values())


def sent_as(draft: Draft, digest: str = "") -> Sent:
    """What a caller sent, by its digest if it came with one, else as canonical JSON of its fields."""
    order = digest or json.dumps(asdict(draft), sort_keys=True, default=str)
    return Sent(sha256(order.encode()).hexdigest(), None if digest else draft)


def check_name(field: str, value: str) -> None:
    """Refuse a caller's identifier that is too long or holds NUL. Raises InvalidArgument."""
    if len(value) > MAX_NAME_LENGTH or "\x00" in value:
        sentence = f"{field} is longer than {MAX_NAME_LENGTH} characters, or holds some that are not text."
        raise invalid_field(field, sentence)


def check_subjects(subjects: Sequence[str]) -> None:
    """Refuse too many quota subjects, or one that is no valid identifier. Raises InvalidArgument."""
    if len(subjects) > MAX_SUBJECTS:
        sentence = f"quota_subjects names more than the {MAX_SUBJECTS} for whom an order may count."
        raise invalid_field("quota_subjects", sentence)
    for subject in subjects:
        check_name("quota_subjects", subject)


def named(generation: Generation) -> dict[str, str]:
    """Error metadata that names the generation, so that a refused order can be looked up."""
    code = generation.failure.provider_code if generation.failure else 0
    return {"generation": generation.id, "provider_code": str(code)}
