"""The documented list of failpoints: where each lies, and in which process (docs/testing.md#fault-injector)."""

from collections.abc import Mapping

POINTS: Mapping[str, Mapping[str, str]] = {
    "gateway": {
        "accept.answered": "the order is accepted, the client does not know its id",
        "callback.received": "a webhook is read, nobody was told",
        "callback.answered": "the webhook is in the inbox, the provider does not know",
    },
    "generation": {
        "accept.before_commit": "the order is written and not committed",
        "accept.after_commit": "the order is committed and not answered",
        "claim.after": "work is leased and not begun",
        "dial.before": "DIALING is committed, nothing is connected",
        "dial.connected": "the line is open, SENDING is not committed",
        "sending.marked": "SENDING is committed, no byte is sent",
        "reply.read": "the provider's answer is read and not recorded",
        "submitted.recorded": "the task id is committed",
        "refused.recorded": "the refusal is committed, and its order is READY again",
        "ambiguous.recorded": "AMBIGUOUS is committed, after the attempt's outcome",
        "lease.renewed": "a lease is prolonged by somebody who then dies",
        "inbox.before_commit": "a webhook is written and not committed",
        "inbox.after_commit": "a webhook is committed and not answered",
        "adopt.after": "an orphan is reunited, its webhook is still open",
        "poll.reply": "the record is read, its verdict is not recorded",
        "running.final": "the verdict is committed",
        "storing.before_commit": "the copies are made, SUCCEEDED is not committed",
        "recover.before": "a deserted order is leased by recovery",
        "outbox.before_commit": "an event and its change are written and not committed",
        "outbox.published": "an event is sent, its consumer may not have it",
    },
    "storage": {
        "download.mid": "a part of the picture is in the draft",
        "download.done": "the whole picture is in the draft",
        "put.tmp_synced": "the bytes are durable without a name",
        "put.linked": "the object has its name and no row",
        "row.before_commit": "the row is written and not committed",
        "row.after_commit": "object and row are durable, nobody was told",
        "put.reply_lost": "the import is done, its answer is not sent",
    },
}
SERVICE_OF: Mapping[str, str] = {point: service for service, points in POINTS.items() for point in points}
# Beside the way of a generation: only the storm over the community has a process that passes them.
BESIDE: Mapping[str, Mapping[str, str]] = {
    "community": {
        "order.opened": "the artwork and its hold are committed, generation was not asked",
        "order.heard": "what became of an order is written and not committed",
        "event.read": "an event is read and has taken no effect",
        "object.removed": "an artwork's object is gone, its debt is not settled",
    },
}
