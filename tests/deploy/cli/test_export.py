"""Records leave one stack and come into another, and what they lack is copied afterwards."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio
from kawaii.generation.v1 import admin_pb2 as generationadminpb
from kawaii.generation.v1 import admin_pb2_grpc as generationadminrpc
from kawaii.generation.v1 import generation_pb2 as generationpb
from kawaii.share.v1 import share_pb2 as sharepb
from kawaii.share.v1 import share_pb2_grpc as sharerpc
from kawaii.storage.v1 import storage_pb2 as storagepb
from kawaii.storage.v1 import storage_pb2_grpc as storagerpc

from services.chassis.addresses import ListenPort
from tests.deploy.stacks import Output, Stack, opened
from tests.storage.samples import ok, open_remote, picture
from tests.support.postgres import Postgres

Generation = generationpb.Generation
OLD, NEWER = "gen_old", "gen_newer"
CREATED = Timestamp(seconds=1_700_000_000)


def record(task: str, *outputs: Generation.Output, state: Any = Generation.STATE_SUCCEEDED) -> Generation:
    return Generation(
        name=f"generations/{task}",
        state=state,
        model="gpt4o-image",
        prompt=f'of "{task}"\n]}}\n猫',
        aspect_ratio="1:1",
        outputs=outputs,
        create_time=CREATED,
        complete_time=CREATED,
    )


async def fill(stack: Stack, *records: Generation, uri: str) -> storagepb.Object:
    """One generation's picture stored, the records told, and one share."""
    settings = stack.settings
    async with aio.insecure_channel(settings.address(ListenPort.STORAGE)) as channel:
        order = storagepb.ImportObjectRequest(source_uri=uri, generation_id=OLD, index=0)
        stored = await storagerpc.StorageServiceStub(channel).ImportObject(order)
    records[0].outputs[0].object = stored.name
    async with aio.insecure_channel(settings.address(ListenPort.GENERATION)) as channel:
        for each in records:
            stub = generationadminrpc.GenerationAdminServiceStub(channel)
            assert (await stub.RestoreGeneration(generationadminpb.RestoreGenerationRequest(generation=each))).created
    async with aio.insecure_channel(settings.address(ListenPort.SHARE)) as channel:
        share = sharepb.Share(generated_uri=uri, prompt="a share")
        await sharerpc.ShareServiceStub(channel).CreateShare(sharepb.CreateShareRequest(share=share))
    return stored


def by_kind(file: Path, kind: str) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads(file.read_bytes())["records"]
    return [each for each in records if each["kind"] == kind]


async def test_a_stack_moves_as_one_file_and_a_folder(tmp_path: Path) -> None:
    file, again, folder = tmp_path / "records.json", tmp_path / "again.json", tmp_path / "bytes"
    async with open_remote() as remote:
        uri, late = remote.put("/a.png", ok(picture())), remote.put("/b.png", ok(picture(seed="late")))
        lacking = record(NEWER, Generation.Output(index=0, source_uri=late), state=Generation.STATE_RESULT_LOST)
        known = record(OLD, Generation.Output(index=0, source_uri=uri))
        allowed = {"OUTBOUND_ALLOW_PRIVATE": remote.authority}
        async with opened(tmp_path / "here", **allowed) as here:
            stored = await fill(here, known, lacking, uri=uri)
            left = await here.kawaii("export", str(file), "--bytes", str(folder))
        async with opened(tmp_path / "there", ("generation", "storage", "share"), **allowed) as there:
            came = await there.kawaii("import", str(file), "--bytes", str(folder), "-o", "json")
            repeated = await there.kawaii("import", str(file), "--bytes", str(folder), "-o", "json")
            counted = await there.kawaii("storage", "backfill", "--dry-run")
            filled = await there.kawaii("storage", "backfill", "--per-minute", "6000")
            proved = await there.kawaii("storage", "verify", "--hash")
            back = await there.kawaii("export", str(again))

    assert (left.code, left.err) == (0, "")
    assert file.stat().st_mode & 0o777 == 0o600
    assert (folder / stored.name.removeprefix("objects/")).read_bytes() == picture()
    assert [each["prompt"] for each in by_kind(file, "share")] == ["a share"]
    assert json.loads(came.out) == {
        "objects": {"created": 1, "known": 0},
        "generations": {"created": 2, "known": 0},
        "shares": {"created": 1, "known": 0},
        "refused": [],
        "without_bytes": 0,
    }
    assert json.loads(repeated.out)["generations"] == {"created": 0, "known": 2}
    assert counted.out == "1 generations lack a copy.\n"
    assert (filled.code, filled.out) == (0, "1 generations have all their copies now, 0 still lack some.\n")
    assert (proved.code, back.code) == (0, 0)
    generations = {each["name"]: each for each in by_kind(again, "generation")}
    assert {each["state"] for each in generations.values()} == {"STATE_SUCCEEDED"}
    filled_object = generations[f"generations/{NEWER}"]["outputs"][0]["object"]
    assert re.fullmatch(r"objects/generated/[0-9a-f]{32}\.png", filled_object)
    before = next(each for each in by_kind(file, "generation") if each["name"] == known.name)
    assert {**generations[known.name], "outputs": 0} == {**before, "outputs": 0}


