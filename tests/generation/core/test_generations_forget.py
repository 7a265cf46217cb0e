"""What a person wrote and gave can be forgotten once it is no longer needed; the rest of the record stays."""

import pytest

from services.chassis.errors import FailedPrecondition, NotFound
from services.generation.model import State
from services.generation.outcomes import Rejected
from tests.generation.harness import Harness, answering


async def test_an_ended_generation_forgets_its_words_and_keeps_its_record(harness: Harness) -> None:
    created = await harness.order()
    await harness.generations.cancel(created.id)

    for _ in range(2):
        await harness.generations.forget(created.id)
    found = await harness.store.get(created.id)

    assert created.draft.prompt
    assert (found.draft.prompt, found.draft.image_uris) == ("", ())
    assert (found.draft.model, found.state) == (created.draft.model, State.CANCELED)
    assert created.draft.prompt not in str(await harness.store.events(0, 100))


async def test_words_that_are_still_needed_stay(harness: Harness) -> None:
    created = await harness.order()

    with pytest.raises(FailedPrecondition) as refused:
        await harness.generations.forget(created.id)

    assert refused.value.reason == "NOT_ENDED"
    assert (await harness.store.get(created.id)).draft == created.draft


async def test_what_was_forgotten_cannot_be_ordered_again(harness: Harness) -> None:
    created = await harness.order()
    harness.provider.scripts.append(answering(Rejected(422, "no")))
    await harness.submit()
    await harness.generations.forget(created.id)

    with pytest.raises(FailedPrecondition) as refused:
        await harness.generations.retry(created.id, accept_double_billing=True)

    assert refused.value.reason == "NOT_RETRYABLE"


async def test_nobody_forgets_what_is_not_there(harness: Harness) -> None:
    with pytest.raises(NotFound):
        await harness.generations.forget("gen_nobody")
