"""Reads the Nano Banana order in both layouts and spellings that front ends send (docs/rest.md#nano-banana)."""

from kawaii.generation.v1 import generation_pb2 as generationpb

from gateway.rest.request_fields import Fields, wrong

EDIT_MODEL = "google/nano-banana-edit"
MODELS = {
    "google/nano-banana": "google/nano-banana",
    "google/nano-banana-edit": EDIT_MODEL,
    "nano-banana": "google/nano-banana",
    "nano-banana-edit": EDIT_MODEL,
}
SECTION = "input"  # where the front end nests what the original backend took flat
SPELLINGS = {
    "image_urls": "imageUrls",
    "output_format": "outputFormat",
    "enable_translation": "enableTranslation",
    "image_size": "imageSize",
    "aspect_ratio": "aspectRatio",
}
PICTURES = "imageUrls"
# Checked here because pictures given as data: URIs are stored before the order is placed
# (docs/provider.md#market-models).
MAX_PICTURES = 10

# Names of sizes that the provider's older models had (docs/provider.md#market-models), and the site's pixel sizes.
# Others pass as they are:
# which ratios there are, `auto` among them, is for the model to say.
RATIOS = {
    "square": "1:1",
    "square_hd": "1:1",
    "portrait": "3:4",
    "portrait_4_3": "3:4",
    "portrait_3_2": "2:3",
    "portrait_16_9": "9:16",
    "landscape": "4:3",
    "landscape_4_3": "4:3",
    "landscape_3_2": "3:2",
    "landscape_16_9": "16:9",
    "landscape_21_9": "21:9",
    "1024x1024": "1:1",
    "1024x683": "3:2",
    "683x1024": "2:3",
}
FORMATS = {"": "png", "jpg": "jpeg"}


def flattened(fields: Fields) -> Fields:
    """The order in one layout and one spelling."""
    return fields.flattened(SECTION, SPELLINGS)


def nano_banana(fields: Fields) -> generationpb.Generation:
    """The order of docs/rest.md#nano-banana, flattened, without its pictures."""
    fields.flag(
        "enableTranslation", default=True
    )  # checked and left out: the model reads any language and takes no such field
    format_ = fields.text("outputFormat").lower()
    return generationpb.Generation(
        model=MODELS[fields.choice("model", MODELS, "")],
        prompt=fields.required("prompt"),
        aspect_ratio=ratio(fields.text("aspectRatio") or fields.text("imageSize")),
        output_format=FORMATS.get(format_, format_),
    )


def ratio(size: str) -> str:
    """A size in words or pixels as a ratio; empty leaves it to the model."""
    word = size.strip().lower()
    return RATIOS.get(word, word)


def pictures(fields: Fields) -> list[str]:
    """The pictures to edit, as the client gave them; none for the model that only draws, as the original had it."""
    if MODELS[fields.choice("model", MODELS, "")] != EDIT_MODEL:
        return []
    given = [text.strip() for text in fields.texts(PICTURES)]
    if len(given) > MAX_PICTURES:
        raise wrong(PICTURES, f"{PICTURES} must be at most {MAX_PICTURES} pictures.")
    return given
