"""Where bytes can lie: one row per STORAGE_MODE, made from the settings."""

from collections.abc import Callable

from services.storage.backends.local import LocalFiles
from services.storage.settings import StorageSettings

BACKENDS: dict[str, Callable[[StorageSettings], LocalFiles]] = {
    "local": lambda settings: LocalFiles(settings.objects_dir),
}
