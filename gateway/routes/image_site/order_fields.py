"""Reads the two order forms of the site into what the generation service takes."""

from google.protobuf.struct_pb2 import Struct
from kawaii.generation.v1 import generation_pb2 as generationpb

from gateway.rest.request_fields import Fields

GPT4O_MODEL = "gpt4o-image"
GPT4O_RATIOS = {
    "1:1": "1:1",
    "3:2": "3:2",
    "2:3": "2:3",
    "1024x1024": "1:1",
    "1024x683": "3:2",
    "683x1024": "2:3",
}
GPT4O_DEFAULT_RATIO = "1:1"  # also for any size that is not in the table (docs/rest.md#4o-orders)
TEXT_TO_IMAGE = "text-to-image"  # the one mode that leaves the picture out

FLUX_MODELS = ("flux-kontext-pro", "flux-kontext-max")
FLUX_RATIOS = ("1:1", "4:3", "3:4", "16:9", "9:16", "21:9")
FLUX_DEFAULT_RATIO = "16:9"
FLUX_FORMATS = ("jpeg", "png")  # the default first (docs/rest.md#flux-orders)


def gpt4o_image(fields: Fields) -> generationpb.Generation:
    """The order of docs/rest.md#4o-orders, without its picture."""
    size = fields.text("size", GPT4O_DEFAULT_RATIO)
    return generationpb.Generation(
        model=GPT4O_MODEL,
        prompt=fields.required("prompt"),
        aspect_ratio=GPT4O_RATIOS.get(size, GPT4O_DEFAULT_RATIO),
        parameters=parameters(isEnhance=fields.flag("enhancePrompt", default=False) or None),
    )


def gpt4o_picture(fields: Fields) -> str:
    """The picture to start from, as the client gave it; empty when there is none or the mode has none."""
    return "" if fields.text("mode") == TEXT_TO_IMAGE else fields.text("fileUrl").strip()


def flux_kontext(fields: Fields) -> generationpb.Generation:
    """The order of docs/rest.md#flux-orders, without its picture."""
    return generationpb.Generation(
        model=fields.choice("model", FLUX_MODELS, FLUX_MODELS[0]),
        prompt=fields.required("prompt"),
        aspect_ratio=fields.choice("aspectRatio", FLUX_RATIOS, FLUX_DEFAULT_RATIO),
        output_format=fields.choice("outputFormat", FLUX_FORMATS, FLUX_FORMATS[0]),
        parameters=parameters(
            enableTranslation=fields.flag("enableTranslation", default=True),
            promptUpsampling=fields.flag("promptUpsampling", default=False),
            safetyTolerance=fields.integer("safetyTolerance"),
        ),
    )


def flux_picture(fields: Fields) -> str:
    """The picture to edit, as the client gave it; empty when there is none."""
    return fields.text("inputImage").strip()


def parameters(**values: bool | int | None) -> Struct:
    """The model's extra fields, without those that were not given."""
    struct = Struct()
    struct.update({name: value for name, value in values.items() if value is not None})
    return struct
