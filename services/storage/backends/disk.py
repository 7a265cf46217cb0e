"""The local disk, which both backends use: files of a folder, spool files, the hashes of files, and its errors.

Folders are walked by directory descriptors, so that no symbolic link planted inside leads out of the folder.
"""

import asyncio
import errno
import hashlib
import os
import secrets
import stat
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from io import BufferedReader
from pathlib import Path
from threading import Lock

from services.chassis.errors import KawaiiError, ResourceExhausted, Unavailable
from services.storage.model import ListedObject, Stat
from services.storage.ports import HEAD_BYTES

MAX_HASHES = 4096  # cached; about a megabyte
FULL = (errno.ENOSPC, errno.EDQUOT)
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)  # ELOOP: a symbolic link, which we never follow
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # NONBLOCK: a planted pipe must not hang us


@contextmanager
def translated() -> Iterator[None]:
    """Translate OSError into ResourceExhausted or Unavailable."""
    try:
        yield
    except OSError as error:
        raise _failure(error) from error


def _failure(error: OSError) -> KawaiiError:
    return full() if error.errno in FULL else down()


def full() -> ResourceExhausted:
    """The error of a full disk or bucket."""
    return ResourceExhausted("The storage is full; nothing was kept. Tell the operator.", "STORAGE_FULL")


def down(retry_after: float = 1) -> Unavailable:
    """The error of a disk or bucket that fails or cannot be reached."""
    sentence = "The storage does not work at the moment. Try again shortly."
    return Unavailable(sentence, "STORAGE_DOWN", retry_after=retry_after)


@contextmanager
def _folders(root: Path, parts: Sequence[str], *, create: bool = False) -> Iterator[list[int]]:
    """Descriptors of the root and of each folder on the way down, created where missing if `create`."""
    with ExitStack() as stack:
        chain = [_kept(stack, os.open(root, FOLDER_FLAGS))]
        for part in parts:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=chain[-1])
            chain.append(_kept(stack, os.open(part, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=chain[-1])))
        yield chain


def _kept(stack: ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def open_file(root: Path, key: str) -> BufferedReader | None:
    """Open the regular file under a key; None when there is none, or a symbolic link is in the way."""
    *parts, name = key.split("/")
    try:
        with _folders(root, parts) as chain:
            descriptor = os.open(name, FILE_FLAGS, dir_fd=chain[-1])
    except OSError as error:
        if error.errno in ABSENT:
            return None
        raise
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    return None


def link_file(root: Path, key: str, source: Path) -> bool:
    """Give a file its key if the key is free, durably; False when something holds it."""
    *parts, name = key.split("/")
    with _folders(root, parts, create=True) as chain:
        try:
            os.link(source, name, dst_dir_fd=chain[-1], follow_symlinks=False)
        except FileExistsError:
            return False
        finally:
            for descriptor in reversed(chain):  # the name is durable when every folder on the way is
                os.fsync(descriptor)
    return True


def remove_file(root: Path, key: str) -> None:
    """Remove the file under a key, durably, if there is one."""
    *parts, name = key.split("/")
    with suppress(FileNotFoundError), _folders(root, parts) as chain:
        os.unlink(name, dir_fd=chain[-1])
        os.fsync(chain[-1])


def remove_old(root: Path, parts: Sequence[str], before: float) -> None:
    """Remove the files of a folder that were last written before a time, in seconds since 1970."""
    with suppress(FileNotFoundError), _folders(root, parts) as chain, os.scandir(chain[-1]) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # another process may reap at the same time
                if entry.stat(follow_symlinks=False).st_mtime < before:
                    os.unlink(entry.name, dir_fd=chain[-1])


def walk(root: Path, prefix: str, after: str) -> Iterator[ListedObject]:
    """The regular files whose key begins with the prefix and comes after `after`, by the order of their keys."""
    parts = prefix.split("/")[:-1]  # open the prefix's folder directly: there may be many others
    try:
        with _folders(root, parts) as chain:
            yield from _below(chain[-1], "".join(f"{part}/" for part in parts), prefix, after)
    except OSError as error:
        if error.errno not in ABSENT:
            raise


def _below(descriptor: int, folder: str, prefix: str, after: str) -> Iterator[ListedObject]:
    for name in _names(descriptor):
        key = folder + name
        if name.endswith("/") and _may_hold(key, prefix, after):
            with suppress(FileNotFoundError), _folders_in(descriptor, name) as inner:
                yield from _below(inner, key, prefix, after)
        elif not name.endswith("/") and key.startswith(prefix) and key > after:
            with suppress(FileNotFoundError):  # removed since we read its name
                found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                yield ListedObject(key, found.st_size, found.st_mtime)


def _names(descriptor: int) -> list[str]:
    """The names in a folder in the order of keys: folders end in a slash; names that begin with a dot are left out."""
    with os.scandir(descriptor) as entries:
        shown = [entry for entry in entries if not entry.name.startswith(".")]
        files = [entry.name for entry in shown if entry.is_file(follow_symlinks=False)]
        return sorted(files + [f"{entry.name}/" for entry in shown if entry.is_dir(follow_symlinks=False)])


def _may_hold(folder: str, prefix: str, after: str) -> bool:
    wanted = folder.startswith(prefix) or prefix.startswith(folder)
    return wanted and (folder > after or after.startswith(folder))


@contextmanager
def _folders_in(descriptor: int, name: str) -> Iterator[int]:
    """A descriptor of a folder within a folder."""
    inner = os.open(name, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=descriptor)
    try:
        yield inner
    finally:
        os.close(inner)


class SpoolFile:
    """A Spool on a file. The lock keeps a cancelled write, still running in its thread, apart from the close."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / secrets.token_hex(16)
        self.size = 0
        self.head = b""
        self._hash = hashlib.sha256()
        self._lock = Lock()
        with translated():
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("xb", buffering=0)

    @property
    def sha256(self) -> str:
        """SHA-256 in hex of the bytes written so far."""
        return self._hash.hexdigest()

    async def write(self, chunk: bytes) -> None:
        """Append a chunk."""
        await asyncio.to_thread(self._write, chunk)
        self.size += len(chunk)
        self.head += chunk[: HEAD_BYTES - len(self.head)]

    def _write(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        with self._lock, translated():
            while rest:  # an unbuffered write may take less than it was given
                rest = rest[self._file.write(rest) :]
        self._hash.update(chunk)

    def discard(self) -> None:
        """Close and remove the file."""
        with self._lock, translated():
            self._file.close()
            self.path.unlink(missing_ok=True)


@asynccontextmanager
async def open_spool(folder: Path) -> AsyncIterator[SpoolFile]:
    """Open a spool file in a folder; leaving the context removes it."""
    spool = await asyncio.to_thread(SpoolFile, folder)
    try:
        yield spool
    finally:
        await asyncio.to_thread(spool.discard)


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
            if len(self._known) > MAX_HASHES:
                self._known.popitem(last=False)
        return stat


def _read(file: BufferedReader) -> Stat:
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Stat(file.tell(), digest)
