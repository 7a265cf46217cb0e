"""Receives providers' callbacks: verified, stored in the inbox and answered at once; processed later (processor.py)."""

import hashlib
import hmac
from collections.abc import Collection, Mapping
from typing import NamedTuple

from services.chassis import failpoints
from services.chassis.database import Database, Transaction
from services.chassis.errors import NotFound, PermissionDenied, ResourceExhausted
from services.chassis.names import ID, new_id
from services.generation.model import Callback
from services.generation.ports import CallbackVerifier, GenerationStore, Inbox

MAX_WITHOUT_TOKEN = 10_000  # each is a row that is read a dozen times in ten minutes
MAX_TASKS = 100  # open callbacks of one attempt, which has one task, or two; each is tried for two weeks
# Of all families (docs/provider.md#4o-callback and its neighbours). Any other counts as one code more, since each code
# of a task is a row of its own.
CODES = frozenset({0, 200, 400, 408, 451, 500, 501})
OTHER_CODE = 0


class KnownAttempt(NamedTuple):
    """What a callback with an attempt's token is checked against."""

    token_digest: str
    open_callbacks: int


class CallbackReceiver:
    """Verifies callbacks and stores them in the inbox."""

    def __init__(
        self,
        database: Database,
        store: GenerationStore,
        inbox: Inbox,
        verifier: CallbackVerifier,
        kinds: Collection[str],
    ) -> None:
        self._database = database
        self._store = store
        self._inbox = inbox
        self._verifier = verifier
        self._kinds = kinds

    async def receive(self, kind: str, token: str, body: bytes, headers: Mapping[str, str]) -> bool:
        """Verify and store a callback; False when it is stored already.

        Raises:
            NotFound: no provider calls back under this kind.
            InvalidArgument: the body is of no known shape, or its ids disagree.
            Unauthenticated: a signature is required and missing, wrong or stale.
            ResourceExhausted: too many callbacks without a token, or with this one, are waiting.
            PermissionDenied: the token is not an attempt's (reason INVALID_TOKEN).
        """
        if kind not in self._kinds:
            raise NotFound("No provider calls back under this path.")
        task_id, code_given = self._verifier.read(body, headers)
        attempt_id = await self._attempt_of(token) if token else await self._without_token()
        code = code_given if code_given in CODES else OTHER_CODE
        new = await self._database.write(self._inbox.add, Callback(new_id("cb"), kind, attempt_id, task_id, code))
        await failpoints.reach("inbox.after_commit")
        return new

    async def _without_token(self) -> str:
        """No attempt. Anybody can send these, so only MAX_WITHOUT_TOKEN of them may be open."""
        if await self._database.read(self._inbox.open_without_token) >= MAX_WITHOUT_TOKEN:
            raise ResourceExhausted(
                "Too many callbacks without a token are waiting. Send it again later.", retry_after=60
            )
        return ""

    async def _attempt_of(self, token: str) -> str:
        attempt_id, _, secret = token.partition(".")
        known = await self._database.read(self._known, attempt_id) if ID.fullmatch(attempt_id) else None
        if known is None or not hmac.compare_digest(known.token_digest, digest_of(secret)):
            raise PermissionDenied("This callback token is not ours.", "INVALID_TOKEN")
        if known.open_callbacks >= MAX_TASKS:
            raise ResourceExhausted(
                "Too many callbacks with this token are waiting. Send it again later.", retry_after=60
            )
        return attempt_id

    def _known(self, transaction: Transaction, attempt_id: str) -> KnownAttempt | None:
        attempt = self._store.attempt(transaction, attempt_id)
        if attempt is None:
            return None
        return KnownAttempt(attempt.token_digest, self._inbox.open_with_token_of(transaction, attempt_id))


def digest_of(secret: str) -> str:
    """The digest of a callback token's secret, which the attempt's row keeps."""
    return hashlib.sha256(secret.encode()).hexdigest()
