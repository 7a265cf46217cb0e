"""File access below a folder by directory descriptors, so that no symbolic link planted inside leads out of it."""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from services.chassis.errors import KawaiiError, ResourceExhausted, Unavailable
from services.storage.model import ListedObject

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
def folders(root: Path, parts: Sequence[str], *, create: bool = False) -> Iterator[list[int]]:
    """Descriptors of the root and of each folder on the way down, created where missing if asked."""
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
        with folders(root, parts) as chain:
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
    with folders(root, parts, create=True) as chain:
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
    with suppress(FileNotFoundError), folders(root, parts) as chain:
        os.unlink(name, dir_fd=chain[-1])
        os.fsync(chain[-1])


def remove_old(root: Path, parts: Sequence[str], before: float) -> None:
    """Remove the files of a folder that were last written before a time, in seconds since 1970."""
    with suppress(FileNotFoundError), folders(root, parts) as chain, os.scandir(chain[-1]) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # another process may reap at the same time
                if entry.stat(follow_symlinks=False).st_mtime < before:
                    os.unlink(entry.name, dir_fd=chain[-1])


def walk(root: Path, prefix: str, after: str) -> Iterator[ListedObject]:
    """The regular files whose key begins with the prefix and comes after `after`, by the order of their keys."""
    parts = prefix.split("/")[:-1]  # open the prefix's folder directly: there may be many others
    try:
        with folders(root, parts) as chain:
            yield from _below(chain[-1], "".join(f"{part}/" for part in parts), prefix, after)
    except OSError as error:
        if error.errno not in ABSENT:
            raise


def _below(descriptor: int, folder: str, prefix: str, after: str) -> Iterator[ListedObject]:
    for name in _names(descriptor):
        key = folder + name
        if name.endswith("/") and _may_hold(key, prefix, after):
            with suppress(FileNotFoundError), folders_in(descriptor, name) as inner:
                yield from _below(inner, key, prefix, after)
        elif not name.endswith("/") and key.startswith(prefix) and key > after:
            with suppress(FileNotFoundError):  # removed since we read its name
                found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                yield ListedObject(key, found.st_size, found.st_mtime)


def _names(descriptor: int) -> list[str]:
    """Files, and folders with the slash that decides their place in the order of keys; none that begin with a dot."""
    with os.scandir(descriptor) as entries:
        shown = [entry for entry in entries if not entry.name.startswith(".")]
        files = [entry.name for entry in shown if entry.is_file(follow_symlinks=False)]
        return sorted(files + [f"{entry.name}/" for entry in shown if entry.is_dir(follow_symlinks=False)])


def _may_hold(folder: str, prefix: str, after: str) -> bool:
    wanted = folder.startswith(prefix) or prefix.startswith(folder)
    return wanted and (folder > after or after.startswith(folder))


@contextmanager
def folders_in(descriptor: int, name: str) -> Iterator[int]:
    """A descriptor of a folder within a folder."""
    inner = os.open(name, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=descriptor)
    try:
        yield inner
    finally:
        os.close(inner)
