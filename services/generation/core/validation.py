"""Validation of orders: a draft is checked against its model's catalogue row, and its URLs by the URL policy.

The provider fetches the pictures that an order starts from, so their URLs must lead to the public internet.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from catalogue import Model, Parameter
from services.chassis.errors import invalid_field
from services.chassis.names import host_of
from services.chassis.outbound import require_public
from services.chassis.public_files import PublicFiles
from services.generation.model import Draft
from services.generation.ports import ResultStorage

MAX_URI_LENGTH = 2_048
MAX_TEXT_LENGTH = 1_000  # of an extra text field


def checked(draft: Draft, models: Mapping[str, Model]) -> tuple[Draft, Model]:
    """The order with defaults filled in, and the row of its model.

    Raises:
        InvalidArgument: with the field and a sentence, for anything the model does not take.
    """
    spec = models.get(draft.model)
    if spec is None:
        raise invalid_field("model", f"There is no model of this name. Known models: {', '.join(models)}.")
    check_prompt(draft.prompt, spec)
    check_images(draft.image_uris, spec)
    for name, value in draft.parameters.items():
        check_parameter(name, value, spec.parameters)
    ratio = choose("aspect_ratio", draft.aspect_ratio, spec.aspect_ratios)
    format_ = choose("output_format", draft.output_format, spec.output_formats)
    parameters = {**defaults_of(spec), **draft.parameters}
    return replace(draft, aspect_ratio=ratio, output_format=format_, parameters=parameters), spec


def defaults_of(spec: Model) -> dict[str, Any]:
    """The parameters that a model is always sent, with their defaults."""
    return {name: wanted.default for name, wanted in spec.parameters.items() if wanted.default is not None}


def check_prompt(prompt: str, spec: Model) -> None:
    """Refuse a prompt that is blank, no valid text, or too long."""
    if not prompt.strip():
        raise invalid_field("prompt", "The prompt is missing or blank. Say what to draw.")
    if "\x00" in prompt or any("\ud800" <= character <= "\udfff" for character in prompt):
        raise invalid_field("prompt", "The prompt holds characters that are not text.")
    if len(prompt) > spec.max_prompt_length:
        raise invalid_field("prompt", f"The prompt is longer than {spec.max_prompt_length} characters. Shorten it.")


def check_images(uris: Sequence[str], spec: Model) -> None:
    """Refuse input pictures that are too few or too many for the model, or not http(s) URLs."""
    if not spec.min_images <= len(uris) <= spec.max_images:
        wanted = f"between {spec.min_images} and {spec.max_images}"
        raise invalid_field("image_uris", f"This model takes {wanted} pictures to start from.")
    for uri in uris:
        if len(uri) > MAX_URI_LENGTH or not uri.isprintable() or not host_of(uri):
            raise invalid_field("image_uris", "A picture to start from must be a public http or https URL.")


def check_parameter(name: str, value: Any, known: Mapping[str, Parameter]) -> None:
    """Refuse a parameter that the model does not take, or of the wrong type or size."""
    parameter = known.get(name)
    if parameter is None:
        raise invalid_field(f"parameters.{name}", f"This model takes no {name}. It takes: {', '.join(known)}.")
    if type(value) is not parameter.kind:
        raise invalid_field(f"parameters.{name}", f"{name} must be of type {parameter.kind.__name__}.")
    if parameter.choices and value not in parameter.choices:
        raise invalid_field(f"parameters.{name}", f"{name} must be one of {', '.join(map(str, parameter.choices))}.")
    if not within(value, parameter):
        raise invalid_field(f"parameters.{name}", f"{name} is out of range.")


def within(value: Any, parameter: Parameter) -> bool:
    """True when a value lies within the parameter's bounds."""
    if isinstance(value, str):
        return len(value) <= MAX_TEXT_LENGTH
    low, high = parameter.least, parameter.most
    return (low is None or value >= low) and (high is None or value <= high)


def choose(field: str, value: str, choices: Sequence[str]) -> str:
    """The given value if it is among the choices, their first when none is given; without choices only none."""
    if not value:
        return choices[0] if choices else ""
    if value not in choices:
        raise invalid_field(field, f"{field} must be one of: {', '.join(choices) or 'nothing, leave it out'}.")
    return value


class UrlPolicy:
    """Checks URLs of pictures; our own files always pass, and so do the exempt host:port pairs in `allowed`."""

    def __init__(self, files: PublicFiles, storage: ResultStorage, allowed: frozenset[str] = frozenset()) -> None:
        self._files = files
        self._storage = storage
        self._allowed = allowed

    def require_public(self, uri: str, field: str) -> None:
        """Check a URL by its form alone.

        Raises:
            InvalidArgument: URL_NOT_ALLOWED.
        """
        if not self._files.key(uri):
            require_public(uri, self._allowed, field)

    async def check(self, uris: Sequence[str]) -> None:
        """Check input pictures, which the provider will fetch: by their URLs' form, then by their hosts' addresses.

        Raises:
            InvalidArgument: URL_NOT_ALLOWED.
            Unavailable: storage, which resolves the names, is away.
        """
        for uri in uris:
            self.require_public(uri, "image_uris")
        foreign = [uri for uri in uris if not self._files.key(uri)]
        await asyncio.gather(*map(self._storage.check, foreign))
