"""The table of models: what may be asked of each. A new model is a row here and nothing else."""

from collections.abc import Mapping

from services.generation.model import ModelSpec, Parameter

FLAG = Parameter(bool)
KONTEXT_RATIOS = ("16:9", "21:9", "4:3", "1:1", "3:4", "9:16")  # kie.md 3.1; the first is the default
KONTEXT_PARAMETERS = {
    "enableTranslation": FLAG,
    "promptUpsampling": FLAG,
    "uploadCn": FLAG,
    "safetyTolerance": Parameter(int, least=0, most=6),
    "watermark": Parameter(str),
}

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
)
MODELS: Mapping[str, ModelSpec] = {row.id: row for row in ROWS}
