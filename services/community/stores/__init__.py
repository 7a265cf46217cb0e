"""The stores of the community: SQL, and read models in Redis that can always be rebuilt from it."""

from dataclasses import dataclass

from services.chassis.clock import Clock
from services.chassis.database import Database
from services.chassis.idempotency import IdempotencyKeys
from services.chassis.parking import FaultStore, Parking
from services.chassis.signing_keys import PurposeKeys
from services.community.model.orders import ORDERS
from services.community.model.users import DELETIONS
from services.community.stores.artworks import SqlArtworks
from services.community.stores.credits import Ledger, SqlCredits
from services.community.stores.deletion_queue import SqlDeletionQueue
from services.community.stores.lists import ArtworkLists
from services.community.stores.orders import SqlOrders
from services.community.stores.reactions import SqlReactions
from services.community.stores.read_models import RedisModels
from services.community.stores.tables import request_answer, work_fault
from services.community.stores.users import SqlUsers, UserRows


@dataclass(frozen=True)
class Stores:
    """All stores of the service, and the database on which core opens their transactions."""

    database: Database
    artworks: SqlArtworks
    orders: SqlOrders
    reactions: SqlReactions
    users: SqlUsers
    credits: SqlCredits
    deletion_queue: SqlDeletionQueue
    lists: ArtworkLists
    replays: IdempotencyKeys
    parking: Parking


def make_stores(
    database: Database, models: RedisModels, clock: Clock, initial_credits: int, erasure_keys: PurposeKeys
) -> Stores:
    """Make the stores; erasure_keys make the digests of erased users."""
    users = UserRows(erasure_keys)
    artworks, ledger = SqlArtworks(users, clock), Ledger(initial_credits, users)
    return Stores(
        database=database,
        artworks=artworks,
        orders=SqlOrders(users, ledger, clock),
        reactions=SqlReactions(users, clock),
        users=SqlUsers(users, clock),
        credits=SqlCredits(users, ledger, clock),
        deletion_queue=SqlDeletionQueue(),
        lists=ArtworkLists(database, artworks, models),
        replays=IdempotencyKeys(database, request_answer),
        parking=Parking(FaultStore(database, work_fault), (ORDERS, DELETIONS)),
    )
