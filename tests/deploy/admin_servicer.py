"""Generation's services, and the community's for operators, in memory, behind the real interceptors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio
from kawaii.community.v1 import admin_pb2 as communityadminpb
from kawaii.community.v1 import admin_pb2_grpc as communityadminrpc
from kawaii.generation.v1 import admin_pb2 as generationadminpb
from kawaii.generation.v1 import admin_pb2_grpc as generationadminrpc
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

from services.chassis.addresses import ListenPort, address_of
from services.chassis.errors import FailedPrecondition, NotFound
from services.chassis.health import Health
from services.chassis.server import Mount, build
from tests.support.ports import free_base

State = generationpb.Generation.State
Generation = generationpb.Generation
ProviderKey = generationadminpb.ProviderKey
ProviderAccount = generationadminpb.ProviderAccount
ParkedWork = generationadminpb.ParkedWork
NOON = Timestamp(seconds=1_795_000_000, nanos=123_000_000)  # 2026-11-18T11:06:40.123Z
Context = aio.ServicerContext[Any, Any]
FINAL = (State.STATE_SUCCEEDED, State.STATE_FAILED, State.STATE_UNKNOWN, State.STATE_CANCELED)


def generation(task: str, state: "State.ValueType", prompt: str = "a cat") -> Generation:
    """A generation in a state; a failed one says why."""
    failure = Generation.Error(reason="PROVIDER_FAILED", message="The upstream failed.", provider_code=500)
    return Generation(
        name=f"generations/{task}",
        state=state,
        model="gpt4o-image",
        prompt=prompt,
        error=failure if state == State.STATE_FAILED else None,
        create_time=NOON,
        update_time=NOON,
    )


@dataclass
class AdminServicer(
    generationrpc.GenerationServiceServicer,
    generationadminrpc.GenerationAdminServiceServicer,
    communityadminrpc.CommunityAdminServiceServicer,
):
    """Rows, newest first, and keys by their print."""

    rows: dict[str, Generation] = field(default_factory=dict)
    keys: dict[str, ProviderKey] = field(default_factory=dict)
    parked: dict[str, ParkedWork] = field(default_factory=dict)
    parked_orders: list[str] = field(default_factory=list)
    adopted: dict[str, str] = field(default_factory=dict)
    missing: list[ProviderAccount] = field(default_factory=list)

    def add(self, *generations: Generation) -> None:
        """Store generations, the newest first."""
        self.rows |= {row.name: row for row in generations}

    def find(self, name: str) -> Generation:
        """A row. Raises NotFound."""
        if name not in self.rows:
            raise NotFound("There is no generation with this id. Check the taskId.", "TASK_NOT_FOUND")
        return self.rows[name]

    def key(self, name: str) -> ProviderKey:
        """A key. Raises NotFound."""
        if name not in self.keys:
            raise NotFound("There is no key of this name.", "KEY_NOT_FOUND")
        return self.keys[name]

    async def GetGeneration(self, request: generationpb.GetGenerationRequest, context: Context) -> Generation:
        return self.find(request.name)

    async def ListGenerations(
        self, request: generationpb.ListGenerationsRequest, context: Context
    ) -> generationpb.ListGenerationsResponse:
        fitting = [row for row in self.rows.values() if not request.states or row.state in request.states]
        begin = int(request.page_token or 0)
        page, rest = fitting[begin : begin + request.page_size], fitting[begin + request.page_size :]
        token = str(begin + request.page_size) if rest else ""
        return generationpb.ListGenerationsResponse(generations=page, next_page_token=token)

    async def WatchGeneration(
        self, request: generationpb.WatchGenerationRequest, context: Context
    ) -> AsyncIterator[Generation]:
        row = self.find(request.name)
        yield row
        if row.state not in FINAL:
            row.state, row.progress_percent = State.STATE_SUCCEEDED, 100
            yield row

    async def CancelGeneration(self, request: generationpb.CancelGenerationRequest, context: Context) -> Generation:
        row = self.find(request.name)
        if row.state in FINAL and row.state != State.STATE_CANCELED:
            raise FailedPrecondition("The generation has ended and cannot be canceled.")
        row.state = State.STATE_CANCELED
        return row

    async def RetryGeneration(
        self, request: generationpb.RetryGenerationRequest, context: Context
    ) -> generationpb.RetryGenerationResponse:
        row = self.find(request.name)
        if row.state == State.STATE_UNKNOWN and not request.accept_double_billing:
            raise FailedPrecondition("Its first order may have been taken.", "MAY_BILL_TWICE")
        row.state = State.STATE_READY
        row.ClearField("error")
        return generationpb.RetryGenerationResponse(generation=row)

    async def ExplainGeneration(
        self, request: generationadminpb.ExplainGenerationRequest, context: Context
    ) -> generationadminpb.ExplainGenerationResponse:
        self.find(request.name)
        entries = [
            generationadminpb.TimelineEntry(time=NOON, kind="KIND_STATE", text="READY, 0 %, 0 pictures"),
            generationadminpb.TimelineEntry(time=NOON, kind="KIND_ANSWER", text="att_1 REFUSED \x1b[31mno"),
        ]
        return generationadminpb.ExplainGenerationResponse(entries=entries)

    async def AdoptTask(
        self, request: generationadminpb.AdoptTaskRequest, context: Context
    ) -> generationadminpb.AdoptTaskResponse:
        self.adopted[request.attempt] = request.task
        return generationadminpb.AdoptTaskResponse(generation="generations/gen_1")

    async def ListParkedWork(
        self, request: generationadminpb.ListParkedWorkRequest, context: Context
    ) -> generationadminpb.ListParkedWorkResponse:
        return generationadminpb.ListParkedWorkResponse(parked_works=self.parked.values())

    async def ReleaseParkedWork(
        self, request: generationadminpb.ReleaseParkedWorkRequest, context: Context
    ) -> generationadminpb.ReleaseParkedWorkResponse:
        assert self.parked[request.work].loop == request.loop
        del self.parked[request.work]
        return generationadminpb.ReleaseParkedWorkResponse()

    async def ListParkedCommunityWork(
        self, request: communityadminpb.ListParkedCommunityWorkRequest, context: Context
    ) -> communityadminpb.ListParkedCommunityWorkResponse:
        works = [
            communityadminpb.ParkedCommunityWork(loop="orders", work=work, tries=5, park_time=NOON)
            for work in self.parked_orders
        ]
        return communityadminpb.ListParkedCommunityWorkResponse(parked_works=works)

    async def ReleaseParkedCommunityWork(
        self, request: communityadminpb.ReleaseParkedCommunityWorkRequest, context: Context
    ) -> communityadminpb.ReleaseParkedCommunityWorkResponse:
        assert request.loop == "orders"
        self.parked_orders.remove(request.work)
        return communityadminpb.ReleaseParkedCommunityWorkResponse()

    async def ListProviderKeys(
        self, request: generationadminpb.ListProviderKeysRequest, context: Context
    ) -> generationadminpb.ListProviderKeysResponse:
        account = ProviderAccount(account="main", credits=12.5, credits_time=NOON, recent_create_count=3)
        return generationadminpb.ListProviderKeysResponse(
            provider_keys=self.keys.values(), accounts=[account, *self.missing]
        )

    async def EnableKey(self, request: generationadminpb.EnableKeyRequest, context: Context) -> ProviderKey:
        key = self.key(request.name)
        key.state = ProviderKey.STATE_ACTIVE
        return key

    async def DisableKey(self, request: generationadminpb.DisableKeyRequest, context: Context) -> ProviderKey:
        key = self.key(request.name)
        key.state = ProviderKey.STATE_DISABLED
        return key

    async def ProbeKey(self, request: generationadminpb.ProbeKeyRequest, context: Context) -> ProviderKey:
        key = self.key(request.name)
        key.state, key.cause_code = ProviderKey.STATE_RESTING, 401
        key.rest_end_time.CopyFrom(NOON)
        return key


def admin_servicer() -> AdminServicer:
    """A servicer that does what operators ask; it has no other RPC, which is more than a type checker believes."""
    kind: Any = AdminServicer
    made: AdminServicer = kind()
    return made


@asynccontextmanager
async def opened(servicer: AdminServicer) -> AsyncIterator[int]:
    """Serve; yields the stack's port base, above which the services listen."""
    public = Mount(generationrpc.add_GenerationServiceServicer_to_server, servicer, generationpb.DESCRIPTOR)
    admin = Mount(
        generationadminrpc.add_GenerationAdminServiceServicer_to_server, servicer, generationadminpb.DESCRIPTOR
    )
    community = Mount(
        communityadminrpc.add_CommunityAdminServiceServicer_to_server, servicer, communityadminpb.DESCRIPTOR
    )
    server: aio.Server = build([public, admin, community], Health([], []))
    base = free_base()
    for listener in (ListenPort.GENERATION, ListenPort.COMMUNITY):
        server.add_insecure_port(address_of(listener, base))
    await server.start()
    try:
        yield base
    finally:
        await server.stop(None)
