"""Where the community is kept: SQL is the truth, and the read models in Redis can always be made again from it."""

from dataclasses import dataclass

from services.chassis.database import Database
from services.chassis.parking import FaultStore, Parking
from services.chassis.replays import Replays
from services.community.model.parking import LOOPS
from services.community.ports import Clock
from services.community.stores.bin import SqlBin
from services.community.stores.cached import CachedLists
from services.community.stores.credits import SqlCredits
from services.community.stores.ledger import Ledger
from services.community.stores.lists import SqlLists
from services.community.stores.orders import SqlOrders
from services.community.stores.people import SqlPeople
from services.community.stores.people_rows import PeopleRows
from services.community.stores.reactions import SqlReactions
from services.community.stores.read_models import RedisModels
from services.community.stores.tables import request_answer, work_fault
from services.community.stores.works import SqlWorks


@dataclass(frozen=True)
class Stores:
    """Every store of the service on one database."""

    works: SqlWorks
    orders: SqlOrders
    reactions: SqlReactions
    people: SqlPeople
    credits: SqlCredits
    bin: SqlBin
    lists: CachedLists
    replays: Replays
    parking: Parking


def make_stores(
    database: Database, models: RedisModels, clock: Clock, initial_credits: int, erasure_key: bytes
) -> Stores:
    """The stores, with the read models before the lists; the key makes the digests of who was erased."""
    people = PeopleRows(erasure_key)
    works, ledger = SqlWorks(database, people, clock), Ledger(initial_credits, people)
    return Stores(
        works=works,
        orders=SqlOrders(database, people, ledger, clock),
        reactions=SqlReactions(database, people, clock),
        people=SqlPeople(database, people, clock),
        credits=SqlCredits(database, people, ledger, clock),
        bin=SqlBin(database),
        lists=CachedLists(SqlLists(database), works, models),
        replays=Replays(database, request_answer),
        parking=Parking(FaultStore(database, work_fault), LOOPS),
    )
