"""The settings of the share service."""

from typing import Literal

from pydantic import Field

from services.chassis.outbound import Exempt
from services.chassis.settings import CommonSettings


class ShareSettings(CommonSettings):
    """List policy, expiry, cache lifetimes and allowed private hosts; each has a good default."""

    outbound_allow_private: Exempt = frozenset()
    """host:port pairs that shared pictures may name although they are private, as storage's fetcher has it."""
    share_list_policy: Literal["text_to_image", "published", "published_or_text", "all"] = "published_or_text"
    """Which shares the gallery, the latest and the sitemap show; a share is always readable by its link.

    text_to_image: those without an original picture, published or not. published: what its maker published. The default
    shows both, since a front end whose usual mode starts from a picture offers to publish the result."""
    share_expire_days: int = Field(0, ge=0, le=36_500)
    """Days after which a share is deleted, counted anew from its publication; 0 keeps shares for good."""
    share_reconcile_hours: float = Field(6, ge=0, le=8760)
    """Hours between two looks at whether the counts of shares agree with the shares, which mend them; 0 never looks."""
    share_record_cache_seconds: float = Field(60, ge=1, le=3600)
    """How long a share is kept in the cache; its publication and its deletion show at once all the same."""
    share_list_cache_seconds: float = Field(60, ge=1, le=3600)
    """How long the ids of the gallery's newest shares are kept in the cache; a new share shows at once all the same."""
    share_latest_cache_seconds: float = Field(600, ge=1, le=86_400)
    """How long the latest shares are kept in the cache; a new share shows at once all the same."""
    share_stats_cache_seconds: float = Field(60, ge=1, le=3600)
    """How long the statistics are kept in the cache."""
