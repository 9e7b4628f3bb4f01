"""What the administrator's objects work with: the core, the keys, and hooks of the shell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

from smgw_emu.core.config import GatewayConfig
from smgw_emu.core.device import Device
from smgw_emu.core.errors import SmgwError
from smgw_emu.core.firmware_port import FirmwarePort, NoFirmware
from smgw_emu.core.images import ImageStore
from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.outbox import Outbox
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.wan_profiles import Settings
from wan.admin.keys import KeyRing
from wan.cosem.documents import MethodResponse, write_response
from wan.cosem.service import Reply


def _no_order(meter: str, _order: str, _done: Callable[[str, str], None]) -> None:
    raise SmgwError(f"meter {meter} is on no bus")


def _no_proxy(_profile: str, _order: str, _done: Callable[[str, str], None]) -> None:
    raise SmgwError("this gateway has no CLS proxy")


@dataclass(slots=True)
class Facilities:
    """Everything the tree needs.

    Attributes:
        device: the core.
        keys: the gateway's WAN keys.
        outbox: messages to administrator and market.
        images: firmware images.
        now: device time.
        self_test: asks for a self-test; returns "started", "running" or "locked".
        prepare: raises ConfigError if a configuration cannot take effect (address in use).
        reconfigured: a configuration is in force: (old, new).
        settings_changed: parameters are in force: (old, new).
        read_now: queues the newest values of a contract; returns the number of messages.
        read_day: queues the daily values of a contract (TAF6); returns the number of messages.
        deadlines_moved: something is due earlier than it was.
        to_send: a message waits in the outbox.
        used_kib: size of the value store.
        dispose: the keys shall be destroyed.
        firmware: verifies, writes and activates images.
        resync: a synchronisation is ordered, whatever the deviation.
        meter_state: state of a wired meter in words, and its HDLC address, 0 for none.
        meter_order: gives a wired meter an order by name; the result comes later, (text, failure).
        proxy_channels: states of the channels of a proxy profile.
        proxy_order: opens or closes one; the result comes later, as for a meter.
    """

    device: Device
    keys: KeyRing
    outbox: Outbox
    images: ImageStore
    now: Callable[[], DeviceTime]
    self_test: Callable[[], str]
    prepare: Callable[[GatewayConfig, GatewayConfig], None] = lambda _old, _new: None
    reconfigured: Callable[[GatewayConfig, GatewayConfig], None] = lambda _old, _new: None
    settings_changed: Callable[[Settings, Settings], None] = lambda _old, _new: None
    read_now: Callable[[UsagePoint], int] = lambda _point: 0
    read_day: Callable[[UsagePoint, date], int] = lambda _point, _day: 0
    deadlines_moved: Callable[[], None] = lambda: None
    to_send: Callable[[], None] = lambda: None
    used_kib: Callable[[], int] = lambda: 0
    dispose: Callable[[], None] = lambda: None
    firmware: FirmwarePort = field(default_factory=NoFirmware)
    resync: Callable[[], None] = lambda: None
    meter_state: Callable[[str], tuple[str, int]] = lambda _meter: ("not on a bus", 0)
    meter_order: Callable[[str, str, Callable[[str, str], None]], None] = _no_order
    proxy_channels: Callable[[str], list[str]] = lambda _profile: []
    proxy_order: Callable[[str, str, Callable[[str, str], None]], None] = _no_proxy
    _waiting: dict[str, list[Reply]] = field(default_factory=dict)

    def answer_later(self, what: str, reply: Reply) -> None:
        """Remember who waits for the end of ``what``."""
        self._waiting.setdefault(what, []).append(reply)

    def forget(self, what: str) -> None:
        """Nobody will be answered after all."""
        self._waiting.pop(what, None)

    def finished(self, what: str, response: MethodResponse) -> None:
        """Put the answers of all who wait into the outbox (Anlage II 7.5)."""
        waiting = self._waiting.pop(what, [])
        for reply in waiting:
            self.outbox.add(
                "result",
                reply.contact,
                write_response(response),
                self.now(),
                about={"cid": reply.cid, "what": what},
                message_id=reply.cid,
            )
        if waiting:
            self.to_send()
