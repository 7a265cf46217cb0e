"""The state of an order in one word, for task-status and for orders that waited.

See docs/rest.md#task-status.
"""

from typing import Any

from kawaii.generation.v1 import generation_pb2 as generationpb

from gateway.routes.image_site import task_records

Generation = generationpb.Generation
COMPLETED, FAILED, PENDING = "completed", "failed", "pending"
WORDS = {task_records.SUCCESS: COMPLETED, task_records.FAILED: FAILED, task_records.GENERATING: PENDING}
SENTENCES = {COMPLETED: "The picture is done.", PENDING: "The picture is being made."}


def word_of(generation: Generation) -> str:
    """One of completed, failed, pending."""
    return WORDS[task_records.outward(generation)]


def sentence_of(generation: Generation) -> str:
    """The word for people; a failure says why."""
    return SENTENCES.get(word_of(generation)) or task_records.error_of(generation)[1]


def status(generation: Generation) -> dict[str, Any]:
    """The answer of /api/task-status; the original drew lots, this one reads the record.

    It shows no prompt: whoever holds an id may ask, and older files carry theirs in their URL.
    """
    word = word_of(generation)
    result = {"imageUrl": task_records.result_urls(generation)[0]} if word == COMPLETED else None
    return {
        "success": True,
        "taskId": task_records.task_id_of(generation),
        "status": word,
        "message": sentence_of(generation),
        **({"result": result} if result else {}),
    }


def waited_for(generation: Generation) -> dict[str, Any]:
    """What a waiting client learns beside the usual answer to an order; nothing while the picture is not done."""
    word, urls = word_of(generation), task_records.result_urls(generation)
    if word == PENDING:
        return {}
    shown = {"url": urls[0], "urls": urls} if urls else {}
    return {"status": word, "message": sentence_of(generation), **shown}
