"""How long the circuit breaker waits for a backend."""

import asyncio
from pathlib import Path

from services.storage.backends.circuit_breaker import CircuitBreaker, TimeLimits
from services.storage.backends.local import LocalFiles


async def test_a_larger_object_may_take_longer(tmp_path: Path) -> None:
    """The time for a put is what any put has and what its bytes need on a slow line, not less for more bytes."""
    breaker = CircuitBreaker("bucket", LocalFiles(tmp_path), TimeLimits(put=60.0, bytes_per_second=1))

    async def work() -> str:
        for _ in range(3):
            await asyncio.sleep(0)
        return "stored"

    assert await breaker.put(work, size=3600) == "stored"
    assert breaker.takes_puts
