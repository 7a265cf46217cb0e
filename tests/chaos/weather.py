"""Bad weather by a seed: which failpoint a life of a process is given, who is killed when, when the line is down."""

import asyncio
from collections.abc import Callable, Mapping

from tests.chaos.points import POINTS
from tests.chaos.town import ChaosTown, dice_of

# Shares of all connections to the provider; the rest are left alone.
TOXICS: Mapping[str, float] = {
    "reset_peer": 0.03,
    "limit_data": 0.02,
    "timeout": 0.01,
    "latency": 0.03,
    "slicer": 0.03,
}
BACKGROUND = "*:error:0.002,*:sleep:0.01,*:hang:0.0002"
MAX_NTH = 3  # an armed point kills at its first, second or third passing
LIFE_SECONDS = 2.0  # a life whose point is never passed ends by then, on average
UP_SECONDS, DOWN_SECONDS = 8.0, 0.5  # of the line to the provider


class Storm:
    """Rages over a town until it is told to end."""

    def __init__(self, town: ChaosTown, kills: int, done: Callable[[], float]) -> None:
        self._town = town
        self._kills = kills
        self._done = done
        self._dice = dice_of(town.seed, "weather")
        self._armed: dict[str, int] = {point: 0 for points in POINTS.values() for point in points}

    async def begin(self) -> None:
        """Arm every process and let the toxics flow."""
        self._town.faults = self.fault_of
        self._town.proxy.mix = TOXICS
        await self._town.restart()

    async def end(self) -> None:
        """Calm: every process starts anew without a fault."""
        self._town.faults = lambda _name, _life: ""
        self._town.proxy.mix = {}
        await self._town.proxy.up()
        await self._town.restart()

    def fault_of(self, name: str, life: int) -> str:
        """The least hit point of the process kills it, if there is to be a kill by now; small faults lie everywhere."""
        points = POINTS.get(name)
        if not points:
            return ""
        if not self._due():
            return BACKGROUND
        hits = self._town.counted("kill")
        dice = dice_of(self._town.seed, f"{name}/{life}")
        chosen = min(points, key=lambda point: (hits[point], self._armed[point], dice.random()))
        self._armed[chosen] += 1
        return f"{chosen}:kill:{dice.randint(1, MAX_NTH)},{BACKGROUND}"

    async def kill(self) -> None:
        """Kill any process at any moment, for ever."""
        names = list(self._town.residents)
        while True:
            await asyncio.sleep(self._dice.expovariate(len(names) / LIFE_SECONDS))
            victim = self._town.residents[self._dice.choice(names)]
            if self._due():
                victim.kill()

    def _due(self) -> bool:
        """Kills keep pace with the orders, so that there is work to interrupt from the first to the last."""
        return self._town.deaths <= self._kills * self._done()

    async def cut(self) -> None:
        """Take the line to the provider away now and then."""
        while True:
            await asyncio.sleep(self._dice.expovariate(1 / UP_SECONDS))
            await self._town.proxy.down()
            await asyncio.sleep(DOWN_SECONDS)
            await self._town.proxy.up()
