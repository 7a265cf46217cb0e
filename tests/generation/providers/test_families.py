"""Each family asks in its own words and at its own addresses; every row of the model table can be asked."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from catalogue import CALLBACK_KINDS, MODELS
from services.generation.core.validation import checked
from services.generation.key_pool.pool import Key
from services.generation.model import Draft
from services.generation.outcomes import Accepted, Gone, Later, PromptMismatch
from services.generation.providers import (
    PROVIDERS,
    callback_uris,
    flux_kontext,
    gpt4o_image,
    make_providers,
    market_jobs,
)
from services.generation.providers.kie import open_kie
from tests.generation.upstream import Upstream, reply

KEY = Key.of("one", "secret-key")
BACK = "https://site.example/api/callback/x/token"
PICTURES = ("https://example.org/a.png", "https://example.org/b.png")
Draw = Callable[..., Awaitable[Any]]


async def connected() -> None:
    """The line is up."""


def order(**changes: Any) -> Draft:
    return checked(Draft(**{"model": "gpt4o-image", "prompt": "a cat", **changes}), MODELS)[0]


def test_the_4o_order_is_kies() -> None:
    assert gpt4o_image.order_of(order(), BACK) == {
        "prompt": "a cat",
        "size": "1:1",
        "nVariants": 1,
        "isEnhance": False,
        "callBackUrl": BACK,
    }


def test_the_4o_order_carries_pictures_and_extras() -> None:
    made = gpt4o_image.order_of(order(image_uris=PICTURES, parameters={"nVariants": 4}), BACK)

    assert made["filesUrl"] == list(PICTURES)
    assert made["nVariants"] == 4


def test_an_enhanced_prompt_keeps_the_persons_words() -> None:
    made = gpt4o_image.order_of(order(parameters={"isEnhance": True}), BACK)

    assert made["isEnhance"] is True
    assert made["prompt"].endswith("a cat")
    assert len(made["prompt"]) > len("a cat")


def test_the_flux_order_is_kies() -> None:
    made = flux_kontext.order_of(order(model="flux-kontext-max", image_uris=PICTURES[:1]), BACK)

    assert made == {
        "prompt": "a cat",
        "model": "flux-kontext-max",
        "aspectRatio": "16:9",
        "outputFormat": "jpeg",
        "enableTranslation": True,
        "callBackUrl": BACK,
        "inputImage": PICTURES[0],
    }


@pytest.mark.parametrize(
    ("model", "pictures", "order_input"),
    [
        ("google/nano-banana", (), {"aspect_ratio": "1:1", "output_format": "png"}),
        (
            "google/nano-banana-edit",
            PICTURES,
            {"aspect_ratio": "1:1", "output_format": "png", "image_urls": list(PICTURES)},
        ),
        (
            "nano-banana-pro",
            PICTURES,
            {"aspect_ratio": "1:1", "output_format": "png", "image_input": list(PICTURES), "resolution": "1K"},
        ),
        ("nano-banana-2", (), {"aspect_ratio": "auto", "output_format": "jpg", "resolution": "1K"}),
    ],
)
def test_a_market_order_uses_the_models_own_field_names(
    model: str, pictures: tuple[str, ...], order_input: dict[str, Any]
) -> None:
    """A wrong image field is accepted upstream, and silently ignored (docs/provider.md#market-create)."""
    made = market_jobs.order_of(order(model=model, image_uris=pictures), BACK)

    assert made == {"model": model, "callBackUrl": BACK, "input": {"prompt": "a cat", **order_input}}


def test_a_person_can_switch_translation_off() -> None:
    made = flux_kontext.order_of(order(model="flux-kontext-pro", parameters={"enableTranslation": False}), BACK)

    assert made["enableTranslation"] is False


@pytest.mark.parametrize(
    ("family", "generate", "record"),
    [
        ("gpt4o-image", "/api/v1/gpt4o-image/generate", "/api/v1/gpt4o-image/record-info"),
        ("flux-kontext", "/api/v1/flux/kontext/generate", "/api/v1/flux/kontext/record-info"),
        ("market-jobs", "/api/v1/jobs/createTask", "/api/v1/jobs/recordInfo"),
    ],
)
async def test_a_family_speaks_at_its_own_addresses(family: str, generate: str, record: str) -> None:
    model = next(row.id for row in MODELS.values() if row.family == family)
    async with Upstream(reply({"code": 200, "data": {"taskId": "t"}})) as upstream, open_kie(upstream.url) as kie:
        provider = make_providers(kie)[family]
        outcome = await provider.submit(order(model=model), BACK, KEY, connected)
        await provider.fetch("task 1/ü&x=1", KEY)

    submit, fetch = upstream.requests
    assert outcome == Accepted("t")
    assert (submit.line, fetch.line) == (f"POST {generate}", f"GET {record}?taskId=task+1%2F%C3%BC%26x%3D1")
    assert orjson.loads(submit.body)["callBackUrl"] == BACK
    assert submit.headers["authorization"] == fetch.headers["authorization"] == "Bearer secret-key"
    assert submit.headers["content-type"] == "application/json"
    assert "kawaii" in submit.headers["user-agent"]


@pytest.mark.parametrize(
    ("family", "task", "line", "body"),
    [
        ("gpt4o-image", "t", "POST /api/v1/gpt4o-image/download-url", {"taskId": "t", "url": PICTURES[0]}),
        ("gpt4o-image", "", "POST /api/v1/common/download-url", {"url": PICTURES[0]}),
        ("flux-kontext", "t", "POST /api/v1/common/download-url", {"url": PICTURES[0]}),
        ("market-jobs", "t", "POST /api/v1/common/download-url", {"url": PICTURES[0]}),
    ],
)
async def test_a_link_is_asked_for_where_kie_gives_it(family: str, task: str, line: str, body: dict[str, str]) -> None:
    async with (
        Upstream(reply({"code": 200, "data": "https://r2.example/x"})) as upstream,
        open_kie(upstream.url) as kie,
    ):
        link = await make_providers(kie)[family].download_link(task, PICTURES[0], KEY)

    assert link == "https://r2.example/x"
    assert upstream.requests[0].line == line
    assert orjson.loads(upstream.requests[0].body) == body


def golden(family: str) -> dict[str, Any]:
    """A real record of an order for "a cat"."""
    cases = orjson.loads((Path(__file__).parents[1] / "golden" / f"{family}.json").read_bytes())
    record: dict[str, Any] = cases[0]["reply"]
    return record


@pytest.mark.parametrize("family", CALLBACK_KINDS)
@pytest.mark.parametrize(
    ("prompt", "known"), [("a cat", True), (" a  cat\n", True), ("a dog", False), ("a cat, please", False)]
)
async def test_a_record_shows_whether_it_is_of_this_order(family: str, prompt: str, *, known: bool) -> None:
    """Both spellings of the Market's `param`, and `paramJson` of the others, quote the prompt.

    See docs/durable-core.md#callbacks.
    """
    draft = order(model=next(spec.id for spec in MODELS.values() if spec.family == family), prompt=prompt)
    async with Upstream(reply(golden(family))) as upstream, open_kie(upstream.url) as kie:
        record = await make_providers(kie)[family].recognise("t", draft, KEY)

    assert isinstance(record, PromptMismatch) is not known


@pytest.mark.parametrize(
    "quoted",
    [None, "", "not JSON", "[]", "{}", '{"prompt": 7}', '{"input": 7}', {}, 7, {"input": {"image": "x"}}, "[" * 2000],
)
@pytest.mark.parametrize("family", CALLBACK_KINDS)
async def test_a_record_that_quotes_no_prompt_is_believed(family: str, quoted: Any) -> None:
    record = golden(family)
    record["data"].update(param=quoted, paramJson=quoted)
    draft = order(model=next(spec.id for spec in MODELS.values() if spec.family == family))
    async with Upstream(reply(record)) as upstream, open_kie(upstream.url) as kie:
        assert not isinstance(await make_providers(kie)[family].recognise("t", draft, KEY), PromptMismatch)


@pytest.mark.parametrize("input_", [{"prompt": "a dog"}, '{"prompt": "a dog"}'])
async def test_the_markets_input_may_be_text_or_object(input_: Any) -> None:
    record = golden("market-jobs")
    record["data"]["param"] = orjson.dumps({"model": "z-image", "input": input_}).decode()
    async with Upstream(reply(record)) as upstream, open_kie(upstream.url) as kie:
        seen = await make_providers(kie)["market-jobs"].recognise("t", order(model="z-image"), KEY)

    assert isinstance(seen, PromptMismatch)


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"code": 422, "msg": "任务id不能为空"}, Gone),
        ({"code": 422, "msg": "only records within 14 days"}, Gone),
        ({"code": 500, "msg": "Internal Server Error"}, Later),
        ({"code": 401, "msg": "no"}, Later),
        ({"code": 429, "msg": "slow"}, Later),
        ({"code": 200, "data": None}, Later),
        ({"code": 200, "data": ""}, Later),
        ({"code": 200, "data": {"downloadUrl": "https://r2.example/x"}}, Later),
    ],
)
async def test_a_link_that_is_not_given_is_gone_or_comes_later(document: Any, kind: type[Gone | Later]) -> None:
    async with Upstream(reply(document)) as upstream, open_kie(upstream.url) as kie:
        link = await make_providers(kie)["gpt4o-image"].download_link("t", PICTURES[0], KEY)

    assert type(link) is kind


