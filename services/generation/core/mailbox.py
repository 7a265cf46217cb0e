"""Takes webhooks in: verified, kept and answered at once; what they mean is found out later by the postman."""

import hmac
from collections.abc import Collection, Mapping

from services.chassis.errors import NotFound, PermissionDenied, ResourceExhausted
from services.chassis.names import ID, new_id
from services.generation.core.submitter import digest_of
from services.generation.letterbox import Inbox
from services.generation.model import Callback
from services.generation.ports import GenerationStore, Webhooks

MAX_STRANGERS = 10_000  # each is a row that is looked at a dozen times in ten minutes
MAX_TASKS = 100  # open webhooks of one attempt, which has one task, or two; each is looked at for two weeks
# Of all families (docs/provider.md#4o-callback and its neighbours). Any other counts as one code more, since each code
# of a task is a row of its own.
CODES = frozenset({0, 200, 400, 408, 451, 500, 501})
OTHER_CODE = 0


class Mailbox:
    """The way in for webhooks."""

    def __init__(self, store: GenerationStore, inbox: Inbox, webhooks: Webhooks, kinds: Collection[str]) -> None:
        self._store = store
        self._inbox = inbox
        self._webhooks = webhooks
        self._kinds = kinds

    async def receive(self, kind: str, token: str, body: bytes, headers: Mapping[str, str]) -> bool:
        """Verify and keep a webhook; False when it is kept already.

        Raises:
            NotFound: no provider calls back under this kind.
            InvalidArgument: the body is of no known shape, or its ids disagree.
            Unauthenticated: a signature is required and missing, wrong or stale.
            ResourceExhausted: too many webhooks without a token, or with this one, are waiting.
            PermissionDenied: the token is not one we gave out (reason INVALID_TOKEN).
        """
        if kind not in self._kinds:
            raise NotFound("No provider calls back under this path.")
        task_id, told = self._webhooks.read(body, headers)
        attempt_id = await self._attempt_of(token) if token else await self._stranger()
        code = told if told in CODES else OTHER_CODE
        return await self._inbox.keep(Callback(new_id("cb"), kind, attempt_id, task_id, code))

    async def _stranger(self) -> str:
        """No attempt. Anybody can call the bare path, so only so many such webhooks may wait to be looked into."""
        if await self._inbox.strangers() >= MAX_STRANGERS:
            raise ResourceExhausted(
                "Too many webhooks without a token are waiting. Send it again later.", retry_after=60
            )
        return ""

    async def _attempt_of(self, token: str) -> str:
        attempt_id, _, secret = token.partition(".")
        attempt = await self._store.attempt(attempt_id) if ID.fullmatch(attempt_id) else None
        if attempt is None or not hmac.compare_digest(attempt.token_digest, digest_of(secret)):
            raise PermissionDenied("This callback token is not ours.", "INVALID_TOKEN")
        if await self._inbox.tasks_of(attempt.id) >= MAX_TASKS:
            raise ResourceExhausted(
                "Too many webhooks with this token are waiting. Send it again later.", retry_after=60
            )
        return attempt.id
