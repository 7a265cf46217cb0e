"""Confines a worker by seccomp and Landlock: no network, no writing, no other files, no other processes.

The kernel enforces it: a codec that was taken over cannot undo it. seccomp refuses system calls by their
number and arguments; Landlock lets only some folders be read. A kernel or machine without one of them goes on with the
other, and the worker says which hold. Sources: seccomp(2), landlock(7), the syscall tables of Linux 6.x.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

SECCOMP, LANDLOCK = "seccomp", "landlock"
LIBC = ctypes.CDLL(None, use_errno=True)
NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER = 38, 22, 2  # of prctl

# System calls by architecture; 0 where there is none.
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
REFUSED = {
    "socket": (41, 198),
    "socketpair": (53, 199),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "connect": (42, 203),
    "creat": (85, 0),
    "truncate": (76, 45),
    "ftruncate": (77, 46),
    "fallocate": (285, 47),
    "rename": (82, 0),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "mkdir": (83, 0),
    "mkdirat": (258, 34),
    "rmdir": (84, 0),
    "link": (86, 0),
    "linkat": (265, 37),
    "unlink": (87, 0),
    "unlinkat": (263, 35),
    "symlink": (88, 0),
    "symlinkat": (266, 36),
    "mknod": (133, 0),
    "mknodat": (259, 33),
    "chmod": (90, 0),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, 0),
    "fchown": (93, 55),
    "lchown": (94, 0),
    "fchownat": (260, 54),
    "utime": (132, 0),
    "utimes": (235, 0),
    "futimesat": (261, 0),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "fork": (57, 0),
    "vfork": (58, 0),
    "execve": (59, 221),
    "execveat": (322, 281),
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
}
UNKNOWN = {"clone3": (435, 435), "openat2": (437, 437)}  # their arguments lie in memory; libraries use the older ones
OPEN, OPENAT, CLONE, TGKILL, PRLIMIT = (2, 0), (257, 56), (56, 220), (234, 131), (302, 261)
NEWEST = 462  # of the calls that were looked at; what came later is unknown here, too
X32 = 0x40000000  # the numbers of another ABI of x86-64
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CLONE_THREAD = 0x00010000

LOAD, EQUAL, GREATER, GREATER_EQUAL, ANY_OF, RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06  # of classic BPF
ALLOW, KILL, ERROR = 0x7FFF0000, 0x80000000, 0x00050000
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16
Instruction = tuple[int, int, int, int]

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION_FLAG, PATH_BENEATH = 1, 1
READ_FILE, READ_FOLDER = 1 << 2, 1 << 3
FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}  # by Landlock's version
NET_RIGHTS, NET_VERSION = 0b11, 4  # bind and connect, of TCP
SCOPES, SCOPE_VERSION = 0b11, 6  # abstract sockets and signals of processes outside
SYSTEM = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache")


def confine(readable: Sequence[str]) -> list[str]:
    """Allow reading Python's files and these folders, and nothing else; returns the confinements that are in force."""
    if not sys.platform.startswith("linux"):
        return []
    LIBC.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    held = {LANDLOCK: _landlock([*SYSTEM, *_libraries(), *readable]), SECCOMP: _seccomp()}
    return [name for name, holds in held.items() if holds]


def _libraries() -> Iterator[str]:
    """Where Python's modules and ours lie: some are imported only when a picture needs them."""
    yield from (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    yield str(Path(__file__).parents[2])


def _landlock(readable: Sequence[str]) -> bool:
    version = LIBC.syscall(CREATE_RULESET, None, 0, VERSION_FLAG)
    if version < 1:
        return False
    handled = FILE_RIGHTS[max(known for known in FILE_RIGHTS if known <= version)]
    rules = [handled]
    rules += [NET_RIGHTS] if version >= NET_VERSION else []
    rules += [SCOPES] if version >= SCOPE_VERSION else []
    packed = struct.pack(f"={len(rules)}Q", *rules)
    ruleset = LIBC.syscall(CREATE_RULESET, packed, len(packed), 0)
    if ruleset < 0:
        return False
    try:
        for path in readable:
            with suppress(FileNotFoundError):
                _allow(ruleset, path)
        return bool(LIBC.syscall(RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights = READ_FILE | READ_FOLDER if Path(path).is_dir() else READ_FILE
        LIBC.syscall(ADD_RULE, ruleset, PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)


def _seccomp() -> bool:
    machine = ARCHITECTURES.get(platform.machine())
    if machine is None:
        return False
    program = [struct.pack("=HBBI", *instruction) for instruction in _program(*machine)]
    code = ctypes.create_string_buffer(b"".join(program))
    head = struct.pack("@HP", len(program), ctypes.addressof(code))
    return bool(LIBC.prctl(SET_SECCOMP, FILTER, head, 0, 0) == 0)


def _program(column: int, architecture: int) -> Iterator[Instruction]:
    """Look at the architecture, then at the number, then where it matters at an argument."""
    refusal, unknown = ERROR | errno.EPERM, ERROR | errno.ENOSYS
    yield LOAD, 0, 0, ARCHITECTURE_AT
    yield from _when(EQUAL, architecture, [], [(RETURN, 0, 0, KILL)])
    yield LOAD, 0, 0, NUMBER_AT
    yield from _when(GREATER_EQUAL, X32, [(RETURN, 0, 0, refusal)])
    yield from _when(GREATER, NEWEST, [(RETURN, 0, 0, unknown)])
    for answer, calls in ((refusal, REFUSED), (unknown, UNKNOWN)):
        for numbers in calls.values():
            if number := numbers[column]:
                yield from _when(EQUAL, number, [(RETURN, 0, 0, answer)])
    refuse, allow = [(RETURN, 0, 0, refusal)], [(RETURN, 0, 0, ALLOW)]
    for call, argument, test, value, (hit, miss) in (
        (OPEN, 1, ANY_OF, WRITING, (refuse, allow)),
        (OPENAT, 2, ANY_OF, WRITING, (refuse, allow)),
        (CLONE, 0, ANY_OF, CLONE_THREAD, (allow, refuse)),
        (TGKILL, 0, EQUAL, os.getpid(), (allow, refuse)),  # abort() signals itself
        (PRLIMIT, 0, EQUAL, 0, (allow, refuse)),  # its own
    ):
        if number := call[column]:
            looked = [(LOAD, 0, 0, ARGUMENTS_AT + 8 * argument), *_when(test, value, hit, miss)]
            yield from _when(EQUAL, number, looked)
    yield RETURN, 0, 0, ALLOW


def _when(test: int, value: int, hit: Sequence[Instruction], miss: Sequence[Instruction] = ()) -> Iterator[Instruction]:
    """Do one or the other; every branch that is not empty ends in a return."""
    if hit:
        yield test, 0, len(hit), value
        yield from hit
    else:
        yield test, len(miss), 0, value
    yield from miss
