"""The operators' messages of kawaii.generation.v1, to and from the model."""

from collections.abc import Sequence
from dataclasses import replace

from kawaii.generation.v1 import admin_pb2 as generationadminpb
from kawaii.generation.v1 import generation_pb2 as generationpb

from services.chassis.errors import invalid_field
from services.chassis.names import ID, name, parse_id, parse_key
from services.chassis.parking import WorkFault
from services.chassis.protobuf import checked_milliseconds, timestamp
from services.generation.core.timeline import TimelineEntry
from services.generation.key_pool.pool import AccountStatus, KeyStatus, PoolStatus
from services.generation.model import Failure, Generation, Output, State
from services.generation.wire.generations import COLLECTION, draft

KEYS = "providerKeys"


def key_print(resource_name: str) -> str:
    """The print in providerKeys/{print}. Raises InvalidArgument."""
    return parse_id(KEYS, resource_name)


def key_pb(key: KeyStatus) -> generationadminpb.ProviderKey:
    """A key's message; a disabled key shows no rest."""
    return generationadminpb.ProviderKey(
        name=name(KEYS, key.print),
        account=key.account,
        state=key_state(key),
        cause_code=key.cause_code,
        rest_end_time=timestamp(key.rest_until_ms),
    )


def key_state(key: KeyStatus) -> generationadminpb.ProviderKey.State.ValueType:
    """The state of a key: disabled, resting or active."""
    if key.disabled:
        return generationadminpb.ProviderKey.STATE_DISABLED
    return generationadminpb.ProviderKey.STATE_RESTING if key.cause_code else generationadminpb.ProviderKey.STATE_ACTIVE


def account_pb(account: AccountStatus) -> generationadminpb.ProviderAccount:
    """An account's message."""
    return generationadminpb.ProviderAccount(
        account=account.name,
        cause_code=account.cause_code,
        rest_end_time=timestamp(account.rest_until_ms),
        recent_create_count=account.recent,
        in_flight_count=account.in_flight,
        credits=account.credits,
        credits_time=timestamp(account.credits_ms),
        unpaid_models=account.unpaid_models,
        missing=account.missing,
        waiting_task_count=account.waiting_tasks,
    )


def pool_pb(pool: PoolStatus) -> generationadminpb.ListProviderKeysResponse:
    """The message of all keys and accounts."""
    return generationadminpb.ListProviderKeysResponse(
        provider_keys=map(key_pb, pool.keys), accounts=map(account_pb, pool.accounts)
    )


def timeline_pb(entries: Sequence[TimelineEntry]) -> generationadminpb.ExplainGenerationResponse:
    """The message of a timeline."""
    return generationadminpb.ExplainGenerationResponse(entries=map(entry_pb, entries))


def entry_pb(entry: TimelineEntry) -> generationadminpb.TimelineEntry:
    """The message of a timeline entry."""
    kind = generationadminpb.TimelineEntry.Kind.Value(f"KIND_{entry.kind.name}")
    return generationadminpb.TimelineEntry(time=timestamp(entry.time_ms), kind=kind, text=entry.text)


def adoption(request: generationadminpb.AdoptTaskRequest) -> tuple[str, str]:
    """An attempt's id and a task's. Raises InvalidArgument."""
    for field in ("attempt", "task"):
        if not ID.fullmatch(getattr(request, field)):
            raise invalid_field(field, f"The {field} must be an id, as ExplainGeneration shows it.")
    return request.attempt, request.task


def adopted_pb(identifier: str) -> generationadminpb.AdoptTaskResponse:
    """The answer to AdoptTask: the generation that has the task now."""
    return generationadminpb.AdoptTaskResponse(generation=name(COLLECTION, identifier))


def parked_pb(faults: Sequence[WorkFault]) -> generationadminpb.ListParkedWorkResponse:
    """The answer to ListParkedWork."""
    works = [
        generationadminpb.ParkedWork(
            loop=fault.loop,
            work=fault.work_id,
            tries=fault.count,
            cause=fault.cause,
            trace=fault.trace,
            first_failure_time=timestamp(fault.first_ms),
            park_time=timestamp(fault.park_ms),
        )
        for fault in faults
    ]
    return generationadminpb.ListParkedWorkResponse(parked_works=works)


def record(message: generationpb.Generation) -> Generation:
    """A generation record exported elsewhere, from its message. Raises InvalidArgument."""
    names = generationpb.Generation.State
    state = names.Name(message.state).removeprefix("STATE_") if message.state in names.values() else ""
    if state not in State.__members__:
        raise invalid_field("state", "The record must have its state.")
    created = checked_milliseconds("create_time", message.create_time)
    if not created:
        raise invalid_field("create_time", "The record must have its create time.")
    return Generation(
        id=parse_id(COLLECTION, message.name),
        draft=draft(message),
        family="",
        state=State(state),
        task_id=task(message.provider_task_id),
        progress=message.progress_percent,
        outputs=tuple(map(output, message.outputs)),
        failure=failure(message),
        create_ms=created,
        update_ms=checked_milliseconds("update_time", message.update_time) or created,
        complete_ms=checked_milliseconds("complete_time", message.complete_time) or created,
    )


def task(identifier: str) -> str:
    """The provider's task id, or an empty string. Raises InvalidArgument."""
    if identifier and not ID.fullmatch(identifier):
        raise invalid_field("provider_task_id", "provider_task_id is not an id.")
    return identifier


def output(message: generationpb.Generation.Output) -> Output:
    """An output from its message; one without a stored copy counts as lost. Raises InvalidArgument."""
    key, stem = parse_key(message.object) if message.object else "", message.file_stem
    if stem and not ID.fullmatch(stem):
        raise invalid_field("outputs.file_stem", "file_stem is not the name of a file.")
    kept = (message.content_type, message.size_bytes) if key else ("", 0)
    made = Output(message.index, message.source_uri, key, *kept, error=message.error_message, lost=not key)
    return replace(made, file_stem=stem)


def failure(message: generationpb.Generation) -> Failure | None:
    """Why the generation ended without pictures, if it did."""
    error = message.error
    return Failure(error.reason, error.message, error.provider_code) if error.reason else None
