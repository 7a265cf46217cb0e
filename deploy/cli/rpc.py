"""Calls the services of the stack by gRPC, for the operator's commands: by the targets that the services use too."""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import click
import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from grpc import aio
from kawaii.community.v1 import admin_pb2 as communityadminpb
from kawaii.community.v1 import admin_pb2_grpc as communityadminrpc
from kawaii.generation.v1 import admin_pb2 as generationadminpb
from kawaii.generation.v1 import admin_pb2_grpc as generationadminrpc
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc
from kawaii.storage.v1 import admin_pb2 as storageadminpb
from kawaii.storage.v1 import admin_pb2_grpc as storageadminrpc
from kawaii.storage.v1 import storage_pb2 as storagepb
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc

from deploy.launcher.configuration import complaint
from services.chassis.channels import connect
from services.chassis.settings import CommonSettings
from services.chassis.status import from_rpc, has_details

SCHEME = r"^(ipv[46]:|dns:///)"  # of a target; people write the rest
HANDSHAKE = "andshake"  # in what gRPC says of a connection that TLS refused
MISCONFIGURED_EXIT = 2
COMMUNITY_SECONDS = 3600.0  # counting every like of a large site takes its time, and the operator waits for it
SLOW = {"RecopyGeneration": 300.0}  # some pictures, each with two fetches of half a minute

Answer = dict[str, Any]
Fields = Mapping[str, Any]


@dataclass(frozen=True)
class ServiceClient:
    """A service that the commands call: its messages, its stub, its name, the seconds that a call may take."""

    messages: Any
    stub: Callable[[aio.Channel], Any]
    service: str
    seconds: float | None = None


SERVICES = (
    ServiceClient(communityadminpb, communityadminrpc.CommunityAdminServiceStub, "community", COMMUNITY_SECONDS),
    ServiceClient(generationadminpb, generationadminrpc.GenerationAdminServiceStub, "generation"),
    ServiceClient(generationpb, generationrpc.GenerationServiceStub, "generation"),
    ServiceClient(storageadminpb, storageadminrpc.StorageAdminServiceStub, "storage"),
    ServiceClient(storagepb, storagerpc.StorageServiceStub, "storage"),
)


class MisconfiguredError(click.ClickException):
    """The settings do not say where the stack is."""

    exit_code = MISCONFIGURED_EXIT


def ask(verb: str, **fields: Any) -> Answer:
    """Call an RPC by its name; the answer as its JSON form.

    Raises:
        click.ClickException: the stack said no, or there is none; the message is one sentence or two.
    """
    return asyncio.run(_ask(verb, fields))


def follow(verb: str, tell: Callable[[Answer], None], **fields: Any) -> None:
    """Call a streaming RPC by its name, and pass each answer to `tell`, until the stream ends. Raises as `ask` does."""
    asyncio.run(_follow(verb, tell, fields))


async def _ask(verb: str, fields: Fields) -> Answer:
    address = where(verb)
    async with connect(CommonSettings(), service_client(verb).service) as channel:
        try:
            return as_json(await call(channel, verb, fields))
        except aio.AioRpcError as failure:
            raise click.ClickException(sentence(failure, address)) from None


async def _follow(verb: str, tell: Callable[[Answer], None], fields: Fields) -> None:
    address = where(verb)
    async with connect(CommonSettings(), service_client(verb).service) as channel:
        try:
            async for message in call(channel, verb, fields):
                tell(as_json(message))
        except aio.AioRpcError as failure:
            raise click.ClickException(sentence(failure, address)) from None


def where(verb: str) -> str:
    """The target of the service that has an RPC. Raises MisconfiguredError."""
    if problems := complaint(CommonSettings):
        raise MisconfiguredError(problems)
    return CommonSettings().target(service_client(verb).service)


def service_client(verb: str) -> ServiceClient:
    """The service that has an RPC; no two services have one of the same name."""
    return next(each for each in SERVICES if hasattr(each.messages, f"{verb}Request"))


def call(channel: aio.Channel, verb: str, fields: Fields) -> Any:
    """Begin a call."""
    answering = service_client(verb)
    request = getattr(answering.messages, f"{verb}Request")(**fields)
    return getattr(answering.stub(channel), verb)(request, timeout=SLOW.get(verb, answering.seconds))


def as_json(message: Message) -> Answer:
    """A message in the JSON form of its proto, fields that are empty included."""
    return MessageToDict(message, always_print_fields_with_no_presence=True)


def sentence(failure: aio.AioRpcError, address: str) -> str:
    """The message of a failed call; where no stack answers, what helps."""
    detailed = has_details(failure)
    if failure.code() is grpc.StatusCode.UNAVAILABLE and not detailed:
        place = re.sub(SCHEME, "", address)
        if HANDSHAKE in (failure.details() or ""):
            return (
                f"{place} answers, and does not trust us, or we not it. Set INTERNAL_TLS_CERT, INTERNAL_TLS_KEY and "
                "INTERNAL_TLS_CA to an operator's certificate (`kawaii certs issue operator`) of the stack's authority."
            )
        return (
            f"No stack answers at {place}. Start it with `make up`, or set INTERNAL_PORT_BASE to its own, or the "
            "…_TARGET of a service that runs elsewhere."
        )
    return from_rpc(failure).message
