"""Ties a child's life to ours where the kernel can (Linux), so that nothing survives a kill -9 of the launcher."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def tether() -> Callable[[], None] | None:
    """What a child must run before it becomes its program; nothing where the kernel offers nothing."""
    if not sys.platform.startswith("linux"):
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def die_with_parent() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked to be told
            os.kill(os.getpid(), signal.SIGKILL)

    return die_with_parent
