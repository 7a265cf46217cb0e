"""The rules of storage: how objects are taken in, named, derived, found and deleted."""

from services.storage.core.objects import Objects
from services.storage.core.uploads import Uploads
from services.storage.core.variants import Variants

__all__ = ["Objects", "Uploads", "Variants"]
