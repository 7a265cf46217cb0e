"""One stack for all end-to-end tests; those that need it otherwise start their own."""

from collections.abc import Iterator

import pytest

from tests.e2e.stack import Stack, assert_transactions_were_short_on_event_loops, running


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole stack behind real Envoy, with the sandbox upstream."""
    folder = tmp_path_factory.mktemp("stack")
    with running(folder / "data", SANDBOX_GENERATION_SECONDS="1.5", SANDBOX_IMAGE_SIDE="256") as started:
        yield started
        assert_transactions_were_short_on_event_loops(started)
