"""The settings of the generation service, and the warnings that a start logs about the operator's choices."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import structlog
from pydantic import AfterValidator, AliasChoices, Field, SecretStr, model_validator

from catalogue import MODELS, Model
from services.chassis.outbound import Exempt, check_web_url
from services.chassis.settings import CommonSettings
from services.generation.key_pool.pool import Key, PoolStatus, account_of, print_of
from services.generation.quota import is_billed, meaning, site_orders
from services.generation.timing import DAY_SECONDS, Concurrency, Timing

Seconds = Annotated[float, Field(gt=0)]
NO_SECRET = SecretStr("")
UNNAMED = (
    "KIE_ACCOUNTS is not set: each key is an account of its own, named by its digest. Set it before you rotate a key, "
    "with one name for each key; tasks of a key that is replaced can only be read by a key of the same named account."
)
MISSING = (
    "Tasks wait for an account of which no key is configured. They go on when its key is configured again, or another "
    "key under its name in KIE_ACCOUNTS."
)

logger = structlog.get_logger()


def check_key(key: SecretStr) -> SecretStr:
    """Refuse a key that no header could carry. Raises ValueError."""
    value = key.get_secret_value()
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("a key is printable ASCII without spaces; this one was not copied as it is")
    return key


ApiKey = Annotated[SecretStr, AfterValidator(check_key)]


class GenerationSettings(CommonSettings):
    """Provider keys, the upstream, quotas and timing."""

    kie_ai_base_url: Annotated[str, AfterValidator(check_web_url)] = "https://api.kie.ai"
    """The provider's base URL; the sandbox's in a stack without keys."""
    kie_ai_api_key: ApiKey = Field(NO_SECRET, validation_alias=AliasChoices("KIE_AI_API_KEY", "KIE_API_KEY"))
    """The first key of the pool."""
    kie_ai_api_key_2: ApiKey = NO_SECRET
    """The second key."""
    kie_ai_api_key_3: ApiKey = NO_SECRET
    """The third key."""
    kie_ai_api_key_4: ApiKey = NO_SECRET
    """The fourth key."""
    kie_ai_api_key_5: ApiKey = NO_SECRET
    """The fifth key."""
    kie_accounts: str = ""
    """Account of each key, in the order of the keys, comma separated; keys of one account share limits. When empty,
    each key is an account of its own that is named by its digest, and a key that is rotated leaves its tasks behind."""
    kie_webhook_hmac_key: SecretStr = NO_SECRET
    """When set, callbacks that are unsigned or wrongly signed are refused."""
    kie_webhook_hmac_key_previous: SecretStr = NO_SECRET
    """Also accepted while the key above is being rotated."""
    outbound_allow_private: Exempt = frozenset()
    """host:port pairs that pictures to start from may name although they are private, as storage's fetcher has it."""
    generation_daily_quota: int = Field(0, ge=0, le=1_000_000)
    """Orders that one client address, and one person who is signed in, may place in a day, which begins at midnight in
    Japan; 0 is no limit."""
    site_daily_orders: int | None = Field(None, ge=0, le=10_000_000)
    """Orders that the whole site takes in such a day; 0 is no limit. Unset: 500 with a real key where neither sign-in
    nor GENERATION_DAILY_QUOTA bounds what anonymous callers order, else no limit."""
    sign_in_configured: bool = False
    """Whether people sign in to this site. `make up` sets it from AUTH_…, which generation itself does not read."""
    generation_timeout_seconds: Seconds | None = None
    """When a generation that does not finish shows as timed out; it is still reconciled. Unset: as the catalogue has it
    for its model, 900 for all of today's."""
    generation_create_wait_seconds: float = Field(8.0, ge=0, le=14)
    """How long a create waits for the provider's definite answer; below the edge's 15 s."""
    generation_dry_after_seconds: Seconds = 8.0
    """A new order is refused when no account can take one for longer than this."""
    generation_unknown_after_seconds: Seconds = 900.0
    """How long the callback of a lost answer is awaited before the generation shows as UNKNOWN."""
    generation_submit_within_seconds: Seconds = 900.0
    """When an order that no account could take ends as EXPIRED."""
    generation_unpaid_within_seconds: Seconds = 45.0
    """When an order that every account refuses for lack of credits ends, with the provider's reason."""
    generation_copy_patience_seconds: Seconds = 10.0
    """How long copying may fail before clients are shown the upstream URL."""
    generation_lost_after_days: int = Field(3, ge=1, le=14)
    """How long a picture must have been gone upstream before it counts as lost; KIE keeps results for 14 days."""
    generation_balance_seconds: Seconds = 60.0
    """How often each account's balance is read, which spends nothing."""
    generation_keep_events_days: int = Field(30, ge=1, le=3650)
    """How long events are kept for consumers that are behind; one that is further behind must begin anew."""
    generation_keep_callbacks_days: int = Field(30, ge=14, le=3650)
    """How long callbacks that were processed are kept; KIE may repeat one for as long as it keeps results."""
    generation_creates_per_window: int = Field(18, ge=1, le=1000)
    """Creates an account may have in flight or in any ten seconds; KIE refuses the 21st (docs/provider.md#limits)."""
    generation_lease_seconds: float = Field(10.0, ge=1, le=300)
    """How long the work of a process that died waits for another; longer than a pause of a busy machine."""
    generation_submits_at_once: int = Field(20, ge=1, le=200)
    """Submits in flight; each waits up to 120 s."""
    generation_polls_at_once: int = Field(20, ge=1, le=200)
    """Record reads in flight."""
    generation_copies_at_once: int = Field(8, ge=1, le=100)
    """Copies in flight; each may move 30 MB."""

    @model_validator(mode="after")
    def _accounts_fit_keys(self) -> "GenerationSettings":
        values, names = self._key_values(), self._account_names
        if names and (len(names) != len(values) or not all(names)):
            raise ValueError("KIE_ACCOUNTS must name one account for each KIE key")
        if len({(key.print, key.account) for key in self.keys}) != len({key.print for key in self.keys}):
            raise ValueError("KIE_ACCOUNTS gives one KIE key to two accounts; give each key once")
        return self

    @property
    def keys(self) -> tuple[Key, ...]:
        """The pool, each key with its account."""
        values = self._key_values()
        names = self._account_names or [account_of(print_of(value)) for value in values]
        return tuple(dict.fromkeys(Key.of(name, value) for name, value in zip(names, values, strict=True)))

    @property
    def accounts_named(self) -> bool:
        """True when KIE_ACCOUNTS names the account of each key, so that keys can be rotated; also without any key."""
        return bool(self._account_names) or not self._key_values()

    @property
    def _account_names(self) -> list[str]:
        return [name.strip() for name in self.kie_accounts.split(",")] if self.kie_accounts.strip() else []

    @property
    def is_open(self) -> bool:
        """Whether anonymous callers may order any number, at the operator's expense."""
        return is_billed(self._key_values()) and not (self.generation_daily_quota or self.sign_in_configured)

    @property
    def effective_site_orders(self) -> int:
        """Orders a day for the whole site; 0 is no limit."""
        return site_orders(self.site_daily_orders, is_open=self.is_open)

    @property
    def callback_keys(self) -> tuple[str, ...]:
        """The secrets that may sign callbacks."""
        secrets = (self.kie_webhook_hmac_key, self.kie_webhook_hmac_key_previous)
        return tuple(value for secret in secrets if (value := secret.get_secret_value()))

    @property
    def models(self) -> Mapping[str, Model]:
        """The catalogue's models by their ids; GENERATION_TIMEOUT_SECONDS is the patience of all where it is set."""
        if self.generation_timeout_seconds is None:
            return MODELS
        seconds = self.generation_timeout_seconds
        return {identifier: replace(model, patience_seconds=seconds) for identifier, model in MODELS.items()}

    @property
    def timing(self) -> Timing:
        """The delays and timeouts of the background work."""
        return Timing(
            create_wait=self.generation_create_wait_seconds,
            copy_patience=self.generation_copy_patience_seconds,
            submit_within=self.generation_submit_within_seconds,
            unpaid_within=self.generation_unpaid_within_seconds,
            unknown_after=self.generation_unknown_after_seconds,
            lease=self.generation_lease_seconds,
            lost_after=self.generation_lost_after_days * DAY_SECONDS,
            dry_after=self.generation_dry_after_seconds,
            balance=self.generation_balance_seconds,
            keep_events=self.generation_keep_events_days * DAY_SECONDS,
            keep_callbacks=self.generation_keep_callbacks_days * DAY_SECONDS,
        )

    @property
    def concurrency(self) -> Concurrency:
        """How many generations each loop works on at once."""
        return Concurrency(
            self.generation_submits_at_once, self.generation_polls_at_once, self.generation_copies_at_once
        )

    def _key_values(self) -> list[str]:
        secrets = (
            self.kie_ai_api_key,
            self.kie_ai_api_key_2,
            self.kie_ai_api_key_3,
            self.kie_ai_api_key_4,
            self.kie_ai_api_key_5,
        )
        return [value for secret in secrets if (value := secret.get_secret_value())]


def warn(settings: GenerationSettings, pool: PoolStatus) -> None:
    """Warn where keys have no named accounts, of accounts that tasks wait for, and of orders without a bound."""
    if not settings.accounts_named:
        logger.warning("accounts_not_named", meaning=UNNAMED)
    orders = settings.effective_site_orders
    if settings.is_open:
        logger.warning("orders_open_to_all", site_daily_orders=orders, meaning=meaning(orders))
    for account in pool.accounts:
        if account.missing:
            logger.warning("account_missing", account=account.name, tasks=account.waiting_tasks, meaning=MISSING)
