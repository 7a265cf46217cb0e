"""Composes the service from its stores and its clients of generation and storage: RPC mounts and background loops."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

from kawaii.community.v1 import admin_pb2 as communityadminpb
from kawaii.community.v1 import admin_pb2_grpc as communityadminrpc
from kawaii.community.v1 import artworks_pb2 as artworkspb
from kawaii.community.v1 import artworks_pb2_grpc as artworksrpc
from kawaii.community.v1 import credits_pb2 as creditspb
from kawaii.community.v1 import credits_pb2_grpc as creditsrpc
from kawaii.community.v1 import users_pb2 as userspb
from kawaii.community.v1 import users_pb2_grpc as usersrpc

from services.chassis.clock import Clock
from services.chassis.errors import Unavailable
from services.chassis.public_files import PublicFiles
from services.chassis.server import Mount
from services.chassis.sole_lease import SoleLease
from services.community.admin_servicer import CommunityAdminServicer
from services.community.core.admin import AdminOperations
from services.community.core.artworks import Artworks
from services.community.core.credits import Credits
from services.community.core.deletion import DeletionWorker
from services.community.core.event_consumer import EVENTS, EventConsumer
from services.community.core.feed import Feed, ScoreDecay
from services.community.core.orders import Orders
from services.community.core.reactions import Reactions
from services.community.core.saving import Saving
from services.community.core.users import Users
from services.community.ports import Generations, Objects
from services.community.servicer import ArtworkServicer, CreditServicer, UserServicer
from services.community.settings import CommunitySettings
from services.community.stores import Stores
from services.community.stores.tables import sole_lease
from services.community.wire import Wire


class CommunityService:
    """All parts of the community service, each constructed with its dependencies."""

    def __init__(
        self,
        settings: CommunitySettings,
        stores: Stores,
        generations: Generations,
        objects: Objects,
        clock: Clock,
    ) -> None:
        self._replays, self._parking = stores.replays, stores.parking
        files, per_hour = PublicFiles(*settings.files_base_urls), settings.community_reactions_per_hour
        self._wire, key = Wire(files, settings.origin, has_files_host=settings.has_files_host), files.key
        database = stores.database
        self.artworks = Artworks(database, stores.artworks, stores.lists, clock)
        allowed = settings.outbound_allow_private
        self.saving = Saving(
            database, self.artworks, stores.artworks, objects, own_key=key, clock=clock, allowed=allowed
        )
        self.orders = Orders(
            database,
            self.artworks,
            stores.orders,
            generations,
            stores.parking,
            own_key=key,
            cost=settings.cost,
            clock=clock,
        )
        self.feed = Feed(database, stores.lists, stores.artworks, clock)
        self.reactions = Reactions(
            database, self.artworks, stores.reactions, stores.lists, per_hour=per_hour, clock=clock
        )
        self.users = Users(database, stores.users, stores.lists, allowed)
        self.credits = Credits(database, stores.credits, enabled=settings.credits_enabled, clock=clock)
        self.event_consumer = EventConsumer(database, stores.orders, generations)
        self._events_lease = SoleLease(database, sole_lease, EVENTS)
        self.score_decay = ScoreDecay(database, stores.artworks, stores.lists, clock)
        self.deletion_worker = DeletionWorker(database, stores.deletion_queue, objects, generations, stores.parking)
        self.admin_operations = AdminOperations(
            database,
            stores.reactions,
            stores.users,
            stores.lists,
            orders=stores.orders,
            parking=stores.parking,
        )

    def mounts(self) -> Sequence[Mount]:
        """The gRPC services to serve."""
        artworks = ArtworkServicer(
            artworks=self.artworks,
            saving=self.saving,
            orders=self.orders,
            reactions=self.reactions,
            feed=self.feed,
            replays=self._replays,
            rendering=self._wire,
        )
        users, accounts = UserServicer(self.users, self.feed, self._wire), CreditServicer(self.credits)
        admin = CommunityAdminServicer(self.admin_operations, self.artworks, self._wire)
        return (
            Mount(artworksrpc.add_ArtworkServiceServicer_to_server, artworks, artworkspb.DESCRIPTOR),
            Mount(usersrpc.add_UserServiceServicer_to_server, users, userspb.DESCRIPTOR),
            Mount(creditsrpc.add_CreditServiceServicer_to_server, accounts, creditspb.DESCRIPTOR),
            Mount(communityadminrpc.add_CommunityAdminServiceServicer_to_server, admin, communityadminpb.DESCRIPTOR),
        )

    async def refresh(self) -> None:
        """Set the gauge of parked work before a scrape; it stays as it was while the database is away."""
        with suppress(Unavailable):
            await self._parking.measure()

    def loops(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """The background loops."""
        events = partial(self._events_lease.run, self.event_consumer.run)
        return (self.orders.run, events, self.score_decay.run, self.deletion_worker.run)
