"""The RPCs of kawaii.generation.v1: parses, calls the core, renders; decides nothing."""

from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpc import aio
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

from services.chassis.public_files import PublicFiles
from services.generation.callbacks.receiver import CallbackReceiver
from services.generation.core.download_links import DownloadLinks
from services.generation.core.generations import Generations
from services.generation.wire import generations

Context = aio.ServicerContext[Any, Any]


class GenerationServicer(generationrpc.GenerationServiceServicer):
    """One method an RPC, in the proto's order."""

    def __init__(
        self, generations: Generations, receiver: CallbackReceiver, links: DownloadLinks, files: PublicFiles
    ) -> None:
        self._generations = generations
        self._receiver = receiver
        self._links = links
        self._files = files

    async def CreateGeneration(
        self, request: generationpb.CreateGenerationRequest, context: Context
    ) -> generationpb.CreateGenerationResponse:
        subjects = [subject for subject in (request.quota_subject, *request.quota_subjects) if subject]
        placed = await self._generations.create(
            generations.draft(request.generation), request.request_id, subjects, request.request_digest
        )
        return generations.created_pb(placed, self._files)

    async def GetGeneration(
        self, request: generationpb.GetGenerationRequest, context: Context
    ) -> generationpb.Generation:
        generation = await self._generations.get(generations.identifier(request.name))
        return generations.to_pb(generation, self._files)

    async def ListGenerations(
        self, request: generationpb.ListGenerationsRequest, context: Context
    ) -> generationpb.ListGenerationsResponse:
        page = generations.page(request)
        found = await self._generations.list(page)
        following = generations.page_token(request, found[-1]) if len(found) == page.size else ""
        listed = [generations.to_pb(generation, self._files) for generation in found]
        return generationpb.ListGenerationsResponse(generations=listed, next_page_token=following)

    async def CancelGeneration(
        self, request: generationpb.CancelGenerationRequest, context: Context
    ) -> generationpb.Generation:
        generation = await self._generations.cancel(generations.identifier(request.name))
        return generations.to_pb(generation, self._files)

    async def FindGeneration(
        self, request: generationpb.FindGenerationRequest, context: Context
    ) -> generationpb.Generation:
        return generations.to_pb(await self._generations.find(request.request_id), self._files)

    async def ForgetGeneration(self, request: generationpb.ForgetGenerationRequest, context: Context) -> Empty:
        await self._generations.forget(generations.identifier(request.name))
        return Empty()

    async def RetryGeneration(
        self, request: generationpb.RetryGenerationRequest, context: Context
    ) -> generationpb.RetryGenerationResponse:
        identifier, accepted = generations.identifier(request.name), request.accept_double_billing
        subjects = [subject for subject in request.quota_subjects if subject]
        placed = await self._generations.retry(identifier, subjects, accept_double_billing=accepted)
        return generations.retried_pb(placed, self._files)

    async def WatchGeneration(
        self, request: generationpb.WatchGenerationRequest, context: Context
    ) -> AsyncIterator[generationpb.Generation]:
        async for generation in self._generations.watch(generations.identifier(request.name)):
            yield generations.to_pb(generation, self._files)

    async def WatchEvents(
        self, request: generationpb.WatchEventsRequest, context: Context
    ) -> AsyncIterator[generationpb.Event]:
        async for event in self._generations.events(request.after_sequence):
            yield generations.event_pb(event, self._files)

    async def ReceiveCallback(
        self, request: generationpb.ReceiveCallbackRequest, context: Context
    ) -> generationpb.ReceiveCallbackResponse:
        accepted = await self._receiver.receive(request.kind, request.token, request.body, request.headers)
        return generationpb.ReceiveCallbackResponse(accepted=accepted)

    async def CreateDownloadLink(
        self, request: generationpb.CreateDownloadLinkRequest, context: Context
    ) -> generationpb.DownloadLink:
        identifier = generations.identifier(request.generation, "generation") if request.generation else ""
        return generations.link_pb(await self._links.create(request.uri, identifier))

    async def ListModels(
        self, request: generationpb.ListModelsRequest, context: Context
    ) -> generationpb.ListModelsResponse:
        return generations.models_pb(request, self._generations.models())
