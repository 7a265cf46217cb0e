"""The Market's models as a table of data: a new model is a row (kie.md 4.4)."""

from dataclasses import dataclass
from decimal import Decimal

RATIOS = (
    "1:1", "9:16", "16:9", "3:4", "4:3", "3:2", "2:3", "5:4", "4:5", "21:9", "9:21", "1:4", "4:1", "1:8", "8:1", "auto",
)  # fmt: skip
# image_size names of the models that have no aspect_ratio (kie.md 4.4)
NAMED_SIZES = {
    "square": "1:1",
    "square_hd": "1:1",
    "portrait_4_3": "3:4",
    "portrait_3_2": "2:3",
    "portrait_16_9": "9:16",
    "landscape_4_3": "4:3",
    "landscape_3_2": "3:2",
    "landscape_16_9": "16:9",
    "landscape_21_9": "21:9",
}


@dataclass(frozen=True)
class MarketModel:
    """What a model takes and costs. ratio_default is empty where the field is required."""

    id: str
    credits: Decimal
    max_prompt: int
    required: tuple[str, ...] = ("prompt",)
    image_field: str = ""
    max_images: int = 0
    ratio_field: str = "aspect_ratio"
    ratio_default: str = "1:1"
    format_default: str = "png"
    path_shape: str = "other"


_ROWS = (
    MarketModel("google/nano-banana", Decimal(4), 5000, path_shape="nano"),
    MarketModel(
        "google/nano-banana-edit",
        Decimal(4),
        5000,
        required=("prompt", "image_urls"),
        image_field="image_urls",
        max_images=10,
        path_shape="nano",
    ),
    MarketModel("nano-banana-pro", Decimal(18), 10_000, image_field="image_input", max_images=8, path_shape="nano"),
    MarketModel(
        "nano-banana-2",
        Decimal(8),
        20_000,
        image_field="image_input",
        max_images=14,
        ratio_default="auto",
        format_default="jpg",
        path_shape="nano",
    ),
    MarketModel("gpt-image-2-text-to-image", Decimal(6), 20_000, ratio_default="auto"),
    MarketModel(
        "flux-2/pro-text-to-image",
        Decimal(5),
        5000,
        required=("prompt", "aspect_ratio", "resolution"),
        ratio_default="",
    ),
    MarketModel(
        "seedream/4.5-text-to-image",
        Decimal("6.5"),
        3000,
        required=("prompt", "aspect_ratio", "quality"),
        ratio_default="",
    ),
    MarketModel("z-image", Decimal("0.8"), 1000, required=("prompt", "aspect_ratio"), ratio_default=""),
    MarketModel("qwen/text-to-image", Decimal("4.8"), 5000, ratio_field="image_size", ratio_default="square_hd"),
)
MODELS: dict[str, MarketModel] = {row.id: row for row in _ROWS}
