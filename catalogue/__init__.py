"""The catalogue: which models there are and what may be asked of each, read from models.toml when it is imported.

It is the one place of these facts. The generation service checks orders against it and serves it (`ListModels`), the
gateway offers and describes it, shares name models by it, and the sandbox takes its limits and prices from it.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

FILE = Path(__file__).parent / "models.toml"
KINDS: Mapping[str, type] = {"boolean": bool, "integer": int, "text": str}
MEDIA_KINDS = ("image",)


class CatalogueError(Exception):
    """models.toml is wrong; the message names the model and the field."""


@dataclass(frozen=True)
class Parameter:
    """What a model's extra field may hold, and what is sent when an order says nothing.

    choices are all values that it may have, or empty; least and most bound an integer.
    """

    kind: type
    choices: tuple[Any, ...] = ()
    least: int | None = None
    most: int | None = None
    default: Any = None


@dataclass(frozen=True)
class Model:
    """What a model takes, which provider family serves it, and what a result costs.

    The first ratio and the first format are the defaults; no formats means that the provider chooses. credits is the
    price of one result in the provider's credits, 0 where it is not known. patience_seconds is how long an order may
    take before it shows as timed out; a late result still counts. aliases are other ids of the same model. hint is what
    the start page's form says of it.
    """

    id: str
    family: str
    display_name: str
    max_prompt_length: int
    aspect_ratios: tuple[str, ...]
    patience_seconds: float
    output_formats: tuple[str, ...] = ()
    min_images: int = 0
    max_images: int = 0
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    field_names: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    hint: str = ""
    media_kind: str = "image"
    credits: float = 0.0

    def name_of(self, field_name: str) -> str:
        """What the provider calls one of our fields for this model: no two models agree.

        See docs/provider.md#market-models.
        """
        return self.field_names.get(field_name, field_name)


def read(text: str) -> tuple[Mapping[str, Model], Mapping[str, str]]:
    """The models by their ids, in the file's order, and the kind of callback of each family. Raises CatalogueError."""
    try:
        document = tomllib.loads(text)
        kinds = {family: str(table["callback_kind"]) for family, table in document["families"].items()}
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise CatalogueError(f"The catalogue cannot be read: {error!r}") from error
    models = [_model(table, kinds) for table in document.get("models", [])]
    names = [name for model in models for name in (model.id, *model.aliases)]
    if twice := {name for name in names if names.count(name) > 1}:
        raise CatalogueError(f"Ids must be different: {sorted(twice)}.")
    return MappingProxyType({model.id: model for model in models}), MappingProxyType(kinds)


def _model(table: Mapping[str, Any], families: Mapping[str, str]) -> Model:
    identifier = table.get("id", "?")
    parameters = {name: _parameter(identifier, name, given) for name, given in table.get("parameters", {}).items()}
    fields: dict[str, Any] = {name: tuple(given) if isinstance(given, list) else given for name, given in table.items()}
    try:
        model = Model(**{**fields, "parameters": MappingProxyType(parameters)})
    except TypeError as error:
        raise CatalogueError(f"{identifier}: {error}.") from error
    if model.family not in families:
        raise CatalogueError(f"{identifier}: there is no family {model.family}.")
    if model.media_kind not in MEDIA_KINDS:
        raise CatalogueError(f"{identifier}: media_kind must be one of {MEDIA_KINDS}.")
    if model.patience_seconds <= 0:
        raise CatalogueError(f"{identifier}: patience_seconds must be more than 0.")
    if not model.aspect_ratios or not 0 <= model.min_images <= model.max_images:
        raise CatalogueError(f"{identifier}: it needs a ratio, and min_images of at most max_images.")
    return model


def _parameter(model: str, name: str, given: Mapping[str, Any]) -> Parameter:
    rest: dict[str, Any] = {key: value for key, value in given.items() if key != "type"}
    kind = KINDS.get(given.get("type", ""))
    if kind is None:
        raise CatalogueError(f"{model}: the type of {name} must be one of {sorted(KINDS)}.")
    try:
        parameter = Parameter(kind, **{**rest, "choices": tuple(rest.get("choices", ()))})
    except TypeError as error:
        raise CatalogueError(f"{model}: {name}: {error}.") from error
    values = [*parameter.choices, *([] if parameter.default is None else [parameter.default])]
    if any(type(value) is not kind for value in values):
        raise CatalogueError(f"{model}: choices and default of {name} must be of its type.")
    return parameter


MODELS, CALLBACK_KINDS = read(FILE.read_text(encoding="utf-8"))


def of_family(family: str) -> Sequence[Model]:
    """The models that a family serves, in the catalogue's order."""
    return [model for model in MODELS.values() if model.family == family]


def named(name: str) -> Model | None:
    """The model with this id or alias, whole or without its part before the slash; None when there is none."""
    for model in MODELS.values():
        known = (model.id, *model.aliases)
        if name in known or name in {each.rpartition("/")[2] for each in known}:
            return model
    return None
