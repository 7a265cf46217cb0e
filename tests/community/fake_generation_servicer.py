"""Fakes of the generation service: one with scripted answers, one that makes each request's generation once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

from services.chassis import errors

States = generationpb.Generation


class ScriptedGenerationServicer(generationrpc.GenerationServiceServicer):
    """Answers what a test says."""

    def __init__(self) -> None:
        self.answer: generationpb.Generation | Exception = generation(States.STATE_RUNNING)
        self.quota: generationpb.Quota | None = None
        self.refusal: Exception | None = None
        self.asked: list[Any] = []
        self.pruned_through = 0
        self.news = [generation(States.STATE_RUNNING)]

    async def CreateGeneration(self, request: Any, context: Any) -> generationpb.CreateGenerationResponse:
        if self.refusal:
            raise self.refusal
        return generationpb.CreateGenerationResponse(generation=self._answered(request), quota=self.quota)

    async def GetGeneration(self, request: Any, context: Any) -> generationpb.Generation:
        return self._answered(request)

    async def WatchEvents(self, request: Any, context: Any) -> AsyncIterator[generationpb.Event]:
        self.asked.append(request)
        if request.after_sequence < self.pruned_through:
            metadata = {"pruned_through": str(self.pruned_through)}
            raise errors.OutOfRange("Events were pruned.", "EVENTS_PRUNED", metadata=metadata)
        for sequence, status in enumerate(self.news, request.after_sequence + 1):
            yield generationpb.Event(sequence=sequence, generation=status)
        raise errors.Unavailable("The service is restarting.")

    def _answered(self, request: Any) -> generationpb.Generation:
        self.asked.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def generation(state: int, *, object_: str = "", error: str = "") -> generationpb.Generation:
    made = generationpb.Generation(name="generations/gen_1", state=state, provider_task_id="task_1")
    if object_:
        made.outputs.add(object=object_, source_uri="https://temporary.example/x.png")
    if error:
        made.error.CopyFrom(States.Error(reason=error, message="The provider said no."))
    return made


class FakeGenerationServicer(generationrpc.GenerationServiceServicer):
    """Makes the generation of each request id once, at once, and tells of it in events, for ever.

    As the real one, it answers a repeated request with the generation as it is by then. `readers` read events now, and
    `most_readers` did at one time.
    """

    def __init__(self) -> None:
        self.readers = self.most_readers = 0
        self.asked: list[str] = []
        self.made: dict[str, generationpb.Generation] = {}
        self._news = asyncio.Event()

    async def CreateGeneration(self, request: Any, context: Any) -> generationpb.CreateGenerationResponse:
        self.asked.append(request.request_id)
        if earlier := self.made.get(request.request_id):
            return generationpb.CreateGenerationResponse(generation=earlier, joined=True)
        name = f"gen_{len(self.made) + 1}"
        made = generation(States.STATE_SUCCEEDED, object_=f"objects/generated/{name}/0.png")
        made.name = f"generations/{name}"
        self.made[request.request_id] = made
        self._news.set()
        running = generationpb.Generation(name=made.name, state=States.STATE_RUNNING)
        return generationpb.CreateGenerationResponse(generation=running)

    async def GetGeneration(self, request: Any, context: Any) -> generationpb.Generation:
        return next(made for made in self.made.values() if made.name == request.name)

    async def WatchEvents(self, request: Any, context: Any) -> AsyncIterator[generationpb.Event]:
        after = request.after_sequence
        self.readers += 1
        self.most_readers = max(self.most_readers, self.readers)
        try:
            while True:
                for made in list(self.made.values())[after:]:
                    after += 1
                    yield generationpb.Event(sequence=after, event_id=f"evt_{after}", generation=made)
                self._news.clear()
                await self._news.wait()
        finally:
            self.readers -= 1
