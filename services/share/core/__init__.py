"""The rules of sharing: what may be shared, what the lists show, and who may publish or delete."""

from services.share.core.expiry import Expiry
from services.share.core.reconciliation import Reconciliation
from services.share.core.records import ShareRecords
from services.share.core.shares import Shares

__all__ = ["Expiry", "Reconciliation", "ShareRecords", "Shares"]
