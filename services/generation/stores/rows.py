"""Rows to and from the model: the columns and JSON in which generations, attempts and callbacks are stored."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import orjson
from sqlalchemy import Row

from services.generation.model import Attempt, Callback, Draft, Failure, Generation, Output, State

Columns = dict[str, Any]
OF_ANSWERS = frozenset({"joined", "quota"})  # in events of releases in which these were fields of a generation


def generation_columns(generation: Generation) -> Columns:
    """The columns of a new generation, without its times."""
    return {
        "id": generation.id,
        "model": generation.draft.model,
        "family": generation.family,
        "draft": orjson.dumps(asdict(generation.draft)).decode(),
        "state": generation.state,
    }


def generation_of(row: Row[Any], outputs: Sequence[Output]) -> Generation:
    """A generation from its row and its outputs."""
    return Generation(
        id=row.id,
        draft=draft_of(row.draft),
        family=row.family,
        state=State(row.state),
        fence=row.fence,
        tries=row.tries,
        attempt_id=row.attempt_id,
        task_id=row.task_id,
        progress=row.progress,
        outputs=tuple(outputs),
        failure=Failure(row.reason, row.message, row.provider_code) if row.reason else None,
        create_ms=row.create_ms,
        update_ms=row.update_ms,
        ready_ms=row.ready_ms,
        submit_ms=row.submit_ms,
        store_ms=row.store_ms,
        complete_ms=row.complete_ms,
        now_ms=getattr(row, "now_ms", 0),
        faults=getattr(row, "faults", 0),
    )


def draft_of(text: str) -> Draft:
    """A draft from its JSON."""
    values = orjson.loads(text)
    return Draft(**{**values, "image_uris": tuple(values["image_uris"])})


def output_of(row: Row[Any]) -> Output:
    """An output from its row."""
    kept = (row.key, row.content_type, row.size, row.error, row.lost)
    return Output(row.idx, row.source_uri, *kept, gone_ms=row.gone_ms, file_stem=row.file_stem)


def output_columns(generation_id: str, output: Output) -> Columns:
    """The columns of an output."""
    columns = asdict(output)
    return {"generation_id": generation_id, "idx": columns.pop("index"), **columns}


def attempt_of(row: Row[Any]) -> Attempt:
    """An attempt from its row."""
    return Attempt(
        id=row.id,
        generation_id=row.generation_id,
        account=row.account,
        key_print=row.key_print,
        token_digest=row.token_digest,
        task_id=row.task_id or "",
        outcome=row.outcome,
        detail=row.detail,
        create_ms=row.create_ms,
        answer_ms=row.answer_ms,
    )


def callback_of(row: Row[Any]) -> Callback:
    """A callback from its row."""
    names = ("id", "kind", "attempt_id", "task_id", "code", "tries", "create_ms", "verdict", "news")
    return Callback(*(getattr(row, name) for name in names))


def failure_columns(failure: Failure | None) -> Columns:
    """The columns of a failure; none without one."""
    if failure is None:
        return {}
    return {"reason": failure.reason, "message": failure.message, "provider_code": failure.provider_code}


def snapshot(generation: Generation) -> str:
    """The JSON of a generation in an event: all that can change. File names do not, and older versions know none."""
    values = asdict(replace(generation, draft=Draft("", "")))
    del values["now_ms"], values["faults"]
    for output in values["outputs"]:
        del output["gone_ms"], output["file_stem"]
    return orjson.dumps(values).decode()


def from_snapshot(text: str, draft: str) -> Generation:
    """The generation of an event; its draft never changes and comes from the generation's row."""
    values = {name: value for name, value in orjson.loads(text).items() if name not in OF_ANSWERS}
    values["draft"] = draft_of(draft)
    values["state"] = State(values["state"])
    values["outputs"] = tuple(Output(**output) for output in values["outputs"])
    values["failure"] = Failure(**values["failure"]) if values["failure"] else None
    return Generation(**values)
