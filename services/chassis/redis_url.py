"""Looks at the start whether the Redis of a rediss:// URL is the right one.

A Redis that is away costs speed alone, and never keeps a process from starting. One whose certificate is not accepted
will not come back by itself, and would look the same.
"""

from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from services.chassis.addresses import is_loopback
from services.chassis.settings import CommonSettings, refuse
from services.chassis.tls import verification_error

FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
LOOK_SECONDS = 2.0  # a start waits no longer for what it can do without


def require_redis(settings: CommonSettings) -> None:
    """Refuse to start with a Redis whose certificate is not accepted, or a file in its URL that cannot be read.

    Beyond loopback a process has to be told which Redis it shares with the other replicas, or that there is none.

    Raises:
        SystemExit: with a sentence.
    """
    if not settings.redis_url and not is_loopback(str(settings.listen_host)):
        refuse(
            "REDIS_URL is not set. A process that listens beyond loopback has no embedded Valkey: name the Redis that "
            "all replicas use; or `none`, and then each counts its clients for itself, and shows what others change "
            "READ_CACHE_SECONDS later."
        )
    url = settings.effective_redis_url
    if not url.startswith("rediss://"):
        return
    _require_files(url)
    look = {"socket_timeout": LOOK_SECONDS, "socket_connect_timeout": LOOK_SECONDS, "retry": Retry(NoBackoff(), 0)}
    try:
        with closing(Redis.from_url(url, **look)) as redis:
            redis.ping()
    except (RedisError, OSError) as error:
        if cause := verification_error(error):
            refuse(
                f"REDIS_URL: the server's certificate is not accepted: {cause.verify_message}. Is it the right server, "
                "and does ssl_ca_certs name the authority that signed it?"
            )


def _require_files(url: str) -> None:
    for name, paths in parse_qs(urlsplit(url).query).items():
        if name in FILES:
            try:
                Path(paths[-1]).read_bytes()
            except OSError as error:
                refuse(f"REDIS_URL: {name} cannot be read: {paths[-1]}: {error.strerror}.")
