"""The business of storage: taking bytes in, naming them, and telling where they are."""

from services.storage.core.objects import Objects
from services.storage.core.uploads import Uploads
from services.storage.core.variants import Variants

__all__ = ["Objects", "Uploads", "Variants"]
