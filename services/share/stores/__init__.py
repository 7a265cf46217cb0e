"""The share stores by kind, one module each."""

from collections.abc import Callable

from services.chassis.database import Database
from services.share.ports import ShareStore
from services.share.stores.sql import SqlShares

STORES: dict[str, Callable[[Database], ShareStore]] = {"sql": SqlShares}
