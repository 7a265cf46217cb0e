"""The settings of the community service."""

from pydantic import Field

from services.chassis.outbound import Exempt
from services.chassis.signing_keys import SigningSettings


class CommunitySettings(SigningSettings):
    """Credits, limits and allowed private hosts; each has a good default."""

    outbound_allow_private: Exempt = frozenset()
    """host:port pairs that drafts' input pictures and avatars may name although they are private, as for fetches."""
    credits_enabled: bool = False
    """1 makes pictures cost credits and offers the daily check-in."""
    credits_initial: int = Field(0, ge=0, le=1_000_000)
    """Credits of a new account."""
    credits_per_generation: int = Field(3, ge=0, le=1_000_000)
    """What one picture costs; held when it is ordered, given back when it fails."""
    community_reactions_per_hour: int = Field(1000, ge=0, le=1_000_000)
    """Likes, favourites and reports that a user may each make in an hour; repetitions do not count, 0 is no bound."""

    @property
    def cost(self) -> int:
        """What one picture costs now."""
        return self.credits_per_generation if self.credits_enabled else 0
