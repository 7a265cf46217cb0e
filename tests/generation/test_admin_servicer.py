"""Operators see and turn the pool over a real channel, and no answer, error, row or log line holds a key's value."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from grpc import aio
from kawaii.generation.v1 import admin_pb2 as generationadminpb
from kawaii.generation.v1 import admin_pb2_grpc as generationadminrpc

from catalogue import MODELS
from services.chassis.channels import plain_channel
from services.chassis.database import Database
from services.chassis.errors import InvalidArgument, KawaiiError, NotFound, Unavailable
from services.chassis.server import Mount
from services.chassis.settings import CommonSettings
from services.chassis.status import from_rpc
from services.generation.admin_servicer import GenerationAdminServicer
from services.generation.core.restoration import Restoration
from services.generation.core.timeline import Timeline
from services.generation.model import State
from services.generation.outcomes import Accepted, Ambiguous, InProgress, Later, Refused
from services.generation.stores.key_pool import open_key_pool
from tests.generation.harness import FILES, Harness, answering
from tests.generation.key_pool.support import ONE, ONE_B, TWO, taken
from tests.support.servers import serving

VALUES = [key.value for key in (ONE, ONE_B, TWO)]


@dataclass
class Operator:
    """Calls the admin service, and keeps every byte that came back."""

    stub: "generationadminrpc.GenerationAdminServiceAsyncStub"
    harness: Harness
    received: bytearray = field(default_factory=bytearray)

    async def ask(self, method: str, request: object) -> object:
        """One call. Raises our errors."""
        try:
            answer = await getattr(self.stub, method)(request)
        except aio.AioRpcError as failure:
            self.received += repr(failure).encode() + repr(failure.trailing_metadata()).encode()
            raise from_rpc(failure) from None
        self.received += answer.SerializeToString() + str(answer).encode()
        return answer

    async def listing(self) -> generationadminpb.ListProviderKeysResponse:
        """The pool."""
        answer = await self.ask("ListProviderKeys", generationadminpb.ListProviderKeysRequest())
        assert isinstance(answer, generationadminpb.ListProviderKeysResponse)
        return answer

    async def key(self, method: str, name: str) -> generationadminpb.ProviderKey:
        """Turn or probe a key."""
        answer = await self.ask(method, getattr(generationadminpb, f"{method}Request")(name=name))
        assert isinstance(answer, generationadminpb.ProviderKey)
        return answer


@pytest.fixture
async def operator(harness: Harness, sqlite_database: Database) -> AsyncIterator[Operator]:
    """An operator of a harness with three keys."""
    harness.key_pool = await open_key_pool(sqlite_database, [ONE, ONE_B, TWO], 18)
    restoration = Restoration(harness.database, harness.sql_store, harness.workers.copier, MODELS, harness.timing)
    servicer = GenerationAdminServicer(
        harness.key_pool,
        harness.workers.health_checks,
        Timeline(harness.database, harness.sql_store, harness.workers.poller, harness.key_pool, harness.parking),
        restoration,
        parked_work=harness.workers.parked_work,
        files=FILES,
    )
    async with served(servicer) as channel:
        yield Operator(generationadminrpc.GenerationAdminServiceStub(channel), harness)


@asynccontextmanager
async def served(servicer: GenerationAdminServicer) -> AsyncIterator[aio.Channel]:
    admin = Mount(
        generationadminrpc.add_GenerationAdminServiceServicer_to_server, servicer, generationadminpb.DESCRIPTOR
    )
    async with serving(admin) as address, plain_channel(address) as channel:
        yield channel


def name(print_: str) -> str:
    return f"providerKeys/{print_}"


async def test_the_listing_shows_every_key_and_account_and_why_it_rests(operator: Operator) -> None:
    pool = operator.harness.key_pool
    await taken(pool, 2)
    await pool.refused(ONE, 401, None)
    await pool.refused(TWO, 402, None)
    await pool.note_balance(ONE_B, 12.5)
    await pool.disable(ONE_B.print)
    shown = await operator.listing()

    assert [(key.name, key.account, key.state, key.cause_code) for key in shown.provider_keys] == [
        (name(ONE.print), "one", generationadminpb.ProviderKey.STATE_RESTING, 401),
        (name(ONE_B.print), "one", generationadminpb.ProviderKey.STATE_DISABLED, 0),
        (name(TWO.print), "two", generationadminpb.ProviderKey.STATE_ACTIVE, 0),
    ]
    assert shown.provider_keys[0].rest_end_time.seconds > 1_700_000_000
    one, two = shown.accounts
    assert (one.account, one.cause_code, one.recent_create_count, one.credits) == ("one", 0, 1, 12.5)
    assert one.HasField("credits_time")
    assert not one.HasField("rest_end_time")
    assert (two.account, two.cause_code, two.credits, two.HasField("credits_time")) == ("two", 402, 0.0, False)
    assert two.HasField("rest_end_time")


async def test_a_key_is_taken_out_and_put_back_and_repeating_changes_nothing(operator: Operator) -> None:
    out = [(await operator.key("DisableKey", name(TWO.print))).state for _ in range(2)]
    without = {key.print for key in await taken(operator.harness.key_pool, 4)}
    back = [(await operator.key("EnableKey", name(TWO.print))).state for _ in range(2)]

    assert out == [generationadminpb.ProviderKey.STATE_DISABLED] * 2
    assert TWO.print not in without
    assert back == [generationadminpb.ProviderKey.STATE_ACTIVE] * 2
    assert TWO in await taken(operator.harness.key_pool, 2)


async def test_a_probe_tells_at_once_that_a_key_works_again(operator: Operator) -> None:
    await operator.harness.key_pool.refused(TWO, 401, None)
    operator.harness.provider.balances["two"] = Refused(401, "no access")
    still = await operator.key("ProbeKey", name(TWO.print))
    operator.harness.provider.balances["two"] = 33.0
    works = await operator.key("ProbeKey", name(TWO.print))

    assert (still.state, still.cause_code) == (generationadminpb.ProviderKey.STATE_RESTING, 401)
    assert (works.state, works.cause_code) == (generationadminpb.ProviderKey.STATE_ACTIVE, 0)
    assert (await operator.listing()).accounts[1].credits == 33.0
    assert operator.harness.provider.submits == []


async def test_a_probe_without_an_answer_says_so(operator: Operator) -> None:
    operator.harness.provider.balances["two"] = Later("ReadTimeout")

    with pytest.raises(Unavailable):
        await operator.key("ProbeKey", name(TWO.print))


@pytest.mark.parametrize("method", ["EnableKey", "DisableKey", "ProbeKey"])
@pytest.mark.parametrize(
    ("wrong", "error"), [("", InvalidArgument), ("keys/x", InvalidArgument), ("providerKeys/00000000", NotFound)]
)
async def test_a_key_that_is_not_there_is_an_error(
    operator: Operator, method: str, wrong: str, error: type[KawaiiError]
) -> None:
    with pytest.raises(error):
        await operator.key(method, wrong)


async def test_the_timeline_of_a_generation_is_shown(operator: Operator) -> None:
    order = await operator.harness.order()
    await operator.harness.submit()
    request = generationadminpb.ExplainGenerationRequest(name=f"generations/{order.id}")
    timeline = await operator.ask("ExplainGeneration", request)

    assert isinstance(timeline, generationadminpb.ExplainGenerationResponse)
    kinds = {generationadminpb.TimelineEntry.Kind.Name(entry.kind) for entry in timeline.entries}
    assert kinds == {"KIND_STATE", "KIND_ATTEMPT", "KIND_ANSWER"}
    assert all(entry.HasField("time") for entry in timeline.entries)


async def test_a_lost_order_adopts_its_task(operator: Operator) -> None:
    harness = operator.harness
    harness.provider.scripts.append(answering(Ambiguous("ReadTimeout")))
    order = await harness.order()
    await harness.submit()
    lost = await harness.store.get(order.id)
    harness.provider.records["lost-task"] = InProgress(10)
    answer = await operator.ask(
        "AdoptTask", generationadminpb.AdoptTaskRequest(attempt=lost.attempt_id, task="lost-task")
    )

    assert isinstance(answer, generationadminpb.AdoptTaskResponse)
    assert answer.generation == f"generations/{order.id}"
    assert (await harness.store.get(order.id)).state is State.RUNNING


@pytest.mark.parametrize(("attempt", "task"), [("", "t"), ("att_1", ""), ("a/b", "t"), ("att_1", "t\x00")])
async def test_an_adoption_of_what_is_no_id_is_refused(operator: Operator, attempt: str, task: str) -> None:
    with pytest.raises(InvalidArgument):
        await operator.ask("AdoptTask", generationadminpb.AdoptTaskRequest(attempt=attempt, task=task))


async def test_no_answer_error_row_or_log_line_holds_a_keys_value(
    operator: Operator, sqlite: CommonSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    harness = operator.harness
    harness.provider.scripts.append(answering(Refused(401, "no access")))
    harness.provider.scripts.append(answering(Accepted("task1")))
    order = await harness.order()
    await harness.submit()
    await harness.let_time_pass()
    await harness.submit()
    await operator.listing()
    for method in ("DisableKey", "EnableKey", "ProbeKey"):
        await operator.key(method, name(TWO.print))
        for value in (name(TWO.value), "providerKeys/00000000"):
            with pytest.raises(KawaiiError):
                await operator.key(method, value)
    await operator.ask("ExplainGeneration", generationadminpb.ExplainGenerationRequest(name=f"generations/{order.id}"))
    rows = b"".join(path.read_bytes() for path in sqlite.data_dir.iterdir() if path.is_file())
    output = capsys.readouterr()
    evidence = bytes(operator.received) + rows + (output.out + output.err).encode()

    assert ONE.print.encode() in evidence
    assert [value for value in VALUES if value.encode() in evidence] == []
