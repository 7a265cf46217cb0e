"""What the start page's form offers: the models of the image site, and the ratios that each of them takes."""

from dataclasses import dataclass

ICON_SIZE = 20  # the longer side of a ratio's icon, in units of its drawing


@dataclass(frozen=True)
class Ratio:
    """A ratio of width to height, and the size of the frame that pictures it."""

    value: str

    @property
    def width(self) -> float:
        """Width of the icon."""
        return self._side(0)

    @property
    def height(self) -> float:
        """Height of the icon."""
        return self._side(1)

    def _side(self, place: int) -> float:
        sides = [int(side) for side in self.value.split(":")]
        return round(ICON_SIZE * sides[place] / max(sides), 1)


@dataclass(frozen=True)
class Model:
    """A model as people choose it; family picks the routes that the script calls."""

    id: str
    label: str
    hint: str
    family: str
    ratios: tuple[str, ...]


# The first ratio of each is what its route takes when none is given (docs/rest.md#4o-orders).
GPT4O_RATIOS = ("1:1", "3:2", "2:3")
FLUX_RATIOS = ("16:9", "1:1", "4:3", "3:4", "9:16")

MODELS = (
    Model("gpt4o-image", "4o image", "Follows long wishes closely", "gpt4o", GPT4O_RATIOS),
    Model("flux-kontext-pro", "Flux Kontext Pro", "Quick, and good at changing a picture", "flux", FLUX_RATIOS),
    Model("flux-kontext-max", "Flux Kontext Max", "Finer detail, takes a little longer", "flux", FLUX_RATIOS),
)
RATIOS = tuple(Ratio(value) for value in ("1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16"))
IDEAS = (
    "A sleepy kitten in a teacup, soft watercolour",
    "A tiny bakery on a cloud at sunrise",
    "Rabbits at a picnic under cherry blossoms",
)
