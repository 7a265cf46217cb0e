"""What search engines are told, for any text at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from services.chassis.text import one_line
from services.share import seo

anything = some.text(some.characters(exclude_categories=()), max_size=400)
tags = some.lists(anything, max_size=30)


@given(prompt=anything, style=anything, model=anything, tags=tags)
def test_every_bound_holds_for_any_text(prompt: str, style: str, model: str, tags: list[str]) -> None:
    label = seo.label(model)
    made = seo.tags_ja(prompt, style, label)
    seo_texts = seo.describe(prompt, style, label, tags)

    assert 0 < len(label) <= seo.MAX_LABEL_LENGTH
    assert max(len(seo_texts.description_ja), len(seo_texts.description_en)) <= 160
    assert max(len(seo_texts.title_ja), len(seo_texts.title_en)) <= 200
    for words in (made, seo_texts.keywords_ja, seo_texts.keywords_en):
        assert 0 < len(words) <= 20
        assert all(0 < len(word) <= 100 for word in words)
        assert len({word.casefold() for word in words}) == len(words)
    for text in (seo_texts.title_ja, seo_texts.title_en, seo_texts.description_ja, seo_texts.description_en):
        assert text == one_line(text)
        assert text.strip()


@pytest.mark.parametrize(
    ("model", "label"),
    [
        ("gpt4o-image", "GPT-4o Image"),
        ("flux-kontext-pro", "Flux Kontext Pro"),
        ("google/nano-banana", "Nano Banana"),
        ("vendor/some_new-model", "Some New Model"),
        ("", "AI"),
        ("vendor/", "AI"),
    ],
)
def test_a_model_has_a_name_for_people(model: str, label: str) -> None:
    assert seo.label(model) == label


def test_a_share_is_described_in_both_languages() -> None:
    seo_texts = seo.describe("A white cat with a red hat,\noil", "Ghibli", "Flux Kontext Pro", ["猫", "Cat"])

    assert seo_texts.model_label == "Flux Kontext Pro"
    assert seo_texts.title_ja == "A white cat with a red hat, oil | Ghibli風のAI画像 | Flux Kontext Proで生成"
    assert seo_texts.title_en == "A white cat with a red hat, oil | Ghibli style AI image | made with Flux Kontext Pro"
    assert seo_texts.description_ja.endswith("です。A white cat with a red hat, oil")
    assert seo_texts.description_en.endswith("Kontext Pro. A white cat with a red hat, oil")
    assert seo_texts.keywords_ja[:7] == ("猫", "Cat", "Ghibli", "Flux Kontext Pro", "white", "red", "hat")
    assert seo_texts.keywords_en[:4] == ("Cat", "Ghibli", "Flux Kontext Pro", "white")


def test_a_share_without_style_and_prompt_is_described_all_the_same() -> None:
    seo_texts = seo.describe("", "default", "AI", [])

    assert (seo_texts.title_ja, seo_texts.title_en) == ("AIで生成", "made with AI")
    assert seo_texts.keywords_en[0] == "AI"


def test_of_many_key_words_the_first_twenty_are_kept_each_once() -> None:
    tags = [word for number in range(30) for word in (f"tag{number}", f"Tag{number}")]

    seo_texts = seo.describe("", "default", "AI", tags)

    assert seo_texts.keywords_ja == seo_texts.keywords_en == tuple(f"tag{number}" for number in range(20))


def test_tags_are_made_from_prompt_style_and_model() -> None:
    made = seo.tags_ja("白い猫、赤い帽子", "水彩", "GPT-4o Image")

    assert {"AI画像生成", "水彩風", "GPT-4o Image", "白い猫", "赤い帽子"} <= set(made)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("हिन्दी में एक बिल्ली", ("हिन्दी", "में", "एक", "बिल्ली")),
        ("แมวน้อยน่ารัก กับดอกไม้", ("แมวน้อยน่ารัก", "กับดอกไม้")),
        ("می‌خواهم گربه", ("می‌خواهم", "گربه")),
        ("well-known don't", ("well-known", "don't")),
    ],
)
def test_key_words_of_every_script_are_whole(prompt: str, words: tuple[str, ...]) -> None:
    assert seo.tokens(prompt) == words
    assert set(words) <= set(seo.describe(prompt, "default", "AI", []).keywords_ja)
