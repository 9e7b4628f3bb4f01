"""The coordination function at work: requests of several actors become one schedule per plant.

After every change (a request, the traffic light) the whole future of the plant is decided anew and
sent to its box as a schedule, so the box follows it without another word. Nothing is sent where the
plan has not changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from smgw_emu.bench.cls.coordination import Light, Notice, Plant, Request
from smgw_emu.bench.cls.management import Action, ClsManagement
from smgw_emu.bench.cls.words import Order, Step
from smgw_emu.core.instants import SECOND, WorldTime

Key = tuple[str, str]
"""(gateway, proxy profile) of a plant."""


@dataclass(slots=True)
class Decision:
    """What a change has led to.

    Attributes:
        actor: whose request holds now, "" for nobody's.
        watts: limit now, None for none.
        action: the switching action, None where nothing had to be sent.
        notices: what actors learn by this change.
    """

    actor: str
    watts: int | None
    action: Action | None
    notices: list[Notice]


@dataclass(slots=True)
class Desk:
    """Coordinates the plants of one active EMT.

    Attributes:
        aemt: who switches.
        light: of the grid.
    """

    aemt: ClsManagement
    light: Light = Light.GREEN
    _plants: dict[Key, Plant] = field(default_factory=dict)
    _sent: dict[Key, list[tuple[WorldTime, int | None]]] = field(default_factory=dict)

    async def request(self, gateway: str, proxy: str, request: Request) -> Decision:
        """Take a request and carry out what follows.

        Raises:
            ChannelError: the plant cannot be reached.
            ValueError: the request has no span of time, or a negative limit.
        """
        key = (gateway.upper(), proxy)
        plant = self._plants.setdefault(key, Plant(self.light))
        told = len(plant.notices)
        plant.ask(request, self.aemt.clock.now())
        return await self._follow(key, told)

    async def set_light(self, light: Light) -> dict[Key, Decision]:
        """The grid has changed: decide every plant anew.

        Raises:
            ChannelError: a plant cannot be reached.
        """
        self.light = light
        now, found = self.aemt.clock.now(), {}
        for key, plant in self._plants.items():
            told = len(plant.notices)
            plant.set_light(light, now)
            found[key] = await self._follow(key, told)
        return found

    def notices(self) -> list[tuple[Key, Notice]]:
        """Return the ex-post information of all plants, oldest first (WAN-73)."""
        rows = [(key, notice) for key, plant in self._plants.items() for notice in plant.notices]
        return sorted(rows, key=lambda row: row[1].moment)

    async def _follow(self, key: Key, told: int) -> Decision:
        plant, now = self._plants[key], self.aemt.clock.now()
        plan = plant.plan(now)
        action = None
        if plan != _left_of(self._sent.get(key, []), now):
            steps = tuple(Step(max(0, (at - now) // SECOND), watts) for at, watts in plan)
            action = await self.aemt.switch(*key, Order(0, "schedule", steps=steps))
            self._sent[key] = plan
        holds = plant.decide(now)
        return Decision(
            holds.actor if holds is not None else "",
            holds.watts if holds is not None else None,
            action,
            plant.notices[told:],
        )


def _left_of(
    steps: list[tuple[WorldTime, int | None]], now: WorldTime
) -> list[tuple[WorldTime, int | None]]:
    """Return what of a plan is still to come, what holds now first."""
    past = [watts for at, watts in steps if at <= now]
    return [(now, watts) for watts in past[-1:]] + [step for step in steps if step[0] > now]
