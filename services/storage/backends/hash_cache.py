"""Caches the hashes of objects, so that an ETag costs one reading of the object and not one a request."""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from io import BufferedReader
from threading import Lock

from services.storage.model import Stat

MAX_FILES = 4096  # about a megabyte


class HashCache:
    """Size and hash by an identity that changes with the bytes (inode and mtime, or an ETag)."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, Stat] = OrderedDict()
        self._lock = Lock()

    def of(self, file: BufferedReader) -> Stat:
        """Size and hash of an open file."""
        found = os.fstat(file.fileno())
        identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        return self.known(identity, partial(_read, file))

    def known(self, identity: Hashable, read: Callable[[], Stat]) -> Stat:
        """The cached size and hash of an identity; `read` computes them on a miss."""
        with self._lock:
            known = self._known.get(identity)
        if known:
            return known
        stat = read()
        with self._lock:
            self._known[identity] = stat
            if len(self._known) > MAX_FILES:
                self._known.popitem(last=False)
        return stat


def _read(file: BufferedReader) -> Stat:
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Stat(file.tell(), digest)
