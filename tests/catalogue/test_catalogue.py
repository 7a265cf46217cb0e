"""The catalogue says what may be asked of each model, and a wrong file is refused with the model's name."""

import re

import pytest

import catalogue
from catalogue import CALLBACK_KINDS, MODELS, CatalogueError, named, of_family, read

FAMILIES = '[families.jobs]\ncallback_kind = "jobs"\n'
MODEL = """
[[models]]
id = "maker/one"
family = "jobs"
display_name = "One"
max_prompt_length = 100
aspect_ratios = ["1:1"]
patience_seconds = 60
"""


def test_a_model_is_a_table_and_nothing_else() -> None:
    models, kinds = read(f'{FAMILIES}{MODEL}parameters.seed = {{type = "integer", least = 0, most = 9}}\n')

    assert kinds == {"jobs": "jobs"}
    assert (models["maker/one"].display_name, models["maker/one"].credits) == ("One", 0)
    assert models["maker/one"].parameters["seed"] == catalogue.Parameter(int, least=0, most=9)


@pytest.mark.parametrize(
    ("addition", "sentence"),
    [
        ('colour = "red"\n', "maker/one: .*colour"),
        ('parameters.seed = {type = "number"}\n', "maker/one: the type of seed"),
        ('parameters.seed = {type = "integer", choices = ["a"]}\n', "maker/one: choices and default of seed"),
        ('parameters.seed = {type = "integer", bound = 3}\n', "maker/one: seed: .*bound"),
        ("min_images = 2\n", "maker/one: it needs"),
        ('media_kind = "smell"\n', "maker/one: media_kind"),
        (MODEL, "Ids must be different: ..maker/one"),
        ("id = 3\n", "cannot be read"),
    ],
)
def test_a_wrong_table_is_refused_with_the_name_of_its_model(addition: str, sentence: str) -> None:
    with pytest.raises(CatalogueError, match=sentence):
        read(f"{FAMILIES}{MODEL}{addition}")


@pytest.mark.parametrize("seconds", ["0", "-1"])
def test_patience_is_more_than_nothing(seconds: str) -> None:
    with pytest.raises(CatalogueError, match="maker/one: patience_seconds"):
        read(FAMILIES + MODEL.replace("patience_seconds = 60", f"patience_seconds = {seconds}"))


def test_a_model_without_patience_is_refused_by_its_name() -> None:
    with pytest.raises(CatalogueError, match=r"maker/one: .*patience_seconds"):
        read(FAMILIES + MODEL.replace("patience_seconds = 60", ""))


def test_a_model_needs_a_family_that_is_there() -> None:
    with pytest.raises(CatalogueError, match="there is no family jobs"):
        read(f'[families.other]\ncallback_kind = "other"\n{MODEL}')


def test_each_model_is_found_by_its_ids() -> None:
    assert named("gpt-4o") is MODELS["gpt4o-image"]
    assert named("nano-banana-edit") is named("google/nano-banana-edit") is MODELS["google/nano-banana-edit"]
    assert named("pro-text-to-image") is MODELS["flux-2/pro-text-to-image"]
    assert named("nobody") is None


def test_the_catalogue_of_the_product_is_whole() -> None:
    assert {model.family for model in MODELS.values()} == set(CALLBACK_KINDS)
    assert [model.id for model in of_family("flux-kontext")][:2] == ["flux-kontext-pro", "flux-kontext-max"]
    assert all(model.credits > 0 for model in MODELS.values())
    assert all(re.fullmatch(r"auto|\d+:\d+", ratio) for model in MODELS.values() for ratio in model.aspect_ratios)
