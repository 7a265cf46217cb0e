"""Bad weather by a seed: which failpoint a life of a process is given, who is killed when, when the line is down."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping

from tests.chaos.points import POINTS
from tests.chaos.process import calm
from tests.chaos.stack import LEASE_SECONDS, ChaosStack, dice_of

# Shares of all connections to the provider; the rest are left alone.
TOXICS: Mapping[str, float] = {
    "reset_peer": 0.03,
    "limit_data": 0.02,
    "timeout": 0.01,
    "latency": 0.03,
    "slicer": 0.03,
}
BACKGROUND = "*:error:0.002,*:sleep:0.01,*:hang:0.0002"
ARMED = 3  # the least hit points of a process, armed together, so that the rare ones get their share
OFTEN = 10  # hits of each failpoint that a full storm asks for
MAX_NTH = 3  # a point that was hit so often kills at its first, second or third passing
LIFE_SECONDS = 10.0  # a life whose point is never passed ends by then, on average
QUIET_SECONDS, HASTE_SECONDS = (
    (3.0, 6.0),
    (0.2, 1.0),
)  # before a life is in danger: its kills are ahead of plan, or behind
MOST_AHEAD = 5.0  # times as long a life at most
FREEZE_SECONDS, FROZEN_SECONDS = 12.0, 3 * LEASE_SECONDS  # between two freezes of a generation, and of each
UP_SECONDS, DOWN_SECONDS = 8.0, 0.5  # of the line to the provider


class Storm:
    """Rages over a stack until it is told to end."""

    def __init__(
        self, stack: ChaosStack, kills: int, done: Callable[[], float], points: Mapping[str, Mapping[str, str]] = POINTS
    ) -> None:
        self._stack = stack
        self._kills = kills
        self._done = done
        self._points = points
        self._dice = dice_of(stack.seed, "weather")
        self._armed = Counter[str]()

    async def begin(self) -> None:
        """Arm every process and let the toxics flow."""
        self._stack.faults = self.faults_of
        self._stack.proxy.mix = TOXICS
        await self._stack.restart()

    async def end(self) -> None:
        """Calm: every process starts anew without a fault."""
        self._stack.faults = calm
        self._stack.proxy.mix = {}
        await self._stack.proxy.up()
        await self._stack.restart()

    def faults_of(self, name: str, life: int) -> Mapping[str, str]:
        """After a quiet time the least hit points of the process kill it; small faults lie everywhere."""
        points = self._points.get(name.partition("-")[0])
        if not points:
            return {}
        dice, hits = dice_of(self._stack.seed, f"{name}/{life}"), self._stack.diary.counted("kill")
        chosen = sorted(points, key=lambda point: (hits[point], self._armed[point], dice.random()))[:ARMED]
        self._armed.update(chosen)
        kills = [f"{point}:kill:{dice.randint(1, MAX_NTH) if hits[point] >= OFTEN else 1}" for point in chosen]
        ahead = self._ahead(name)
        rest = dice.uniform(*QUIET_SECONDS) * min(ahead, MOST_AHEAD) if ahead > 1 else dice.uniform(*HASTE_SECONDS)
        return {"FAILPOINT": ",".join([*kills, BACKGROUND]), "FAILPOINT_AFTER_SECONDS": f"{rest:.2f}"}

    async def kill(self) -> None:
        """Kill processes at any moment, for ever; most often one whose failpoint lets it live on."""
        names = list(self._stack.processes)
        while True:
            await asyncio.sleep(self._dice.expovariate(len(names) / LIFE_SECONDS))
            victim = self._stack.processes[self._dice.choice(names)]
            if time.time() - victim.born > LIFE_SECONDS / 2 * min(max(self._pace(), 1), MOST_AHEAD):
                victim.kill()

    async def freeze(self) -> None:
        """Stop a generation for three leases, again and again: others take its work, and it may not write any more."""
        names = [name for name in self._stack.processes if name.startswith("generation")]
        while True:
            await asyncio.sleep(self._dice.expovariate(1 / FREEZE_SECONDS))
            await self._stack.processes[self._dice.choice(names)].freeze(FROZEN_SECONDS)

    def _ahead(self, name: str) -> float:
        """How often a process was killed, as a multiple of its plan, which keeps pace with the ends of orders.

        So there is work to interrupt from the first to the last, also on a machine that starts processes slowly. Each
        process is to have as large a part of the kills as it has of the failpoints.
        """
        kind = name.partition("-")[0]
        part = len(self._points[kind]) / sum(map(len, self._points.values()))
        part /= sum(other.startswith(kind) for other in self._stack.processes)
        return self._stack.processes[name].deaths / (self._kills * part * self._done())

    def _pace(self) -> float:
        """The same of all processes together."""
        return self._stack.deaths / (self._kills * self._done())

    async def cut(self) -> None:
        """Take the line to the provider away now and then."""
        while True:
            await asyncio.sleep(self._dice.expovariate(1 / UP_SECONDS))
            await self._stack.proxy.down()
            await asyncio.sleep(DOWN_SECONDS)
            await self._stack.proxy.up()
