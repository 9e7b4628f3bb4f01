"""Everything around gateways in one process: PKI, administrator, market participant, consumers.

The counterparts of a demo, of tests and of fleets. All sockets and TLS are real; time is the
clock's.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from han.digest import ha1
from hsm_sim.files import write_private
from smgw_emu.bench.emt import MarketParticipant, ValueStore
from smgw_emu.bench.gwa import Administrator, DeliveryNote, Registry
from smgw_emu.bench.gwa.note import FORMAT
from smgw_emu.bench.pki import Role, TestPki, issue_consumer_key
from smgw_emu.core.config import Consumer
from smgw_emu.core.errors import SmgwError
from smgw_emu.core.instants import SECOND
from smgw_emu.gateway import Gateway
from smgw_emu.lab.access import HanAccess
from smgw_emu.lab.factory import FactoryPlan, make_gateway
from smgw_emu.profiles import DEFAULT_PROFILE, load
from smgw_emu.transport.clock import VirtualClock

T = TypeVar("T")
ADMINISTRATOR, PARTICIPANT = "gwa1", "emt1"


@dataclass(frozen=True, slots=True)
class ConsumerKit:
    """A consumer: what the gateway gets to know, and what he logs in with."""

    record: Consumer
    password: str
    p12: Path
    p12_password: str

    def access(self, gateway: Gateway) -> HanAccess:
        """Return how he reaches a gateway."""
        host, port = gateway.han_address or ("", 0)
        ca = gateway.directory / "certs" / "han.pem"
        return HanAccess(
            host, port, self.record.login, self.password, str(self.p12), self.p12_password, str(ca)
        )


class Market:
    """The counterparts.

    Args:
        clock: the virtual clock everything runs on.
        profile: firmware line of the gateways; limits of the counterparts too.
        registry, values: SQLite files of administrator and participant, ``:memory:`` by default.
        keylog: file for the counterparts' TLS secrets.
    """

    def __init__(
        self,
        clock: VirtualClock,
        profile: str = DEFAULT_PROFILE,
        registry: Path | str = ":memory:",
        values: Path | str = ":memory:",
        keylog: str = "",
    ) -> None:
        self.clock = clock
        self.profile_name = profile
        limits = load(profile)
        self.pki = TestPki(clock.now().datetime())
        self.administrator = Administrator(
            self.pki,
            self.pki.participant(Role.GWA, ADMINISTRATOR),
            Registry(registry),
            clock,
            limits,
            keylog=keylog,
        )
        self.participant = MarketParticipant(
            self.pki,
            self.pki.participant(Role.EMT, PARTICIPANT),
            clock,
            limits,
            ValueStore(values),
            keylog=keylog,
        )
        self.administrator.on_forward = lambda grid: self.participant.accept_forwarded(
            grid.envelope, grid.id
        )

    async def start(self) -> None:
        """Listen."""
        await self.administrator.start()
        await self.participant.start()

    async def stop(self) -> None:
        """Stop."""
        await self.administrator.stop()
        await self.participant.stop()
        self.administrator.registry.close()
        self.participant.store.close()

    def factory(self, directory: Path, *, noted: bool = True, **plan: Any) -> Gateway:
        """Make a gateway as a factory delivers it; its note reaches the administrator.

        Args:
            directory: its home.
            noted: whether the administrator gets the delivery note.
            plan: further fields of the factory plan.
        """
        fields = {"profile": self.profile_name} | plan
        device = make_gateway(
            directory,
            FactoryPlan(self.clock.now(), self.administrator.card(), self.pki, **fields),
        )
        if noted:
            self.administrator.import_note(DeliveryNote(FORMAT, (device,)))
        return Gateway(directory, self.clock)

    def wakeup_known(self, gateway: Gateway) -> None:
        """Tell the administrator where a running gateway takes wake-ups."""
        running = gateway.running
        if running is not None and running.wakeup is not None and running.wakeup.address:
            host, port = running.wakeup.address
            self.administrator.registry.set_wakeup(str(gateway.config.device_id), f"{host}:{port}")

    def consumer(self, gateway: Gateway, login: str = "consumer1") -> ConsumerKit:
        """Make a consumer with password and certificate for a gateway."""
        password, p12_password = secrets.token_urlsafe(12), secrets.token_urlsafe(12)
        key = issue_consumer_key(login, p12_password, self.clock.now().datetime())
        p12 = gateway.directory / f"{login}.p12"
        write_private(p12, key.pkcs12)
        realm = gateway.config.device_id.lower
        record = Consumer(
            login,
            f"{login}.sm",
            ha1(login, realm, password, "MD5"),
            ha1(login, realm, password, "SHA-256"),
            (hashlib.sha256(key.certificate).hexdigest(),),
        )
        return ConsumerKit(record, password, p12, p12_password)

    async def drive(
        self, work: Coroutine[Any, Any, T], *, limit_s: int = 3600, step: int = SECOND
    ) -> T:
        """Let time jump on until ``work`` is done; returns its result.

        Raises:
            SmgwError: it is not done within ``limit_s`` of virtual time.
        """
        task = asyncio.get_running_loop().create_task(work)
        end = self.clock.now() + limit_s * SECOND
        while not task.done():
            if self.clock.now() >= end:
                task.cancel()
                raise SmgwError(f"not done within {limit_s} s")
            await self.clock.advance(step)
        return await task
