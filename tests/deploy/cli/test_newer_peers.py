"""A command shows what a newer service answers, enum values that this release does not know among it."""

from kawaii.generation.v1 import admin_pb2 as generationadminpb
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.storage.v1 import admin_pb2 as storageadminpb

from deploy.cli import keys, output, tasks
from deploy.cli.rpc import as_json

FUTURE = 99


def test_a_state_of_a_task_is_shown_by_its_number() -> None:
    generation = as_json(generationpb.Generation(name="generations/gen_1", state=FUTURE))

    assert tasks.state(generation) == str(FUTURE)


def test_a_kind_of_a_timeline_entry_is_shown_by_its_number() -> None:
    story = as_json(
        generationadminpb.ExplainGenerationResponse(entries=[generationadminpb.TimelineEntry(kind=FUTURE, text="came")])
    )

    assert str(FUTURE) in tasks.timeline(story)


def test_a_state_of_a_key_is_shown_by_its_number() -> None:
    key = as_json(generationadminpb.ProviderKey(name="providerKeys/a", state=FUTURE))

    assert str(FUTURE) in keys.key_row(key)


def test_a_problem_of_an_object_is_shown_by_its_number() -> None:
    finding = as_json(storageadminpb.HousekeepingProgress.Finding(name="objects/uploads/1-ab.png", problem=FUTURE))

    assert str(FUTURE) in output._finding_text(finding)
