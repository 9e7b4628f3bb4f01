"""Making legs: TLS contexts, limits, watchers, and how the two partners are reached."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from cls_proxy.rules import Grant, unreadable
from cls_proxy.socks import SocksServer
from hsm_sim.interface import KeyModule
from hsm_sim.slots import HAN_TLS
from smgw_emu.cls_line.leg import Leg, LegHandler
from smgw_emu.cls_line.reach import Plan
from smgw_emu.core.cls_profiles import emt_places, parse_place
from smgw_emu.core.device import Device
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.wan_profiles import MAX_SESSION_S, WanProfile
from smgw_emu.profiles import Profile
from smgw_emu.profiles import Tls as TlsLimits
from smgw_emu.transport import tls
from smgw_emu.transport.clock import Clock
from smgw_emu.transport.presets import (
    TlsContext,
    client_context,
    module_identity,
    server_context,
)
from smgw_emu.transport.watchers import PeerJudge, ValidityWatcher, Watchers


@dataclass(frozen=True, slots=True)
class ClsParts:
    """What the proxy works with.

    Attributes:
        device, profile, clock, keylog: as everywhere.
        module: holds the HAN key.
        certificates: directory of the HAN certificate.
        emt_context, emt_watcher: TLS towards an EMT: contexts, and who looks at its handshake.
        way: whether there is a way to the WAN.
        guard: runs a step that writes.
        activity: a transfer on the port.
        armed: deadlines have changed.
    """

    device: Device
    profile: Profile
    clock: Clock
    keylog: str
    module: KeyModule
    certificates: Path
    emt_context: Callable[[WanProfile], TlsContext]
    emt_watcher: Callable[[WanProfile, datetime | None], tls.Watcher]
    way: Callable[[], bool]
    guard: Callable[[Callable[[], None]], None]
    activity: Callable[[], None]
    armed: Callable[[], None]


class Legs:
    """Makes the legs of one gateway; a channel's own limits are :class:`Channel`'s."""

    def __init__(self, parts: ClsParts) -> None:
        self._p = parts
        self._rules = parts.profile.cls
        self._contexts: dict[str, TlsContext] = {}

    def _limits(self, of: TlsLimits, close_s: int) -> TlsLimits:
        return msgspec.structs.replace(
            of, idle_s=0, max_session_s=MAX_SESSION_S, close_s=close_s, max_octets=0
        )

    def _context(self, side: str) -> ssl.SSLContext:
        """Return the HAN context of one side, made once."""
        found = self._contexts.get(side)
        if found is None:
            p = self._p
            path = p.certificates / "han.der"
            try:
                certificate = path.read_bytes()
            except OSError as error:
                raise ConfigError(f"cannot read {path}: {error.strerror}") from error
            identity = module_identity(p.module, HAN_TLS, certificate)
            if side == "server":
                found = server_context(self._rules.preset, identity, keylog=p.keylog)
            else:
                found = client_context(self._rules.preset, identity, None, keylog=p.keylog)
            self._contexts[side] = found
        return found.context

    def valid(self) -> ValidityWatcher:
        """Return who checks the validity of a certificate against the device clock."""
        return ValidityWatcher(self._moment)

    def _moment(self) -> datetime | None:
        device = self._p.device
        return device.now(self._p.clock.now()).datetime() if device.clock.valid else None

    def visit(self, handler: LegHandler, watcher: tls.Watcher, *, by_socks: bool) -> Leg:
        """Make the leg of a CLS that connects."""
        p, rules = self._p, self._rules
        limits = self._limits(p.profile.tls, rules.socks_close_s if by_socks else rules.close_s)
        connection = tls.TlsConnection(
            self._context("server"), limits, p.clock.now(), watcher=watcher, held=True
        )
        socks = SocksServer(rules) if by_socks else None
        return Leg(p.clock, connection, limits.close_s, handler, socks=socks)

    def han_plan(self, grant: Grant, cable: Callable[[], bool]) -> Plan:
        """How the CLS of a grant is reached (HKS4, HKS5)."""
        p, cls, proxy = self._p, grant.cls, grant.proxy
        limits = self._limits(p.profile.tls, self._rules.close_s)

        def judge(certificate: bytes) -> str:
            good = hashlib.sha256(certificate).hexdigest() in cls.certificates
            return unreadable(certificate) if good else "certificate not registered"

        def make(handler: LegHandler) -> Leg:
            watcher = Watchers(PeerJudge(judge), self.valid())
            return self._client(
                self._context("client"), limits, proxy.server_name, watcher, handler
            )

        places = [parse_place(text) for text in cls.addresses]
        limit_s = p.profile.wan.connect_s
        return Plan(places, proxy.attempts, proxy.wait_s, limit_s, make, cable)

    def wan_plan(self, grant: Grant) -> Plan:
        """How the EMT of a grant is reached: TLS with the gateway's SM-PKI certificate."""
        p, emt, proxy = self._p, grant.emt, grant.proxy
        limits = self._limits(p.profile.wan_tls, self._rules.close_s)

        def make(handler: LegHandler) -> Leg:
            context = p.emt_context(emt).context
            watcher = p.emt_watcher(emt, self._moment())
            return self._client(context, limits, proxy.sni or emt.sni, watcher, handler)

        limit_s = p.profile.wan.connect_s
        return Plan(emt_places(proxy, emt), proxy.attempts, proxy.wait_s, limit_s, make, p.way)

    def _client(
        self,
        context: ssl.SSLContext,
        limits: TlsLimits,
        name: str,
        watcher: tls.Watcher,
        handler: LegHandler,
    ) -> Leg:
        clock = self._p.clock
        connection = tls.TlsConnection(
            context, limits, clock.now(), server_side=False, server_name=name, watcher=watcher,
            held=True,
        )  # fmt: skip
        return Leg(clock, connection, limits.close_s, handler, client=True)
