"""Delivery notes: what an administrator learns of devices before they call (WAN-80, GW-23).

The electronic delivery note of FNN is not public; this is our own neutral form (``wan.md`` 10 no.
9): device ids, hardware and firmware, Guetesiegel certificates.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from smgw_emu.core.errors import ConfigError, RemoteProtocolError
from smgw_emu.core.ids import DeviceId

FORMAT = "smgw-emu delivery note 1"


class NotedDevice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A device.

    Attributes:
        id: DIN 43863-5.
        model, firmware: what it is.
        tls, sig, enc, sub_ca: Guetesiegel certificates, PEM.
        wakeup: ``host:port`` of its wake-up service, "" if unknown.
        transport: of the wake-up, udp or tcp.
    """

    id: str
    model: str
    firmware: str
    tls: str
    sig: str
    enc: str
    sub_ca: str
    wakeup: str = ""
    transport: str = "udp"


class DeliveryNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A note."""

    format: str
    devices: tuple[NotedDevice, ...]


def read_note(path: Path) -> DeliveryNote:
    """Read a delivery note.

    Raises:
        ConfigError: not one.
    """
    try:
        note = msgspec.json.decode(path.read_bytes(), type=DeliveryNote)
        for device in note.devices:
            DeviceId.parse(device.id)
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError, RemoteProtocolError) as error:
        raise ConfigError(f"cannot read the delivery note {path}: {error}") from error
    if note.format != FORMAT:
        raise ConfigError(f"{path} is not a {FORMAT!r}")
    return note


def write_note(path: Path, devices: tuple[NotedDevice, ...]) -> None:
    """Write a delivery note."""
    data = msgspec.json.encode(DeliveryNote(FORMAT, devices))
    path.write_bytes(msgspec.json.format(data, indent=2) + b"\n")
