"""What a script may say about a create call, and about the life of the task it makes."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Life:
    """What a script lets happen to a task after it was created. Times in milliseconds."""

    slow_ms: int = 0
    invisible_ms: int = 0
    blank_ms: int = 0
    late_ms: int = 0
    stuck: bool = False
    failure: str = ""
    silent: bool = False
    copies: int = 1
    contradiction: bool = False
    mistaken_ms: int = 0
    """For how long the record of a finished task says that the task failed, before it tells of the success."""
    signature: str = "good"
    result: str = "good"
    redirect: str = ""
    denied_ms: int = 0
    """For how long after the end of the task the file host answers 403, for the result and for signed links to it."""
    away_ms: int = 0
    """The same with a connection that is reset."""
    snake: bool = False
    early_complete: bool = False
    variants: int = 1
    read_fault: str = ""
    read_faults: int = 0


@dataclass(frozen=True)
class Step:
    """One line of a script: what happens to one create call, and to the task it makes."""

    text: str = "ok"
    refusal: str = ""
    billed: bool = False
    reset: str = ""
    hang_before: float = 0.0
    hang_after: float = 0.0
    mangled: str = ""
    callback_first: bool = False
    reply_id: str = ""
    """Which id the reply names instead of the task's own: an unknown one, the account's earlier task's, or a task's of
    another account. The callback always names the task's own."""
    life: Life = field(default_factory=Life)


@dataclass(frozen=True)
class Call:
    """A create call that was let in: its number among all of them, and what the script says about it."""

    account: str
    number: int
    step: Step


@dataclass(frozen=True)
class Script:
    """Steps that control laid down for matching creates."""

    id: int
    account: str
    family: str
    prompt_contains: str
    steps: tuple[str, ...]
    times: int
    used: int

    def matches(self, account: str, family: str, prompt: str) -> bool:
        """Whether it speaks of this create; an empty field matches all."""
        return self.account in {"", account} and self.family in {"", family} and self.prompt_contains in prompt
