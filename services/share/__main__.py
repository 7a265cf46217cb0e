"""Composition root of the share service: read settings, build each part with what it uses, serve."""

import asyncio
from contextlib import aclosing
from functools import partial

from kawaii.share.v1 import admin_pb2 as shareadminpb
from kawaii.share.v1.admin_pb2_grpc import add_ShareAdminServiceServicer_to_server
from kawaii.share.v1.share_pb2 import DESCRIPTOR
from kawaii.share.v1.share_pb2_grpc import add_ShareServiceServicer_to_server

from services.chassis.addresses import ListenPort
from services.chassis.cache import open_cache
from services.chassis.clock import now_ms
from services.chassis.clock_skew import CLOCK, ClockSkew
from services.chassis.database import open_database
from services.chassis.event_loop import freeze_startup_objects
from services.chassis.idempotency import IdempotencyKeys
from services.chassis.invalidation import open_invalidations
from services.chassis.logs import configure
from services.chassis.public_files import PublicFiles
from services.chassis.redis_url import require_redis
from services.chassis.replicas import sole_on_sqlite
from services.chassis.server import Mount, serve
from services.chassis.settings import load, require_addresses
from services.chassis.supervisor import Loop
from services.chassis.tls import require_tls
from services.share.admin_servicer import ShareAdminServicer
from services.share.core.cached import CachedShares, CacheLifetimes
from services.share.core.maintenance import Expiry, Reconciliation
from services.share.core.records import ShareRecords
from services.share.core.shares import Shares
from services.share.model import Policy
from services.share.servicer import ShareServicer
from services.share.settings import ShareSettings
from services.share.stores.shares import SqlShares
from services.share.stores.tables import request_answer

SERVICE = "share"
LISTENERS = (ListenPort.SHARE, ListenPort.SHARE_METRICS)
CHANNEL = DESCRIPTOR.services_by_name["ShareService"].full_name  # as the proto says


async def main() -> None:
    """Run the service until it is stopped."""
    settings = load(ShareSettings)
    configure(settings.log_level, settings.log_format, SERVICE)
    require_addresses(settings, LISTENERS)
    tls = require_tls(settings, SERVICE)
    require_redis(settings)
    freeze_startup_objects()
    files = PublicFiles(*settings.files_base_urls)
    lifetimes = CacheLifetimes(
        record=settings.share_record_cache_seconds,
        list=settings.share_list_cache_seconds,
        latest=settings.share_latest_cache_seconds,
        stats=settings.share_stats_cache_seconds,
    )
    async with (
        sole_on_sqlite(settings, SERVICE),
        open_database(settings, SERVICE) as database,
        open_cache(settings.effective_redis_url) as cache,
        open_invalidations(settings.effective_redis_url, CHANNEL) as invalidations,
        aclosing(
            CachedShares(database, SqlShares(), cache, lifetimes, clock=now_ms, announce=invalidations.announce)
        ) as cached,
    ):
        expiry = Expiry(cached, settings.share_expire_days, now_ms)
        reconciliation = Reconciliation(cached, settings.share_reconcile_hours)
        policy, allowed = Policy(settings.share_list_policy), settings.outbound_allow_private
        shares = Shares(cached, policy, own_key=files.key, clock=now_ms, allowed=allowed)
        records = ShareRecords(cached, own_key=files.key, clock=now_ms, allowed=allowed)
        mount = Mount(
            add_ShareServiceServicer_to_server,
            ShareServicer(shares, files, IdempotencyKeys(database, request_answer)),
            DESCRIPTOR,
        )
        admin = Mount(
            add_ShareAdminServiceServicer_to_server, ShareAdminServicer(records, files), shareadminpb.DESCRIPTOR
        )
        loops: list[Loop] = [
            expiry.run,
            reconciliation.run,
            partial(invalidations.listen, cached.invalidate),
        ]
        await serve(
            settings,
            LISTENERS,
            [mount, admin],
            tls,
            loops=loops,
            pings=[database.ping],
            parts={CLOCK: ClockSkew(database).ping},
        )


if __name__ == "__main__":
    asyncio.run(main())
