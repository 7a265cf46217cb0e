"""The metrics of the community service; no label holds an id, a name or a prompt."""

import structlog
from prometheus_client import Counter, Gauge

from services.community.model import Order, OrderState, Reaction
from services.community.model.orders import ENDED

ORDERS = Counter("kawaii_artwork_orders_ended_total", "Orders of pictures that ended.", ("state", "reason"))
REACTIONS = Counter("kawaii_reactions_total", "Likes and favourites that changed a row.", ("reaction", "change"))
EVENTS = Counter("kawaii_generation_events_total", "Events of generation that were consumed.")
CURSOR = Gauge("kawaii_generation_events_cursor", "Sequence of the last event of generation that was consumed.")
DRIFT = Gauge("kawaii_counter_drift", "By how much the counts differed from the rows when last reconciled.")
RESENT = Counter("kawaii_artwork_orders_resent_total", "Orders whose first answer was lost, sent again.")

logger = structlog.get_logger()


def event_consumed(sequence: int, order: Order | None) -> None:
    """Count a consumed event, and the order that it ended, if any."""
    EVENTS.inc()
    CURSOR.set(sequence)
    if order:
        order_updated(order)


def order_updated(order: Order) -> None:
    """Count and log an order that has ended."""
    if order.state in ENDED:
        ORDERS.labels(order.state, order.reason).inc()
        logger.info("order_ended", order=order.id, artwork=order.artwork_id, to=order.state, reason=order.reason)


def refused(reason: str) -> None:
    """Count an order that generation has refused for good."""
    ORDERS.labels(OrderState.FAILED, reason).inc()


def reacted(reaction: Reaction, *, wanted: bool) -> None:
    """Count a reaction that was added or removed."""
    REACTIONS.labels(reaction, "add" if wanted else "remove").inc()


def drifted(amount: int) -> None:
    """Set the drift of the last reconciliation."""
    DRIFT.set(amount)
