"""The HAN listener of a running gateway: built from the configuration, rebuilt when it changes.

Without a consumer nothing listens (HAN-05, A9). The administrator may move the interface to another
address (WAN-24): the new one is bound before the change is accepted, so a wrong address is refused
and the old one goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from han.interface import HanInterface, HanMaterial
from hsm_sim import Purpose
from hsm_sim.slots import HAN_TLS
from smgw_emu.core.config import GatewayConfig
from smgw_emu.core.device import Device
from smgw_emu.core.errors import ConfigError, SmgwError, StoreError
from smgw_emu.core.instants import WorldTime
from smgw_emu.core.selftest import SelfTestPort
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.wan_profiles import HanProfile
from smgw_emu.profiles import Profile
from smgw_emu.transport.clock import Clock
from smgw_emu.transport.http import Request, Response, Session
from smgw_emu.transport.presets import module_identity, server_context
from smgw_emu.transport.server import HttpsServer
from wan.admin import KeyRing
from wan.cms import Signer, sign
from wan.profiles import profile_format

_log = structlog.get_logger("gateway")


@dataclass(frozen=True, slots=True)
class HanParts:
    """What the listener is made of.

    Attributes:
        device, self_test: what it shows.
        keys: the gateway's keys and certificates.
        profile, clock: as everywhere.
        certificates: directory of the HAN certificate.
        keylog: file for TLS secrets.
        on_store_error: told when the store fails.
        activity: told at every request.
    """

    device: Device
    self_test: SelfTestPort
    keys: KeyRing
    profile: Profile
    clock: Clock
    certificates: Path
    keylog: str
    on_store_error: Callable[[StoreError], None]
    activity: Callable[[], None]


class HanLine:
    """The interface of one gateway."""

    def __init__(self, parts: HanParts) -> None:
        self._p = parts
        self.server: HttpsServer | None = None
        self._interface: HanInterface | None = None
        self._reserved: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None
        self.address: tuple[str, int] | None = None
        self.key_in_module = True
        self._allowed = True

    async def allow(self, allowed: bool) -> None:  # noqa: FBT001  # reads like the sentence it is
        """Listen, or close: what a secure state forbids nobody reaches (SEC-12, SEC-31)."""
        self._allowed = allowed
        if not allowed:
            self.stop_listening()
        elif self.address is None:
            await self.start()

    # -- life ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, if a consumer is configured and the HAN is not switched off.

        Raises:
            SmgwError: the address is in use.
        """
        config = self._p.device.config
        if not self._allowed or not _wanted(config):
            return
        self.server = self._make()
        host, port = _place(config)
        try:
            self.address = await self.server.start(host, port)
        except OSError as error:
            raise SmgwError(f"HAN cannot listen on {host}:{port}: {error.strerror}") from error

    async def stop(self) -> None:
        """Stop listening and let the connections end."""
        self._forget()
        if self.server is not None:
            await self.server.stop()
        self.address = None

    def stop_listening(self) -> None:
        """Stop at once; every connection ends with close_notify."""
        self._allowed = False
        self._forget()
        if self.server is not None:
            self.server.stop_listening()
        self.address = None

    def _forget(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    # -- changes ---------------------------------------------------------------------------

    def prepare(self, _old: GatewayConfig, new: GatewayConfig) -> None:
        """Bind the address a new configuration wants.

        Raises:
            ConfigError: it cannot be had.
        """
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
        if not self._allowed or not _wanted(new):
            return
        host, port = _place(new)
        if self.address is not None and self.address[0] == host:
            return
        port = self.address[1] if self.address is not None else port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # asyncio switches Nagle off only where it sees TCP named
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            listener.close()
            raise ConfigError(f"han: {host}:{port}: {error.strerror}") from error
        self._reserved = listener

    def reconfigured(self, old: GatewayConfig, new: GatewayConfig) -> None:
        """Follow a change; what was prepared takes effect."""
        if self._reserved is not None or not _wanted(new):
            self._task = asyncio.get_running_loop().create_task(self._move())
        elif old.consumer != new.consumer or old.usage_point != new.usage_point:
            self.refresh()

    def refresh(self) -> None:
        """Answer from now on with the present consumers, contracts and certificates."""
        if self._interface is not None:
            self._interface.refresh(self._material())

    async def _move(self) -> None:
        server, self.server = self.server, None
        reserved, self._reserved = self._reserved, None
        self.address = None
        if server is not None:
            await server.stop()
        if reserved is not None:
            self.server = self._make()
            with contextlib.suppress(OSError):
                self.address = await self.server.start(listener=reserved)

    # -- parts -----------------------------------------------------------------------------

    def _make(self) -> HttpsServer:
        p = self._p
        module = p.keys.module
        identity = module_identity(module, HAN_TLS, self._certificate("han.der"))
        made = server_context(p.profile.tls.preset, identity, keylog=p.keylog)
        self.key_in_module = made.key_in_module
        if not made.key_in_module:
            _log.warning("HAN TLS key loaded into the process: the key bridge does not work here")
        profile, limits = p.profile, p.device.config.han_profile
        if limits != HanProfile():
            changed = msgspec.structs.replace(
                profile.tls, idle_s=limits.idle_s, max_session_s=limits.max_session_s
            )
            profile = msgspec.structs.replace(profile, tls=changed)
        self._interface = HanInterface(
            p.device,
            self._material(),
            p.self_test,
            module.random,
            lambda: time.monotonic_ns() // 1_000_000,
        )
        return HttpsServer(made.context, profile, p.clock, self._handle, p.on_store_error)

    def _handle(self, request: Request, session: Session, now: WorldTime) -> Response | None:
        assert self._interface is not None
        self._p.activity()
        return self._interface.handle(request, session, now)

    def _material(self) -> HanMaterial:
        return HanMaterial(
            self._certificate("han.pem"), tuple(self._wan_certificates()), self._taf_profile
        )

    def _wan_certificates(self) -> list[tuple[int, bytes, bytes]]:
        keys = self._p.keys
        return [
            (number, keys.certificate(Purpose.SIG, number), keys.sub_ca(number))
            for number in keys.generations()
        ]

    def _certificate(self, name: str) -> bytes:
        path = self._p.certificates / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from error

    def _taf_profile(self, point: UsagePoint) -> bytes:
        """The evaluation profile signed with the active signature key (HSM-N04)."""
        keys, device = self._p.keys, self._p.device
        registers = device.metering.rules.of(point).terms.registers
        shown = msgspec.structs.replace(point, obis=tuple(obis.hex for obis in registers))
        signer = keys.signer()
        carried = (keys.certificate(Purpose.SIG), keys.sub_ca(keys.generation))
        document = profile_format(device.profile.m2m.profile_format).write(shown)
        return sign(document, Signer(signer.key_id, signer.sign, carried))


def _wanted(config: GatewayConfig) -> bool:
    return bool(config.consumer) and config.han_profile.enabled


def _place(config: GatewayConfig) -> tuple[str, int]:
    """Return the address to listen on; with DHCP it is the one the laboratory gives."""
    han = config.han_profile
    return (han.address if han.mode == "static" else config.han.host), config.han.port
