"""Says in one word how an order went, for those who ask for no more and for those who waited.

See docs/rest.md#task-status.
"""

from typing import Any

from kawaii.generation.v1 import generation_pb2 as generationpb

from gateway.doors.image_site import tasks

Generation = generationpb.Generation
COMPLETED, FAILED, PENDING = "completed", "failed", "pending"
WORDS = {tasks.SUCCESS: COMPLETED, tasks.FAILED: FAILED, tasks.GENERATING: PENDING}
SENTENCES = {COMPLETED: "The picture is done.", PENDING: "The picture is being made."}


def word_of(generation: Generation) -> str:
    """One of completed, failed, pending."""
    return WORDS[tasks.outward(generation)]


def sentence_of(generation: Generation) -> str:
    """The word for people; a failure says why."""
    return SENTENCES.get(word_of(generation)) or tasks.error_of(generation)[1]


def status(generation: Generation) -> dict[str, Any]:
    """The answer of /api/task-status; the original drew lots, this one reads the record.

    It shows no prompt: whoever holds an id may ask, and older files carry theirs in their URL.
    """
    word = word_of(generation)
    result = {"imageUrl": tasks.result_urls(generation)[0]} if word == COMPLETED else None
    return {
        "success": True,
        "taskId": tasks.task_id_of(generation),
        "status": word,
        "message": sentence_of(generation),
        **({"result": result} if result else {}),
    }


def waited_for(generation: Generation) -> dict[str, Any]:
    """What a waiting client learns beside the usual answer to an order; nothing while the picture is not done."""
    word, urls = word_of(generation), tasks.result_urls(generation)
    if word == PENDING:
        return {}
    shown = {"url": urls[0], "urls": urls} if urls else {}
    return {"status": word, "message": sentence_of(generation), **shown}
