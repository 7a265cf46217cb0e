"""The knobs of the generation service."""

from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr, model_validator

from services.chassis.outbound import Exempt
from services.chassis.settings import TownSettings
from services.generation.keyring import Key
from services.generation.plan import Bounds, Plan

Seconds = Annotated[float, Field(gt=0)]
NO_SECRET = SecretStr("")


class GenerationSettings(TownSettings):
    """Keys, upstream and waiting times."""

    kie_ai_base_url: str = "https://api.kie.ai"
    """The upstream; the sandbox's address in a town without keys."""
    kie_ai_api_key: SecretStr = Field(NO_SECRET, validation_alias=AliasChoices("KIE_AI_API_KEY", "KIE_API_KEY"))
    """The first key of the pool."""
    kie_ai_api_key_2: SecretStr = NO_SECRET
    """The second key."""
    kie_ai_api_key_3: SecretStr = NO_SECRET
    """The third key."""
    kie_ai_api_key_4: SecretStr = NO_SECRET
    """The fourth key."""
    kie_ai_api_key_5: SecretStr = NO_SECRET
    """The fifth key."""
    kie_accounts: str = ""
    """Account of each key, by position, comma separated; keys of one account share limits. Each its own if empty."""
    kie_webhook_hmac_key: SecretStr = NO_SECRET
    """When set, callbacks that are unsigned or wrongly signed are refused."""
    kie_webhook_hmac_key_previous: SecretStr = NO_SECRET
    """Also accepted while the key above is being rotated."""
    outbound_allow_private: Exempt = frozenset()
    """host:port pairs that pictures to start from may name although they are private, as storage's fetcher has it."""
    generation_daily_quota: int = Field(0, ge=0, le=1_000_000)
    """Orders that one client address may place in a day, which begins at midnight in Japan; 0 is no limit."""
    generation_timeout_seconds: Seconds = 900.0
    """When a generation that does not finish shows as timed out; it is still reconciled."""
    generation_create_wait_seconds: float = Field(8.0, ge=0, le=14)
    """How long a create waits for the provider's definite answer; below the edge's 15 s."""
    generation_dry_after_seconds: Seconds = 8.0
    """A new order is refused when no account can take one for longer than this."""
    generation_unknown_after_seconds: Seconds = 900.0
    """How long the callback of a lost answer is awaited before the generation shows as UNKNOWN."""
    generation_submit_within_seconds: Seconds = 900.0
    """When an order that no account could take ends as EXPIRED."""
    generation_copy_patience_seconds: Seconds = 10.0
    """How long copying may fail before clients are shown the upstream URL."""
    generation_balance_seconds: Seconds = 60.0
    """How often each account's balance is read, which spends nothing."""
    generation_creates_per_window: int = Field(18, ge=1, le=1000)
    """Creates an account may have in flight or in any ten seconds; KIE refuses the 21st (kie.md 5.4)."""
    generation_lease_seconds: float = Field(10.0, ge=1, le=300)
    """How long the work of a process that died waits for another; it must outlast a pause of a busy machine."""
    generation_submits_at_once: int = Field(20, ge=1, le=200)
    """Submits in flight; each waits up to 120 s."""
    generation_polls_at_once: int = Field(20, ge=1, le=200)
    """Record reads in flight."""
    generation_copies_at_once: int = Field(8, ge=1, le=100)
    """Copies in flight; each may move 30 MB."""

    @model_validator(mode="after")
    def _accounts_fit_keys(self) -> "GenerationSettings":
        if self.kie_accounts and len(self.kie_accounts.split(",")) != len(self._key_values()):
            raise ValueError("KIE_ACCOUNTS must name one account for each KIE key")
        return self

    @property
    def keys(self) -> tuple[Key, ...]:
        """The pool, each key with its account."""
        values = self._key_values()
        names = self.kie_accounts.split(",") if self.kie_accounts else [f"account-{i + 1}" for i in range(len(values))]
        return tuple(Key.of(name.strip(), value) for name, value in zip(names, values, strict=True))

    @property
    def webhook_keys(self) -> tuple[str, ...]:
        """The secrets that may sign callbacks."""
        secrets = (self.kie_webhook_hmac_key, self.kie_webhook_hmac_key_previous)
        return tuple(value for secret in secrets if (value := secret.get_secret_value()))

    @property
    def plan(self) -> Plan:
        """The waiting times of the core."""
        return Plan(
            create_wait=self.generation_create_wait_seconds,
            timeout=self.generation_timeout_seconds,
            copy_patience=self.generation_copy_patience_seconds,
            submit_within=self.generation_submit_within_seconds,
            unknown_after=self.generation_unknown_after_seconds,
            lease=self.generation_lease_seconds,
            dry_after=self.generation_dry_after_seconds,
            balance=self.generation_balance_seconds,
        )

    @property
    def bounds(self) -> Bounds:
        """How much the loops do at once."""
        return Bounds(self.generation_submits_at_once, self.generation_polls_at_once, self.generation_copies_at_once)

    def _key_values(self) -> list[str]:
        secrets = (
            self.kie_ai_api_key,
            self.kie_ai_api_key_2,
            self.kie_ai_api_key_3,
            self.kie_ai_api_key_4,
            self.kie_ai_api_key_5,
        )
        return [value for secret in secrets if (value := secret.get_secret_value())]
