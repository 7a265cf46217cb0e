"""Speaks kawaii.generation.v1: parses, calls the core, renders; decides nothing."""

from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpc import aio
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

from services.chassis.files import PublicFiles
from services.generation import page_wire, wire
from services.generation.core import Generations
from services.generation.core.links import Links
from services.generation.core.mailbox import Mailbox

Context = aio.ServicerContext[Any, Any]


class GenerationServicer(generationrpc.GenerationServiceServicer):
    """One method an RPC, in the proto's order."""

    def __init__(self, generations: Generations, mailbox: Mailbox, links: Links, files: PublicFiles) -> None:
        self._generations = generations
        self._mailbox = mailbox
        self._links = links
        self._files = files

    async def CreateGeneration(
        self, request: generationpb.CreateGenerationRequest, context: Context
    ) -> generationpb.Generation:
        subjects = [subject for subject in (request.quota_subject, *request.quota_subjects) if subject]
        generation = await self._generations.create(
            wire.draft(request.generation), request.request_id, subjects, request.request_digest
        )
        return wire.to_pb(generation, self._files)

    async def GetGeneration(
        self, request: generationpb.GetGenerationRequest, context: Context
    ) -> generationpb.Generation:
        generation = await self._generations.get(wire.identifier(request.name))
        return wire.to_pb(generation, self._files)

    async def ListGenerations(
        self, request: generationpb.ListGenerationsRequest, context: Context
    ) -> generationpb.ListGenerationsResponse:
        page = page_wire.page(request)
        found = await self._generations.list(page)
        following = page_wire.token(request, found[-1]) if len(found) == page.size else ""
        listed = [wire.to_pb(generation, self._files) for generation in found]
        return generationpb.ListGenerationsResponse(generations=listed, next_page_token=following)

    async def CancelGeneration(
        self, request: generationpb.CancelGenerationRequest, context: Context
    ) -> generationpb.Generation:
        generation = await self._generations.cancel(wire.identifier(request.name))
        return wire.to_pb(generation, self._files)

    async def FindGeneration(
        self, request: generationpb.FindGenerationRequest, context: Context
    ) -> generationpb.Generation:
        return wire.to_pb(await self._generations.find(request.request_id), self._files)

    async def ForgetGeneration(self, request: generationpb.ForgetGenerationRequest, context: Context) -> Empty:
        await self._generations.forget(wire.identifier(request.name))
        return Empty()

    async def RetryGeneration(
        self, request: generationpb.RetryGenerationRequest, context: Context
    ) -> generationpb.Generation:
        identifier, accepted = wire.identifier(request.name), request.accept_double_billing
        subjects = [subject for subject in request.quota_subjects if subject]
        generation = await self._generations.retry(identifier, subjects, accept_double_billing=accepted)
        return wire.to_pb(generation, self._files)

    async def WatchGeneration(
        self, request: generationpb.WatchGenerationRequest, context: Context
    ) -> AsyncIterator[generationpb.Generation]:
        async for generation in self._generations.watch(wire.identifier(request.name)):
            yield wire.to_pb(generation, self._files)

    async def WatchEvents(
        self, request: generationpb.WatchEventsRequest, context: Context
    ) -> AsyncIterator[generationpb.Event]:
        async for event in self._generations.events(request.after_sequence):
            yield wire.event_pb(event, self._files)

    async def ReceiveCallback(
        self, request: generationpb.ReceiveCallbackRequest, context: Context
    ) -> generationpb.ReceiveCallbackResponse:
        accepted = await self._mailbox.receive(request.kind, request.token, request.body, request.headers)
        return generationpb.ReceiveCallbackResponse(accepted=accepted)

    async def CreateDownloadLink(
        self, request: generationpb.CreateDownloadLinkRequest, context: Context
    ) -> generationpb.DownloadLink:
        return wire.link_pb(await self._links.create(request.uri, request.generation))

    async def ListModels(
        self, request: generationpb.ListModelsRequest, context: Context
    ) -> generationpb.ListModelsResponse:
        return page_wire.models(request, self._generations.models())