@pytest.mark.parametrize(
    ("uri", "owned"),
    [
        ("https://tempfile.aiquickdraw.com/s/a.png", True),
        ("https://aiquickdraw.com/a.png", True),
        ("https://tempfile.redpandaai.co/a.png", True),
        ("http://127.0.0.1:1/a.png", True),
        ("http://127.0.0.1:2/a.png", False),
        ("https://aiquickdraw.com.evil.example/a.png", False),
        ("https://evilaiquickdraw.com/a.png", False),
        ("https://evil.example/?aiquickdraw.com", False),
        ("https://evil.example/#.aiquickdraw.com", False),
        ("https://tempfile.aiquickdraw.com@evil.example/a.png", False),
        ("https://tenant.r2.cloudflarestorage.com/a.png", False),
        ("ftp://tempfile.aiquickdraw.com/a.png", False),
        ("https://[::1", False),
        ("", False),
    ],
)
async def test_a_url_is_kies_by_its_host_alone(*, uri: str, owned: bool) -> None:
    async with open_kie("http://127.0.0.1:1") as kie:
        assert all(provider.owns(uri) is owned for provider in make_providers(kie).values())


def test_every_model_has_a_family_and_every_family_a_callback_path() -> None:
    assert {row.family for row in MODELS.values()} == {provider.family for provider in PROVIDERS}
    seeds = {"gpt4o-image": "image-generated", "flux-kontext": "flux-kontext", "market-jobs": "nano-banana"}
    assert CALLBACK_KINDS.items() >= seeds.items()


def test_a_callback_path_is_the_seeds_with_the_token_at_its_end() -> None:
    assert callback_uris("https://site.example")("gpt4o-image", "a.b") == (
        "https://site.example/api/callback/image-generated/a.b"
    )
