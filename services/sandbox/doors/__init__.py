"""KIE's front doors: one module for each API family, and one table that names them."""

from services.sandbox.doors.flux_kontext import FluxKontext
from services.sandbox.doors.gpt4o_image import Gpt4oImage
from services.sandbox.doors.market_jobs import MarketJobs
from services.sandbox.ports import Family

FAMILIES: dict[str, Family] = {family.name: family for family in (Gpt4oImage(), FluxKontext(), MarketJobs())}
