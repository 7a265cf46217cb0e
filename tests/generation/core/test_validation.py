"""An order holds what its model takes, and its pictures' URLs are public; every refusal names its field."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogue import MODELS
from services.chassis.errors import InvalidArgument
from services.chassis.public_files import PublicFiles
from services.generation.core.validation import UrlPolicy, checked
from services.generation.model import Draft
from tests.generation.harness import FakeStorage

FOUR = Draft("gpt4o-image", "a cat")

FLUX = Draft("flux-kontext-pro", "a cat")

PICTURE = "https://example.org/a.png"


def refused(draft: Draft) -> tuple[str, str]:
    """The field and the sentence."""
    with pytest.raises(InvalidArgument) as caught:
        checked(draft, MODELS)
    assert caught.value.reason == "INVALID_INPUT"
    return caught.value.metadata["field"], caught.value.message


@pytest.mark.parametrize(
    ("draft", "ratio", "format_"),
    [
        (FOUR, "1:1", ""),
        (replace(FOUR, aspect_ratio="2:3"), "2:3", ""),
        (FLUX, "16:9", "jpeg"),
        (replace(FLUX, model="flux-kontext-max", output_format="png", aspect_ratio="9:16"), "9:16", "png"),
    ],
)
def test_what_is_left_out_is_filled_in(draft: Draft, ratio: str, format_: str) -> None:
    complete, spec = checked(draft, MODELS)

    assert (complete.aspect_ratio, complete.output_format) == (ratio, format_)
    assert spec.id == draft.model


@pytest.mark.parametrize("model", ["", "gpt-4o", "GPT4O-IMAGE", "gpt4o-image ", "../models"])
def test_an_unknown_model_is_refused_with_the_known_ones(model: str) -> None:
    field, sentence = refused(replace(FOUR, model=model))

    assert field == "model"
    assert "flux-kontext-pro" in sentence


@pytest.mark.parametrize("prompt", ["", " ", "\n\t", "\u3000", "\u00a0 "])
def test_a_blank_prompt_is_refused(prompt: str) -> None:
    assert refused(replace(FOUR, prompt=prompt))[0] == "prompt"


@pytest.mark.parametrize("prompt", ["a\x00b", "a\ud800", "\udfff"])
def test_a_prompt_that_is_no_text_is_refused(prompt: str) -> None:
    assert refused(replace(FOUR, prompt=prompt))[0] == "prompt"


@pytest.mark.parametrize(("draft", "limit"), [(FOUR, 10_000), (FLUX, 3_000)])
def test_a_prompt_has_a_length(draft: Draft, limit: int) -> None:
    checked(replace(draft, prompt="猫" * limit), MODELS)

    assert refused(replace(draft, prompt="猫" * (limit + 1)))[0] == "prompt"


@pytest.mark.parametrize("prompt", ["👩‍👩‍👧", "e\u0301", "\u202egnisrever", "line\nbreak", "<script>", "' OR 1=1 --"])
def test_a_prompt_is_never_changed(prompt: str) -> None:
    assert checked(replace(FOUR, prompt=prompt), MODELS)[0].prompt == prompt


@pytest.mark.parametrize(("draft", "most"), [(FOUR, 5), (FLUX, 1)])
def test_a_model_takes_so_many_pictures(draft: Draft, most: int) -> None:
    checked(replace(draft, image_uris=(PICTURE,) * most), MODELS)

    assert refused(replace(draft, image_uris=(PICTURE,) * (most + 1)))[0] == "image_uris"


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "cat.png",
        "/files/cat.png",
        "//example.org/cat.png",
        "ftp://example.org/cat.png",
        "file:///etc/passwd",
        "gopher://example.org/",
        "javascript:alert(1)",
        "data:image/png;base64,AAAA",
        "https://",
        "https:///cat.png",
        "https://[::1",
        "https://[not-an-address]/",
        "https://example.org/a\nb",
        "https://example.org/a\r\nHost: x",
        "https://example.org/\x00",
        f"https://example.org/{'x' * 2048}",
    ],
)
def test_a_picture_must_be_a_web_address(uri: str) -> None:
    assert refused(replace(FOUR, image_uris=(PICTURE, uri)))[0] == "image_uris"


@given(st.text(max_size=60))
def test_no_address_is_too_odd_to_be_judged(text: str) -> None:
    for uri in (text, f"https://{text}"):
        with suppress(InvalidArgument):
            complete, _ = checked(replace(FOUR, image_uris=(uri,)), MODELS)
            assert complete.image_uris[0].startswith(("http", "HTTP"))


@pytest.mark.parametrize(
    ("draft", "name", "value"),
    [
        (FOUR, "safetyTolerance", 2),
        (FOUR, "callBackUrl", "https://evil.example/"),
        (FOUR, "prompt", "another"),
        (FOUR, "", 1),
        (FOUR, "isEnhance", "true"),
        (FOUR, "isEnhance", 1),
        (FOUR, "isEnhance", None),
        (FOUR, "nVariants", 3),
        (FOUR, "nVariants", True),
        (FOUR, "nVariants", 1.5),
        (FOUR, "nVariants", "2"),
        (FOUR, "nVariants", [2]),
        (FLUX, "safetyTolerance", 7),
        (FLUX, "safetyTolerance", -1),
        (FLUX, "safetyTolerance", 10**400),
        (FLUX, "safetyTolerance", float("nan")),
        (FLUX, "watermark", "x" * 1001),
        (FLUX, "watermark", {"a": 1}),
        (FLUX, "model", "flux-kontext-max"),
    ],
)
def test_an_extra_that_the_model_does_not_take_is_refused(draft: Draft, name: str, value: Any) -> None:
    assert refused(replace(draft, parameters={name: value}))[0] == f"parameters.{name}"


@pytest.mark.parametrize(
    ("draft", "parameters"),
    [
        (FOUR, {"isEnhance": True, "nVariants": 4, "uploadCn": False}),
        (FLUX, {"safetyTolerance": 0, "watermark": "kawaii", "promptUpsampling": True, "enableTranslation": False}),
        (FLUX, {"safetyTolerance": 6}),
    ],
)
def test_an_extra_that_the_model_takes_is_kept(draft: Draft, parameters: dict[str, Any]) -> None:
    assert checked(replace(draft, parameters=parameters), MODELS)[0].parameters == parameters


@pytest.mark.parametrize("ratio", ["16:9", "1:1 ", "1x1", "auto", "0:0"])
def test_a_ratio_must_be_the_models(ratio: str) -> None:
    field, sentence = refused(replace(FOUR, aspect_ratio=ratio))

    assert field == "aspect_ratio"
    assert "3:2" in sentence


@pytest.mark.parametrize(("draft", "format_"), [(FOUR, "png"), (FLUX, "webp"), (FLUX, "PNG")])
def test_a_format_must_be_the_models(draft: Draft, format_: str) -> None:
    assert refused(replace(draft, output_format=format_))[0] == "output_format"


FILES = PublicFiles("http://localhost:8080/files")


@pytest.fixture
def storage() -> FakeStorage:
    return FakeStorage()


@pytest.fixture
def url_policy(storage: FakeStorage) -> UrlPolicy:
    return UrlPolicy(FILES, storage, frozenset({"127.0.0.1:50056"}))


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1/x.png",
        "http://127.1/x.png",
        "http://2130706433/x.png",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.8/x.png",
        "http://[::1]/x.png",
        "http://[fd00::1]/x.png",
        "http://[64:ff9b::a9fe:a9fe]/x.png",
        "http://localhost/x.png",
        "http://localhost:8080/api/health",
        "http://storage/x.png",
        "http://db.internal/x.png",
        "http://printer.local./x.png",
        "http://user:word@example.com/x.png",
        "https://example.com:22/x.png",
        "http://127.0.0.1:50057/x.png",
    ],
)
async def test_a_picture_in_a_private_network_is_refused_before_any_name_is_looked_up(
    url_policy: UrlPolicy, storage: FakeStorage, uri: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await url_policy.check(["https://example.com/x.png", uri])

    assert (refused.value.reason, refused.value.metadata["field"]) == ("URL_NOT_ALLOWED", "image_uris")
    assert storage.checked == []


async def test_a_public_name_that_leads_inside_is_refused_by_who_looks_it_up(url_policy: UrlPolicy) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await url_policy.check(["https://inside.example.com/x.png"])

    assert refused.value.reason == "URL_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("uri", "is_looked_up"),
    [
        ("https://example.com/x.png", True),
        ("http://93.184.216.34/x.png", True),
        ("https://pub-1234.r2.dev/uploads/x.png", True),
        ("http://127.0.0.1:50056/tempfile/x.png", True),
        ("http://localhost:8080/files/uploads/1700000000000-ab.png", False),
        ("HTTP://LOCALHOST:8080/files/uploads/1700000000000-ab.png?v=1", False),
    ],
)
async def test_public_pictures_exempt_places_and_our_own_files_pass(
    url_policy: UrlPolicy, storage: FakeStorage, uri: str, *, is_looked_up: bool
) -> None:
    await url_policy.check([uri])

    assert storage.checked == [uri] * is_looked_up
