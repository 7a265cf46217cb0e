"""The fault injector of `generations` and `artworks`: random kills, freezes and broken connections, by a seed.

Each run of a process is armed with kills at failpoints; besides, processes are killed at any moment, generation is
stopped for three leases, and connections to the provider get a toxic of the proxy, or are refused for a while.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping

from tests.chaos.failpoints import FAILPOINTS
from tests.chaos.process import no_faults
from tests.chaos.stack import LEASE_SECONDS, ChaosStack, random_of

# Shares of all connections to the provider; the rest pass unchanged.
TOXICS: Mapping[str, float] = {
    "reset_peer": 0.03,
    "limit_data": 0.02,
    "timeout": 0.01,
    "latency": 0.03,
    "slicer": 0.03,
}
BACKGROUND = "*:error:0.002,*:sleep:0.01,*:hang:0.0002"
ARMED = 3  # failpoints of a run, those of its process that were hit least, so that rare ones are hit too
OFTEN = 10  # hits of each failpoint in a full run
MAX_NTH = 3  # a failpoint that was hit OFTEN kills at its first, second or third passing
RUN_SECONDS = 10.0  # on average a run that passes none of its failpoints is killed by then
# From the start of a run until its failpoints are armed: when kills are ahead of plan, and when they are behind.
QUIET_SECONDS, SOON_SECONDS = (3.0, 6.0), (0.2, 1.0)
MOST_AHEAD = 5.0  # by which those times are multiplied at most
FREEZE_SECONDS, FROZEN_SECONDS = 12.0, 3 * LEASE_SECONDS  # between two freezes, and of each
CONNECTED_SECONDS, DISCONNECTED_SECONDS = 8.0, 0.5  # the provider, in turn


class RandomFaults:
    """Injects faults into a stack from `start` to `stop`.

    Kills keep pace with `done`, the part of the orders that have ended (0 to 1 and beyond): so there is work to
    interrupt from the first order to the last, also on a machine that starts processes slowly.
    """

    def __init__(
        self,
        stack: ChaosStack,
        kills: int,
        done: Callable[[], float],
        points: Mapping[str, Mapping[str, str]] = FAILPOINTS,
    ) -> None:
        self._stack = stack
        self._kills = kills
        self._done = done
        self._points = points
        self._rng = random_of(stack.seed, "weather")
        self._armed = Counter[str]()

    async def start(self) -> None:
        """Restart every process with armed failpoints, and begin to inject toxics."""
        self._stack.faults = self.faults_of
        self._stack.proxy.mix = TOXICS
        await self._stack.restart()

    async def stop(self) -> None:
        """End all faults, and restart every process without any."""
        self._stack.faults = no_faults
        self._stack.proxy.mix = {}
        await self._stack.proxy.up()
        await self._stack.restart()

    def faults_of(self, name: str, start: int) -> Mapping[str, str]:
        """The failpoints of a run: those hit least kill it; each may fail, sleep or hang with a small chance."""
        points = self._points.get(name.partition("-")[0])
        if not points:
            return {}
        rng, hits = random_of(self._stack.seed, f"{name}/{start}"), self._stack.logs.counted("kill")
        chosen = sorted(points, key=lambda point: (hits[point], self._armed[point], rng.random()))[:ARMED]
        self._armed.update(chosen)
        kills = [f"{point}:kill:{rng.randint(1, MAX_NTH) if hits[point] >= OFTEN else 1}" for point in chosen]
        ahead = self._ahead(name)
        after = rng.uniform(*QUIET_SECONDS) * min(ahead, MOST_AHEAD) if ahead > 1 else rng.uniform(*SOON_SECONDS)
        return {"FAILPOINT": ",".join([*kills, BACKGROUND]), "FAILPOINT_AFTER_SECONDS": f"{after:.2f}"}

    async def kill(self) -> None:
        """Kill processes at any moment, for ever; those whose failpoints have not killed them for long."""
        names = list(self._stack.processes)
        while True:
            await asyncio.sleep(self._rng.expovariate(len(names) / RUN_SECONDS))
            process = self._stack.processes[self._rng.choice(names)]
            if time.time() - process.started > RUN_SECONDS / 2 * min(max(self._pace(), 1), MOST_AHEAD):
                process.kill()

    async def freeze(self) -> None:
        """Stop a generation process for three leases, again and again; others take its work meanwhile."""
        names = [name for name in self._stack.processes if name.startswith("generation")]
        while True:
            await asyncio.sleep(self._rng.expovariate(1 / FREEZE_SECONDS))
            await self._stack.processes[self._rng.choice(names)].freeze(FROZEN_SECONDS)

    def _ahead(self, name: str) -> float:
        """How often a process was killed, relative to its plan; its part of the kills is that of the failpoints."""
        kind = name.partition("-")[0]
        part = len(self._points[kind]) / sum(map(len, self._points.values()))
        part /= sum(other.startswith(kind) for other in self._stack.processes)
        return self._stack.processes[name].ends / (self._kills * part * self._done())

    def _pace(self) -> float:
        """How often processes were killed, as a multiple of the plan."""
        return self._stack.ends / (self._kills * self._done())

    async def disconnect(self) -> None:
        """Refuse connections to the provider now and then."""
        while True:
            await asyncio.sleep(self._rng.expovariate(1 / CONNECTED_SECONDS))
            await self._stack.proxy.down()
            await asyncio.sleep(DISCONNECTED_SECONDS)
            await self._stack.proxy.up()
