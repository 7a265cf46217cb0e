"""The list of failpoints, by process, each with the state of things when it is hit (docs/testing.md#fault-injector)."""

from collections.abc import Mapping

FAILPOINTS: Mapping[str, Mapping[str, str]] = {
    "gateway": {
        "accept.answered": "the order is accepted, the client does not know its id",
        "callback.received": "a webhook is read and passed on to nobody",
        "callback.answered": "the webhook is in the inbox, the provider does not know",
    },
    "generation": {
        "accept.before_commit": "the order is written and not committed",
        "accept.after_commit": "the order is committed and not answered",
        "claim.after": "work is leased and not begun",
        "dial.before": "DIALING is committed, nothing is connected",
        "dial.connected": "the connection is open, SENDING is not committed",
        "sending.marked": "SENDING is committed, no byte is sent",
        "reply.read": "the provider's answer is read and not recorded",
        "submitted.recorded": "the task id is committed",
        "refused.recorded": "the refusal is committed, and its order is READY again",
        "ambiguous.recorded": "AMBIGUOUS is committed, after the attempt's outcome",
        "lease.renewed": "a lease is renewed by a process that then ends",
        "inbox.before_commit": "a webhook is written and not committed",
        "inbox.after_commit": "a webhook is committed and not answered",
        "adopt.after": "an attempt has its task again, its webhook is still open",
        "poll.reply": "the record is read, its verdict is not recorded",
        "running.final": "the verdict is committed",
        "storing.before_commit": "the copies are made, SUCCEEDED is not committed",
        "recover.before": "an order whose worker is gone is leased by recovery",
        "outbox.before_commit": "an event and its change are written and not committed",
        "outbox.published": "an event is sent, its consumer may not have it",
    },
    "storage": {
        "download.mid": "a part of the picture is in the draft",
        "download.done": "the whole picture is in the draft",
        "put.tmp_synced": "the bytes are durable without a name",
        "put.linked": "the object has its name and no row",
        "row.before_commit": "the row is written and not committed",
        "row.after_commit": "object and row are durable, the caller does not know",
        "put.reply_lost": "the import is done, its answer is not sent",
    },
}
SERVICE_OF: Mapping[str, str] = {point: service for service, points in FAILPOINTS.items() for point in points}
# Hit in the stack of `artworks` alone: no other has a community process.
COMMUNITY_FAILPOINTS: Mapping[str, Mapping[str, str]] = {
    "community": {
        "order.opened": "the artwork and its hold are committed, generation was not asked",
        "order.heard": "the end of an order is written and not committed",
        "event.read": "an event is read and has taken no effect",
        "object.removed": "an artwork's object is gone, its debt is not settled",
    },
}
