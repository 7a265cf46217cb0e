"""Starts the share service."""

import asyncio
import time
from functools import partial

from kawaii.share.v1 import admin_pb2 as adminpb
from kawaii.share.v1.admin_pb2_grpc import add_ShareAdminServiceServicer_to_server
from kawaii.share.v1.share_pb2 import DESCRIPTOR
from kawaii.share.v1.share_pb2_grpc import add_ShareServiceServicer_to_server

from services.chassis.bulletin import open_bulletin
from services.chassis.cache import open_cache
from services.chassis.database import open_database
from services.chassis.exposition import Exposition
from services.chassis.files import PublicFiles
from services.chassis.logs import configure
from services.chassis.replays import Replays
from services.chassis.server import Mount, serve
from services.chassis.settings import load
from services.chassis.skew import CLOCK, Skew
from services.chassis.supervisor import Loop
from services.chassis.town import Resident
from services.share.admin_servicer import ShareAdminServicer
from services.share.core import Expiry, Reconciliation, Records, Shares
from services.share.model import Policy
from services.share.servicer import ShareServicer
from services.share.settings import ShareSettings
from services.share.stores import STORES
from services.share.stores.cached import CachedShares, Freshness
from services.share.stores.tables import request_answer

SERVICE = "share"
CHANNEL = DESCRIPTOR.services_by_name["ShareService"].full_name  # as the proto says


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


async def main() -> None:
    """Build the service and serve until told to stop."""
    settings = load(ShareSettings)
    configure(settings.log_level, settings.log_format, SERVICE)
    files = PublicFiles(*settings.files_base_urls)
    freshness = Freshness(
        record=settings.share_record_cache_seconds,
        list=settings.share_list_cache_seconds,
        latest=settings.share_latest_cache_seconds,
        stats=settings.share_stats_cache_seconds,
    )
    async with (
        open_database(settings, SERVICE) as database,
        open_cache(settings.effective_redis_url) as cache,
        open_bulletin(settings.effective_redis_url, CHANNEL) as bulletin,
    ):
        store = CachedShares(STORES["sql"](database), cache, freshness, now_ms, bulletin.announce)
        expiry = Expiry(store, settings.share_expire_days, now_ms)
        reconciliation = Reconciliation(store, settings.share_reconcile_hours)
        policy, allowed = Policy(settings.share_list_policy), settings.outbound_allow_private
        shares = Shares(store, policy, own_key=files.key, clock=now_ms, allowed=allowed)
        records = Records(store, own_key=files.key, clock=now_ms, allowed=allowed)
        mount = Mount(
            add_ShareServiceServicer_to_server,
            ShareServicer(shares, files, Replays(database, request_answer)),
            DESCRIPTOR,
        )
        admin = Mount(add_ShareAdminServiceServicer_to_server, ShareAdminServicer(records, files), adminpb.DESCRIPTOR)
        exposition = Exposition(settings.address(Resident.SHARE_METRICS))
        loops: list[Loop] = [exposition.run, expiry.run, reconciliation.run, partial(bulletin.listen, store.hear)]
        await serve(
            settings.address(Resident.SHARE),
            [mount, admin],
            loops=loops,
            pings=[database.ping],
            parts={CLOCK: Skew(database).ping},
        )


if __name__ == "__main__":
    asyncio.run(main())
