"""KIE's API families: one module each, and the table of them."""

from services.sandbox.families.family import Family
from services.sandbox.families.flux_kontext import FluxKontext
from services.sandbox.families.gpt4o_image import Gpt4oImage
from services.sandbox.families.market_jobs import MarketJobs

FAMILIES: dict[str, Family] = {family.name: family for family in (Gpt4oImage(), FluxKontext(), MarketJobs())}
