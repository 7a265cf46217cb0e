"""Asks the services of the town at INTERNAL_PORT_BASE, for the operator's commands."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import click
import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from grpc import aio
from kawaii.community.v1 import admin_pb2 as communitypb
from kawaii.community.v1 import admin_pb2_grpc as communityrpc
from kawaii.generation.v1 import admin_pb2 as adminpb
from kawaii.generation.v1 import admin_pb2_grpc as adminrpc
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

from deploy.configuration import complaint
from services.chassis.channels import connect
from services.chassis.settings import TownSettings
from services.chassis.status import DETAILS_KEY, from_rpc
from services.chassis.town import Resident

MISCONFIGURED_EXIT = 2
COMMUNITY_SECONDS = 3600.0  # counting every like of a large site takes its time, and the operator waits for it

Answer = dict[str, Any]
Fields = Mapping[str, Any]


class MisconfiguredError(click.ClickException):
    """The settings do not say where the town is."""

    exit_code = MISCONFIGURED_EXIT


def ask(verb: str, **fields: Any) -> Answer:
    """Call an RPC by its name; the answer as its JSON form.

    Raises:
        click.ClickException: the town said no, or there is none; the message is one sentence or two.
    """
    return asyncio.run(_ask(verb, fields))


def follow(verb: str, tell: Callable[[Answer], None], **fields: Any) -> None:
    """The same for an RPC that answers again and again, until it ends."""
    asyncio.run(_follow(verb, tell, fields))


async def _ask(verb: str, fields: Fields) -> Answer:
    address = where(verb)
    async with connect(address) as channel:
        try:
            return as_json(await call(channel, verb, fields))
        except aio.AioRpcError as failure:
            raise click.ClickException(sentence(failure, address)) from None


async def _follow(verb: str, tell: Callable[[Answer], None], fields: Fields) -> None:
    address = where(verb)
    async with connect(address) as channel:
        try:
            async for message in call(channel, verb, fields):
                tell(as_json(message))
        except aio.AioRpcError as failure:
            raise click.ClickException(sentence(failure, address)) from None


def where(verb: str) -> str:
    """The address of the service that has an RPC. Raises MisconfiguredError."""
    if problems := complaint(TownSettings):
        raise MisconfiguredError(problems)
    of_community = hasattr(communitypb, f"{verb}Request")
    return TownSettings().address(Resident.COMMUNITY if of_community else Resident.GENERATION)


def call(channel: aio.Channel, verb: str, fields: Fields) -> Any:
    """Begin a call: a verb of an admin service, or else of generation's public one."""
    request = f"{verb}Request"
    if hasattr(communitypb, request):
        begin = getattr(communityrpc.CommunityAdminServiceStub(channel), verb)
        return begin(getattr(communitypb, request)(**fields), timeout=COMMUNITY_SECONDS)
    if hasattr(adminpb, request):
        return getattr(adminrpc.GenerationAdminServiceStub(channel), verb)(getattr(adminpb, request)(**fields))
    return getattr(generationrpc.GenerationServiceStub(channel), verb)(getattr(generationpb, request)(**fields))


def as_json(message: Message) -> Answer:
    """A message in the JSON form of its proto, fields that are empty included."""
    return MessageToDict(message, always_print_fields_with_no_presence=True)


def sentence(failure: aio.AioRpcError, address: str) -> str:
    """What went wrong, in words; where nobody answers, what helps."""
    told = any(key == DETAILS_KEY for key, _ in failure.trailing_metadata() or ())
    if failure.code() is grpc.StatusCode.UNAVAILABLE and not told:
        return f"No town answers at {address}. Start it with `make up`, or set INTERNAL_PORT_BASE to its own."
    return from_rpc(failure).message
