"""A manual clock, and stubs of all services of the community."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from grpc import aio
from grpc_health.v1 import health_pb2_grpc
from kawaii.community.v1 import admin_pb2_grpc as communityadminrpc
from kawaii.community.v1 import artworks_pb2_grpc as artworksrpc
from kawaii.community.v1 import credits_pb2_grpc as creditsrpc
from kawaii.community.v1 import users_pb2_grpc as usersrpc

START_MS = 1_700_000_000_000
Refused = Callable[..., AbstractContextManager[None]]


class Clock:
    """A clock that stands still until it is told to move."""

    def __init__(self) -> None:
        self.now = START_MS

    def __call__(self) -> int:
        return self.now


class Client:
    """Stubs of every service of the community."""

    def __init__(self, channel: aio.Channel) -> None:
        self.artworks = artworksrpc.ArtworkServiceStub(channel)
        self.users = usersrpc.UserServiceStub(channel)
        self.credits = creditsrpc.CreditServiceStub(channel)
        self.admin = communityadminrpc.CommunityAdminServiceStub(channel)
        self.health = health_pb2_grpc.HealthStub(channel)
