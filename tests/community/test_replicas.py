"""Two community processes on one PostgreSQL and one Redis, and a generation service whose readers are counted."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kawaii.community.v1 import artworks_pb2 as artworkspb
from kawaii.community.v1 import users_pb2 as userspb
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.generation.v1 import generation_pb2_grpc as generationrpc

from services.chassis.migrations import migrate
from services.chassis.server import Mount
from services.community.settings import CommunitySettings
from tests.community.fake_generation_servicer import FakeGenerationServicer
from tests.community.steps import ANN, BOB
from tests.community.stubs import Client
from tests.support.polling import eventually
from tests.support.postgres import Postgres
from tests.support.replicas import Replica, refusal, replicas
from tests.support.servers import serving
from tests.support.valkey import Valkey

pytestmark = pytest.mark.timeout(300)  # several processes start, also on a busy machine

LEASE = 'kawaii_sole_lease_held{lease="events"}'
States = artworkspb.Artwork


@pytest.fixture
async def generation() -> AsyncIterator[tuple[FakeGenerationServicer, str]]:
    servicer = FakeGenerationServicer()
    mount = Mount(generationrpc.add_GenerationServiceServicer_to_server, servicer, generationpb.DESCRIPTOR)
    async with serving(mount) as address:
        yield servicer, address


@pytest.fixture
async def two(
    generation: tuple[FakeGenerationServicer, str], postgres_server: Postgres, valkey: Valkey, tmp_path: Path
) -> AsyncIterator[list[Replica]]:
    url = postgres_server.create_database()
    settings = CommunitySettings(data_dir=tmp_path, database_url=url, _env_file=None)
    await asyncio.to_thread(migrate, "community", settings)
    given = {"DATABASE_URL": url, "REDIS_URL": valkey.url, "GENERATION_TARGET": generation[1]}
    async with replicas("community", **given) as started:
        yield started


async def ordered(client: Client, person: str = ANN) -> str:
    wish = artworkspb.CreateArtworkRequest(viewer_id=person, prompt="a cat", model="m")
    return str((await client.artworks.CreateArtwork(wish)).artwork.name)


async def draft(client: Client, name: str, person: str = ANN) -> bool:
    wanted = artworkspb.GetArtworkRequest(viewer_id=person, name=name)
    return (await client.artworks.GetArtwork(wanted)).state == States.STATE_DRAFT


async def test_one_replica_reads_the_events_and_another_takes_over_when_it_is_killed(
    two: list[Replica], generation: tuple[FakeGenerationServicer, str]
) -> None:
    servicer = generation[0]
    await eventually(lambda: servicer.readers == 1)
    name = await ordered(Client(two[0].channel))
    await eventually(lambda: draft(Client(two[1].channel), name))

    async def sole_holder() -> Replica | None:
        found = [each for each in two if await each.metric(LEASE) == 1]
        return found[0] if len(found) == 1 else None

    victim = await eventually(sole_holder)
    assert victim is not None
    heir = next(each for each in two if each is not victim)
    await victim.die()
    later = await ordered(Client(heir.channel))
    await eventually(lambda: draft(Client(heir.channel), later))
    assert await heir.metric(LEASE) == 1
    assert servicer.most_readers == 1


async def test_what_one_replica_changes_the_other_shows_in_rows_and_lists(two: list[Replica]) -> None:
    here, there = (Client(each.channel) for each in two)
    name = await ordered(here)
    await eventually(lambda: draft(there, name))
    await there.artworks.PublishArtwork(artworkspb.PublishArtworkRequest(viewer_id=ANN, name=name))
    listed = [await each.artworks.ListFeed(artworkspb.ListFeedRequest()) for each in (here, there)]
    assert [[artwork.name for artwork in page.artworks] for page in listed] == [[name], [name]]

    await here.artworks.LikeArtwork(artworkspb.LikeArtworkRequest(viewer_id=BOB, name=name))
    seen = await there.artworks.GetArtwork(artworkspb.GetArtworkRequest(viewer_id=BOB, name=name))
    assert (seen.like_count, seen.liked) == (1, True)
    likes = await there.users.ListLikes(userspb.ListLikesRequest(viewer_id=BOB, user_id=BOB))
    assert [artwork.name for artwork in likes.artworks] == [name]

    await there.artworks.DeleteArtwork(artworkspb.DeleteArtworkRequest(viewer_id=ANN, name=name))
    assert not (await here.artworks.ListFeed(artworkspb.ListFeedRequest())).artworks


async def test_a_person_whom_one_replica_erased_is_erased_for_the_other(two: list[Replica]) -> None:
    here, there = (Client(each.channel) for each in two)
    person = userspb.EnsureUserRequest(viewer_id=ANN, display_name="Ann")
    person.token_issue_time.FromSeconds(1_000_000_000)
    await here.users.EnsureUser(person)
    await here.users.EraseUser(userspb.EraseUserRequest(viewer_id=ANN))

    with pytest.raises(Exception, match="This account was erased"):
        await there.users.EnsureUser(person)


async def test_a_replica_beyond_loopback_needs_a_key_and_a_redis() -> None:
    for missing, given in (("SIGNING_KEY", {"REDIS_URL": "none", "SIGNING_KEY": ""}), ("REDIS_URL", {"REDIS_URL": ""})):
        code, said = await refusal("community", LISTEN_HOST="0.0.0.0", INTERNAL_INSECURE="1", **given)
        assert code == 78
        assert f"{missing} is not set" in said
