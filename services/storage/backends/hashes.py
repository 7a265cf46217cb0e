"""Remembers the hashes of files that were read lately, so that a validator costs one reading and not one a request."""

import hashlib
import os
from collections import OrderedDict
from io import BufferedReader
from threading import Lock

from services.storage.model import Stat

MAX_FILES = 4096  # about a megabyte


class Hashes:
    """Hashes by the file's identity: what was replaced or written to since is read again."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, ...], Stat] = OrderedDict()
        self._lock = Lock()

    def of(self, file: BufferedReader) -> Stat:
        """Size and hash of an open file."""
        found = os.fstat(file.fileno())
        identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        with self._lock:
            known = self._known.get(identity)
        return known or self._read(file, identity)

    def _read(self, file: BufferedReader, identity: tuple[int, ...]) -> Stat:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        stat = Stat(file.tell(), digest)
        with self._lock:
            self._known[identity] = stat
            if len(self._known) > MAX_FILES:
                self._known.popitem(last=False)
        return stat
