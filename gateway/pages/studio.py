"""What the start page's form offers: the models of the image site, and the ratios that each of them takes."""

from dataclasses import dataclass

import catalogue

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


OFFERED = ("1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16")  # a longer row would not fit a telephone's screen
FAMILIES = {"gpt4o-image": "gpt4o", "flux-kontext": "flux"}  # whose routes the script calls, and its words for them


def offered(model: catalogue.Model) -> Model:
    """A model of the catalogue; its first ratio is what its route takes when none is given (docs/rest.md#4o-orders)."""
    ratios = tuple(ratio for ratio in model.aspect_ratios if ratio in OFFERED)
    return Model(model.id, model.display_name, model.hint, FAMILIES[model.family], ratios)


MODELS = tuple(offered(model) for family in FAMILIES for model in catalogue.of_family(family))
RATIOS = tuple(Ratio(value) for value in OFFERED)
IDEAS = (
    "A sleepy kitten in a teacup, soft watercolour",
    "A tiny bakery on a cloud at sunrise",
    "Rabbits at a picnic under cherry blossoms",
)
