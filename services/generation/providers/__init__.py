"""KIE's families behind one port, one module each; CONTRIBUTING.md says what a new one takes."""

from services.generation.ports import Provider
from services.generation.providers.flux_kontext import FluxKontext
from services.generation.providers.gpt4o_image import Gpt4oImage
from services.generation.providers.kie import Kie, callback_uris, open_kie
from services.generation.providers.market_jobs import MarketJobs

__all__ = ["PROVIDERS", "callback_uris", "make_providers", "open_kie"]

PROVIDERS = (Gpt4oImage, FluxKontext, MarketJobs)


def make_providers(kie: Kie) -> dict[str, Provider]:
    """One provider a family, by family."""
    return {provider.family: provider(kie.counted_as(provider.family)) for provider in PROVIDERS}
