"""Between the core and the operators' messages of kawaii.generation.v1: beside wire.py, for a service of its own."""

from collections.abc import Sequence

from kawaii.generation.v1 import admin_pb2 as adminpb

from services.chassis.errors import InvalidArgument
from services.chassis.names import ID, name, parse_id
from services.generation.core.history import Entry
from services.generation.keyring import AccountStatus, KeyStatus, Pool
from services.generation.wire import COLLECTION, timestamp

KEYS = "providerKeys"


def key_print(resource_name: str) -> str:
    """The print in providerKeys/{print}. Raises InvalidArgument."""
    return parse_id(KEYS, resource_name)


def key_pb(key: KeyStatus) -> adminpb.ProviderKey:
    """A key; an operator's word hides what it rests for."""
    return adminpb.ProviderKey(
        name=name(KEYS, key.print),
        account=key.account,
        state=key_state(key),
        cause_code=key.cause_code,
        rest_end_time=timestamp(key.rest_until_ms),
    )


def key_state(key: KeyStatus) -> adminpb.ProviderKey.State.ValueType:
    """Whether it is used."""
    if key.disabled:
        return adminpb.ProviderKey.STATE_DISABLED
    return adminpb.ProviderKey.STATE_RESTING if key.cause_code else adminpb.ProviderKey.STATE_ACTIVE


def account_pb(account: AccountStatus) -> adminpb.ProviderAccount:
    """An account."""
    return adminpb.ProviderAccount(
        account=account.name,
        cause_code=account.cause_code,
        rest_end_time=timestamp(account.rest_until_ms),
        recent_create_count=account.recent,
        in_flight_count=account.in_flight,
        credits=account.credits,
        credits_time=timestamp(account.credits_ms),
    )


def pool_pb(pool: Pool) -> adminpb.ListProviderKeysResponse:
    """The whole pool."""
    return adminpb.ListProviderKeysResponse(
        provider_keys=map(key_pb, pool.keys), accounts=map(account_pb, pool.accounts)
    )


def story_pb(entries: Sequence[Entry]) -> adminpb.ExplainGenerationResponse:
    """A timeline."""
    told = [adminpb.TimelineEntry(time=timestamp(entry.time_ms), kind=entry.kind, text=entry.text) for entry in entries]
    return adminpb.ExplainGenerationResponse(entries=told)


def adoption(request: adminpb.AdoptTaskRequest) -> tuple[str, str]:
    """An attempt's id and a task's. Raises InvalidArgument."""
    for field in ("attempt", "task"):
        if not ID.fullmatch(getattr(request, field)):
            raise InvalidArgument(
                f"The {field} must be an id, as ExplainGeneration shows it.", metadata={"field": field}
            )
    return request.attempt, request.task


def adopted_pb(identifier: str) -> adminpb.AdoptTaskResponse:
    """Which generation has the task now."""
    return adminpb.AdoptTaskResponse(generation=name(COLLECTION, identifier))