TRANSIENT = {"exportTime"}
PAGE_AND_MORE = 105  # shares: a page of the export holds a hundred
SHARES = [
    {},
    {"unlisted": True},
    {"original_uri": "https://elsewhere.example/o.png"},
    {"seo_tags": ["猫", "cat"], "style": "Ghibli", "model": "flux-kontext-pro"},
]


async def share_all(stack: Stack, own: str) -> None:
    """More shares than a page of the export holds: of every visibility, of a picture of ours, some published."""
    async with aio.insecure_channel(stack.settings.address(ListenPort.SHARE)) as channel:
        stub = sharerpc.ShareServiceStub(channel)
        for number in range(PAGE_AND_MORE):
            uri = own if number == 0 else f"https://elsewhere.example/{number}.png"
            fields = SHARES[number % len(SHARES)]
            share = sharepb.Share(generated_uri=uri, prompt=f"of {number} 猫", generate_time=CREATED, **fields)
            made = await stub.CreateShare(sharepb.CreateShareRequest(share=share))
            if number % 3 == 0:
                await stub.PublishShare(sharepb.PublishShareRequest(name=made.share.name, token=made.publish_token))


def document_of(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(file.read_bytes())
    return {name: value for name, value in document.items() if name not in TRANSIENT}


@pytest.mark.timeout(300)  # nine services and six commands, one after the other, on a machine that runs other tests
async def test_export_import_export_is_equal_record_for_record_twice(tmp_path: Path, postgres_server: Postgres) -> None:
    """From SQLite to PostgreSQL, and back again."""
    files, folder = [tmp_path / f"{number}.json" for number in range(3)], tmp_path / "bytes"
    async with open_remote() as remote:
        uri = remote.put("/a.png", ok(picture()))
        allowed = {"OUTBOUND_ALLOW_PRIVATE": remote.authority}
        lacking = Generation.Output(index=0, source_uri=uri, file_stem="0a" * 16)
        lost = record(NEWER, lacking, state=Generation.STATE_RESULT_LOST)
        async with opened(tmp_path / "0", **allowed) as first:
            stored = await fill(first, record(OLD, Generation.Output(index=0, source_uri=uri)), lost, uri=uri)
            await share_all(first, stored.uri)
            outputs = [await first.kawaii("export", str(files[0]), "--bytes", str(folder))]
        for number in (1, 2):
            before, after = files[number - 1], files[number]
            engine = {"DATABASE_URL": postgres_server.create_database()} if number == 1 else {}
            async with opened(tmp_path / str(number), **allowed, **engine) as stack:
                words = ("import", str(before), "--bytes", str(folder))
                outputs += [await stack.kawaii(*words) for _ in range(3 - number)]  # the first is told all of it twice
                outputs.append(await stack.kawaii("export", str(after)))

    assert [(each.code, each.err) for each in outputs] == [(0, "")] * 6
    assert document_of(files[0]) == document_of(files[1]) == document_of(files[2])
    assert len(by_kind(files[2], "share")) == PAGE_AND_MORE + 1
    assert by_kind(files[0], "object")[0]["createTime"]
    assert "106 shares taken in, 0 known" in outputs[1].out
    assert "0 shares taken in, 106 known" in outputs[2].out


async def test_a_lost_file_stops_no_export(tmp_path: Path) -> None:
    file, folder = tmp_path / "records.json", tmp_path / "bytes"
    async with open_remote() as remote:
        uris = [remote.put(f"/{name}.png", ok(picture(seed=name))) for name in "ab"]
        known = record(OLD, Generation.Output(index=0, source_uri=uris[0]))
        async with opened(tmp_path / "here", OUTBOUND_ALLOW_PRIVATE=remote.authority) as here:
            lost = await fill(here, known, uri=uris[0])
            async with aio.insecure_channel(here.settings.address(ListenPort.STORAGE)) as channel:
                order = storagepb.ImportObjectRequest(source_uri=uris[1], generation_id=NEWER, index=0)
                kept = await storagerpc.StorageServiceStub(channel).ImportObject(order)
            (here.settings.data_dir / lost.name).unlink()  # objects/ and the key
            left = await here.kawaii("export", str(file), "--bytes", str(folder))

    assert left.code == 1
    assert left.out.splitlines()[0] == "1 files and all records are written."
    assert lost.name in left.out
    assert (folder / kept.name.removeprefix("objects/")).read_bytes() == picture(seed="b")
    assert len(by_kind(file, "object")) == 2


async def test_a_torn_or_foreign_file_is_refused(tmp_path: Path) -> None:
    torn, foreign = tmp_path / "torn.json", tmp_path / "foreign.json"
    torn.write_text('{"version":1,"exportTime":"x","origin":"","records":[\n', encoding="utf-8")
    foreign.write_text("{}", encoding="utf-8")
    async with opened(tmp_path / "stack", ("generation", "storage")) as stack:
        outputs = [await stack.kawaii("import", str(path)) for path in (torn, foreign)]

    assert [each.code for each in outputs] == [1, 1]
    assert "is torn" in outputs[0].err
    assert "was not written by" in outputs[1].err


HEAD = '{"version":1,"exportTime":"x","records":[\n{"kind":"town","origin":""}'
MALFORMED = {
    "no JSON": '{"kind":"generation","name":',
    "no name": '{"kind":"generation","prompt":"x"}',
    "a name of another kind": '{"kind":"generation","name":7}',
    "nested without end": '{"kind":"generation","name":' + "[" * 100_000,
}
ODD = {
    "a field of another kind": '{"kind":"generation","name":"generations/gen_odd","outputs":7}',
    "a field within of another kind": '{"kind":"generation","name":"generations/gen_odd","outputs":["x"]}',
    "a state that is none": '{"kind":"generation","name":"generations/gen_odd","state":"STATE_BORED","createTime":"x"}',
    "a name that leads elsewhere": '{"kind":"object","name":"objects/../../secret","sha256":"x"}',
    "no resource name": '{"kind":"object","name":"x"}',
    "a share of no picture": '{"kind":"share","name":"shares/share_a","createTime":"2026-01-01T00:00:00Z"}',
    "a share without time": '{"kind":"share","name":"shares/share_a","generatedUri":"https://a.example/a.png"}',
    "a share's field of another kind": '{"kind":"share","name":"shares/share_a","tokenDigest":7}',
    "a share of the future": '{"kind":"share","name":"shares/share_a","generatedUri":"https://a.example/a.png",'
    '"createTime":"9000-01-01T00:00:00Z"}',
}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(file: Path, *lines: str) -> None:
    file.write_text(",\n".join([HEAD, *lines]) + "\n]}\n", encoding="utf-8")


async def imported(stack: Stack, file: Path, *lines: str) -> Output:
    write(file, *lines)
    return await stack.kawaii("import", str(file), "--bytes", str(file.parent))


async def test_malformed_records_are_named_and_never_a_traceback(tmp_path: Path) -> None:
    file = tmp_path / "records.json"
    async with opened(tmp_path / "stack") as stack:
        broken = {name: await imported(stack, file, line) for name, line in MALFORMED.items()}
        odd = {name: await imported(stack, file, line) for name, line in ODD.items()}

    assert {name: (output.code, "line 3" in output.err) for name, output in broken.items()} == dict.fromkeys(
        MALFORMED, (1, True)
    )
    assert {name: output.code for name, output in odd.items()} == dict.fromkeys(ODD, 1)
    assert {
        name: [f"{file}, line 3: " in line for line in output.out.splitlines()[3:]] for name, output in odd.items()
    } == {name: [True] for name in ODD}
    assert not [output for output in (*broken.values(), *odd.values()) if "Traceback" in output.err]


async def test_an_export_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    kept = tmp_path / "records.json"
    kept.write_text("the export of yesterday", encoding="utf-8")
    async with opened(tmp_path / "stack", ("generation",)) as stack:  # storage and share do not answer
        nowhere = await stack.kawaii("export", str(tmp_path / "missing" / "records.json"))
        torn = await stack.kawaii("export", str(kept))

    assert nowhere.code == 1
    assert "missing" in nowhere.err
    assert "No such file or directory. Name a place that exists and is yours." in nowhere.err
    assert torn.code == 1
    assert "Traceback" not in nowhere.err + torn.err
    assert kept.read_text(encoding="utf-8") == "the export of yesterday"
    assert names_in(tmp_path) == ["records.json", "stack"]


@pytest.mark.parametrize(
    "words",
    [
        ("gc", "--min-age-hours", "99999999999999"),
        ("gc", "--min-age-hours", "0"),
        ("backfill", "-n", "-1"),
        ("sign", "uploads/a.png", "-w", "99999999999"),
        ("sign", "uploads/a.png", "-w", "10", "-h", "-1"),
    ],
)
async def test_a_number_out_of_bounds_is_the_operators_mistake(tmp_path: Path, words: tuple[str, ...]) -> None:
    output = await Stack(tmp_path, 20_000).kawaii("storage", *words)

    assert output.code == 2
    assert "is not in the range" in output.err
