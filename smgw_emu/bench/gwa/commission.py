"""Commissioning a gateway from its first call to running contracts (GW-22 to GW-24; H02 to H10).

Order of requirements GW-23 and the manual: delivery note, first contact on Guetesiegel
certificates, time, new certificates, WAN profiles with the market participants, meter profiles and
keys, pairing, consumers, evaluation profiles, a look whether all of it is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from smgw_emu.bench.gwa.server import Administrator
from smgw_emu.bench.gwa.session import GatewaySession
from smgw_emu.core.administration import Record
from smgw_emu.core.cls_profiles import ClsProfile, ProxyProfile
from smgw_emu.core.config import Consumer
from smgw_emu.core.errors import SmgwError
from smgw_emu.core.instants import SECOND
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.wan_profiles import (
    HanProfile,
    LmnProfile,
    Technician,
    WanProfile,
)
from smgw_emu.transport.clock import sleep

Say = Callable[["Step"], None]


@dataclass(frozen=True, slots=True)
class Step:
    """A step that was done.

    Attributes:
        name: of the step.
        detail: what came of it.
        world_time: when it ended.
        seconds: real time it took.
    """

    name: str
    detail: str
    world_time: str
    seconds: float


@dataclass(slots=True)
class CommissionPlan:
    """What a gateway shall be configured with.

    Attributes:
        participants: WAN profiles of market participants.
        meters: meter profiles and, by id, their master keys.
        consumers, technicians, points: as their profiles say.
        han, lmn, cls, proxies: further profiles.
        renew: whether Wirk certificates are installed first.
        pairing_s: how long to wait for the meters.
    """

    participants: list[WanProfile] = field(default_factory=list)
    meters: list[tuple[Meter, bytes]] = field(default_factory=list)
    consumers: list[Consumer] = field(default_factory=list)
    technicians: list[Technician] = field(default_factory=list)
    points: list[UsagePoint] = field(default_factory=list)
    han: list[HanProfile] = field(default_factory=list)
    lmn: list[LmnProfile] = field(default_factory=list)
    cls: list[ClsProfile] = field(default_factory=list)
    proxies: list[ProxyProfile] = field(default_factory=list)
    renew: bool = True
    pairing_s: int = 600


KINDS: dict[type[object], str] = {
    WanProfile: "wan",
    Meter: "meter",
    Consumer: "consumer",
    Technician: "technician",
    UsagePoint: "usage-point",
    HanProfile: "han",
    LmnProfile: "lmn",
    ClsProfile: "cls",
    ProxyProfile: "proxy",
}


class Commissioning:
    """One gateway's commissioning.

    Args:
        administrator: who does it.
        device: id of the gateway.
        plan: what with.
        say: told of every step.
    """

    def __init__(
        self,
        administrator: Administrator,
        device: str,
        plan: CommissionPlan,
        say: Say = lambda _step: None,
    ) -> None:
        self._gwa = administrator
        self._device = device.upper()
        self._plan = plan
        self._say = say
        self._begun = time.perf_counter()
        self.steps: list[Step] = []

    def _done(self, name: str, detail: str = "") -> None:
        now = time.perf_counter()
        moment = self._gwa.clock.now().iso()
        step = Step(name, detail, moment, round(now - self._begun, 3))
        self._begun = now
        self.steps.append(step)
        self._gwa.note(self._device, "commissioning", name, detail)
        self._say(step)

    async def run(self) -> list[Step]:
        """Do all of it.

        Raises:
            SmgwError: a step failed; its text names the reason.
        """
        known = self._gwa.registry.device(self._device)
        self._done("delivery note", known.id)
        session = await self._gwa.session(self._device)
        info = await session.info()
        self._done("first contact", f"{info['model']} {info['firmware']}")
        await self._time(session)
        if self._plan.renew:
            session = await self._certificates(session)
        await self._put(session, "market participants", self._plan.participants)
        await self._put(session, "meter profiles", [meter for meter, _ in self._plan.meters])
        await self._put(session, "LMN profiles", self._plan.lmn)
        await self._pairing(session)
        await self._put(session, "consumer access", self._plan.consumers)
        await self._put(session, "technicians", self._plan.technicians)
        plan = self._plan
        others: list[Record] = [*plan.han, *plan.cls, *plan.proxies]
        await self._put(session, "other profiles", others)
        await self._put(session, "evaluation profiles", self._plan.points)
        await self._check(session)
        self._gwa.registry.set_state(self._device, "commissioned")
        return self.steps

    async def _time(self, session: GatewaySession) -> None:
        for _ in range(60):
            clock = await session.clock()
            if clock["status"] == 0 and clock["last_synchronisation"]:
                self._done("time", f"synchronised {clock['last_synchronisation']}")
                return
            await sleep(self._gwa.clock, 2 * SECOND)
        raise SmgwError(f"{self._device} has no valid time")

    async def _certificates(self, session: GatewaySession) -> GatewaySession:
        triple = await session.new_certificates(self._gwa.pki)
        known = self._gwa.registry.device(self._device)
        self._gwa.registry.set_certificates(self._device, known.generation + 1, triple)
        session = await self._gwa.next_session(self._device)
        info = await session.info()
        if info["generation"] != known.generation + 1:
            raise SmgwError(f"{self._device} still uses generation {info['generation']}")
        self._done("certificates", f"Wirk set {info['generation']} in use")
        return session

    async def _put(self, session: GatewaySession, title: str, profiles: Sequence[Record]) -> None:
        if not profiles:
            return
        keys = {meter.id: key for meter, key in self._plan.meters if key}
        for record in profiles:
            secrets = {}
            if isinstance(record, Meter) and record.id in keys:
                secrets = {"master_key": keys[record.id]}
            await session.put_profile(KINDS[type(record)], record, secrets)
        self._done(title, ", ".join(_name(record) for record in profiles))

    async def _pairing(self, session: GatewaySession) -> None:
        wanted = {meter.key for meter, _ in self._plan.meters}
        if not wanted:
            return
        waited = 0
        while True:
            heard = {str(item.value) for item in (await session.info())["meters"]}
            if wanted <= heard:
                break
            if waited >= self._plan.pairing_s:
                missing = ", ".join(sorted(wanted - heard))
                raise SmgwError(f"{self._device} does not hear {missing}")
            await sleep(self._gwa.clock, 10 * SECOND)
            waited += 10
        self._done("pairing", ", ".join(sorted(wanted)))

    async def _check(self, session: GatewaySession) -> None:
        found = 0
        records: list[Record] = [*self._plan.participants, *self._plan.points]
        for record in records:
            body = await session.get_profile(KINDS[type(record)], record)
            found += bool(body)
        info = await session.info()
        self._done("check", f"{found} profiles read back, state {info['state']}")


def _name(record: Record) -> str:
    for field_name in ("name", "login", "id", "meter", "mode"):
        if hasattr(record, field_name):
            return str(getattr(record, field_name))
    return ""
