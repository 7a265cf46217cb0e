"""Puts the service together from its stores and its two neighbours: its mounts, and the loops that run beside them."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from kawaii.community.v1 import admin_pb2 as adminpb
from kawaii.community.v1 import admin_pb2_grpc as adminrpc
from kawaii.community.v1 import artworks_pb2 as artworkspb
from kawaii.community.v1 import artworks_pb2_grpc as artworksrpc
from kawaii.community.v1 import credits_pb2 as creditspb
from kawaii.community.v1 import credits_pb2_grpc as creditsrpc
from kawaii.community.v1 import users_pb2 as userspb
from kawaii.community.v1 import users_pb2_grpc as usersrpc

from services.chassis.errors import Unavailable
from services.chassis.files import PublicFiles
from services.chassis.server import Mount
from services.community.admin_servicer import CommunityAdminServicer
from services.community.core.artworks import Artworks
from services.community.core.credits import Credits
from services.community.core.feed import Feed
from services.community.core.follower import Follower
from services.community.core.orders import Orders
from services.community.core.parked import ParkedWork
from services.community.core.people import People
from services.community.core.reactions import Reactions
from services.community.core.saving import Saving
from services.community.core.upkeep import Office, Sweeper, Thermostat
from services.community.people_servicer import CreditServicer, UserServicer
from services.community.ports import Clock, Generations, Objects
from services.community.servicer import ArtworkServicer
from services.community.settings import CommunitySettings
from services.community.stores import Stores
from services.community.wire import Wire


class House:
    """Every part of the service, each with what it uses."""

    def __init__(
        self,
        settings: CommunitySettings,
        stores: Stores,
        generations: Generations,
        objects: Objects,
        clock: Clock,
    ) -> None:
        self._replays = stores.replays
        files, per_hour = PublicFiles(*settings.files_base_urls), settings.community_reactions_per_hour
        self._wire, key = Wire(files, settings.origin, elsewhere=settings.has_files_host), files.key
        self.artworks = Artworks(stores.works, stores.lists, clock)
        allowed = settings.outbound_allow_private
        self.saving = Saving(self.artworks, stores.works, objects, own_key=key, clock=clock, allowed=allowed)
        self.orders = Orders(
            self.artworks,
            stores.orders,
            generations,
            stores.parking,
            own_key=key,
            cost=settings.cost,
            clock=clock,
        )
        self.feed = Feed(stores.lists, stores.works, clock)
        self.reactions = Reactions(self.artworks, stores.reactions, stores.lists, per_hour=per_hour, clock=clock)
        self.people = People(stores.people, stores.lists, allowed)
        self.credits = Credits(stores.credits, enabled=settings.credits_enabled, clock=clock)
        self.follower = Follower(stores.orders, generations)
        self.thermostat = Thermostat(stores.works, stores.lists, clock)
        self.sweeper = Sweeper(stores.bin, objects, generations, stores.parking)
        self.parked = ParkedWork(stores.parking, stores.orders)
        self.office = Office(stores.reactions, stores.people, stores.lists)

    def mounts(self) -> Sequence[Mount]:
        """What is served."""
        artworks = ArtworkServicer(
            artworks=self.artworks,
            saving=self.saving,
            orders=self.orders,
            reactions=self.reactions,
            feed=self.feed,
            replays=self._replays,
            rendering=self._wire,
        )
        users, accounts = UserServicer(self.people, self.feed, self._wire), CreditServicer(self.credits)
        admin = CommunityAdminServicer(self.office, self.artworks, self.parked, self._wire)
        return (
            Mount(artworksrpc.add_ArtworkServiceServicer_to_server, artworks, artworkspb.DESCRIPTOR),
            Mount(usersrpc.add_UserServiceServicer_to_server, users, userspb.DESCRIPTOR),
            Mount(creditsrpc.add_CreditServiceServicer_to_server, accounts, creditspb.DESCRIPTOR),
            Mount(adminrpc.add_CommunityAdminServiceServicer_to_server, admin, adminpb.DESCRIPTOR),
        )

    async def refresh(self) -> None:
        """Set the gauge of parked work before a scrape; it stays as it was while the database is away."""
        with suppress(Unavailable):
            await self.parked.measure()

    def loops(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """What runs beside."""
        return (self.orders.run, self.follower.run, self.thermostat.run, self.sweeper.run)
