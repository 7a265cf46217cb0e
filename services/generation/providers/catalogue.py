"""The catalogue of models: what may be asked of each. A new model is a row here and nothing else.

See docs/provider.md#market-models.

The ids, fields, enums and limits of the Market's rows are KIE's of August 2026; the first of a list is the default.
"""

from collections.abc import Mapping

from services.generation.model import ModelSpec, Parameter

FLAG = Parameter(bool)
KONTEXT_RATIOS = ("16:9", "21:9", "4:3", "1:1", "3:4", "9:16")  # docs/provider.md#flux-create; the first is the default
KONTEXT_PARAMETERS = {
    "enableTranslation": FLAG,
    "promptUpsampling": FLAG,
    "uploadCn": FLAG,
    "safetyTolerance": Parameter(int, least=0, most=6),
    "watermark": Parameter(str),
}

BANANA_RATIOS = ("1:1", "9:16", "16:9", "3:4", "4:3", "3:2", "2:3", "5:4", "4:5", "21:9", "auto")
WIDE_RATIOS = ("auto", *BANANA_RATIOS[:-1], "1:4", "4:1", "1:8", "8:1")
SEVEN_RATIOS = ("1:1", "4:3", "3:4", "16:9", "9:16", "3:2", "2:3")
RESOLUTION = Parameter(str, choices=("1K", "2K", "4K"), default="1K")

ROWS = (
    ModelSpec(
        id="gpt4o-image",
        family="gpt4o-image",
        display_name="GPT-4o Image",
        max_prompt_length=10_000,  # the provider documents no limit; ours keeps rows bounded
        aspect_ratios=("1:1", "3:2", "2:3"),
        max_images=5,
        parameters={"isEnhance": FLAG, "uploadCn": FLAG, "nVariants": Parameter(int, choices=(1, 2, 4))},
    ),
    ModelSpec(
        id="flux-kontext-pro",
        family="flux-kontext",
        display_name="Flux Kontext Pro",
        max_prompt_length=3_000,
        aspect_ratios=KONTEXT_RATIOS,
        output_formats=("jpeg", "png"),
        max_images=1,
        parameters=KONTEXT_PARAMETERS,
    ),
    ModelSpec(
        id="flux-kontext-max",
        family="flux-kontext",
        display_name="Flux Kontext Max",
        max_prompt_length=3_000,
        aspect_ratios=KONTEXT_RATIOS,
        output_formats=("jpeg", "png"),
        max_images=1,
        parameters=KONTEXT_PARAMETERS,
    ),
    ModelSpec(
        id="google/nano-banana",
        family="market-jobs",
        display_name="Nano Banana",
        max_prompt_length=5_000,
        aspect_ratios=BANANA_RATIOS,
        output_formats=("png", "jpeg"),
        parameters={"nsfw_checker": FLAG},
    ),
    ModelSpec(
        id="google/nano-banana-edit",
        family="market-jobs",
        display_name="Nano Banana Edit",
        max_prompt_length=5_000,
        aspect_ratios=BANANA_RATIOS,
        output_formats=("png", "jpeg"),
        min_images=1,
        max_images=10,
        parameters={"nsfw_checker": FLAG},
        names={"image_uris": "image_urls"},
    ),
    ModelSpec(
        id="nano-banana-pro",
        family="market-jobs",
        display_name="Nano Banana Pro",
        max_prompt_length=10_000,
        aspect_ratios=BANANA_RATIOS,
        output_formats=("png", "jpg"),
        max_images=8,
        parameters={"resolution": RESOLUTION},
        names={"image_uris": "image_input"},
    ),
    ModelSpec(
        id="nano-banana-2",
        family="market-jobs",
        display_name="Nano Banana 2",
        max_prompt_length=20_000,
        aspect_ratios=WIDE_RATIOS,
        output_formats=("jpg", "png"),
        max_images=14,
        parameters={"resolution": RESOLUTION},
        names={"image_uris": "image_input"},
    ),
    ModelSpec(
        id="gpt-image-2-text-to-image",
        family="market-jobs",
        display_name="GPT Image 2",
        max_prompt_length=20_000,
        aspect_ratios=("auto", "1:1", "3:2", "2:3", "16:9", "9:16", "4:3", "3:4"),
        # Other resolutions are refused for auto and for some ratios (docs/provider.md#market-models), so only the safe
        # one is offered.
        parameters={"resolution": Parameter(str, choices=("1K",), default="1K")},
    ),
    ModelSpec(
        id="flux-2/pro-text-to-image",
        family="market-jobs",
        display_name="Flux 2 Pro",
        max_prompt_length=4_800,  # documented 5000, but 4900 was refused in the field (docs/provider.md#market-create)
        aspect_ratios=SEVEN_RATIOS,
        parameters={"resolution": Parameter(str, choices=("1K", "2K"), default="1K"), "nsfw_checker": FLAG},
    ),
    ModelSpec(
        id="seedream/4.5-text-to-image",
        family="market-jobs",
        display_name="Seedream 4.5",
        max_prompt_length=3_000,
        aspect_ratios=SEVEN_RATIOS,
        parameters={"quality": Parameter(str, choices=("basic", "high"), default="basic")},
    ),
    ModelSpec(
        id="z-image",
        family="market-jobs",
        display_name="Z-Image",
        max_prompt_length=1_000,
        aspect_ratios=("1:1", "4:3", "3:4", "16:9", "9:16"),
    ),
)
MODELS: Mapping[str, ModelSpec] = {row.id: row for row in ROWS}
