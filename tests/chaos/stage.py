"""What an injection is: the fault, the provider's days meanwhile, and the stack under it."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.stack import ChaosStack
from tests.engines import Postgres

GOOD_DAYS = ("ok", "nocallback", "dupcallback:2", "slow:2,ok", "fail,ok", "variants:2,ok", "429http then ok")


class NotHereError(Exception):
    """This machine cannot inject the fault; the message says why, and is shown instead of a result."""


@dataclass
class Stage:
    """A stack under a fault: hits is how often the fault fell, odd what happened that must not happen."""

    stack: ChaosStack
    folder: Path
    server: Postgres | None = None
    hits: int = 0
    odd: list[str] = field(default_factory=list)


Fault = Callable[[Stage], AbstractAsyncContextManager[None]]
"""Inside the context the fault lasts; it counts itself in `hits`, and leaves the stack as it was."""


@dataclass(frozen=True)
class Injection:
    """One thing that goes wrong, the days that the provider has meanwhile, and how often it is to fall at least."""

    title: str
    fault: Fault
    days: Sequence[str] = GOOD_DAYS
    orders: int = 24
    least: int = 1
    settings: Mapping[str, str] = field(default_factory=dict)
    on_postgres: bool = False
    prepare: Callable[[ExitStack, Path], None] = lambda _stack, _folder: None
    """Does something to the data folder before the first process starts, until the stack is closed."""


def is_root() -> bool:
    """Whether this user may mount, and trace processes of others."""
    return os.geteuid() == 0
