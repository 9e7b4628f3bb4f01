"""Where things lie in a wired meter: COSEM addresses and how a tree path names them.

Sources: Detailspezifikation v2.0 9.3 (DS), Sagemcom BZ manual and Ostfalia code (``lmn-wired.md``
1.7), COSEM's standard objects. Clock, files and logs are "still to be defined" in the DS: their
places and layouts are our own [I], in this one table.
"""

from __future__ import annotations

from typing import NamedTuple

from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.obis import Obis

DATA, REGISTER, ADVANCED_REGISTER = 1, 3, 32770  # DS 9.2
VALUE, SCALER_UNIT, STATUS = b"\x00\x02", b"\x00\x03", b"\x00\x04"  # attributes, DS 9.3.3.2
CAPTURE_TIME = b"\x00\x04"  # DS 9.3.4.2 gives it the status' number; told apart by its type


class Place(NamedTuple):
    """An object: OBIS code, class, version of the class."""

    obis: Obis
    class_id: int = DATA
    version: int = 0

    @property
    def entry(self) -> bytes:
        """First entry of a tree path: OBIS (6), class (2), version (1)."""
        return self.obis.octets + self.class_id.to_bytes(2, "big") + bytes((self.version,))


def _data(code: str) -> Place:
    return Place(Obis.parse(code))


def read_entry(entry: bytes) -> Place:
    """Read the first entry of a tree path.

    Raises:
        RemoteProtocolError: another length.
    """
    if len(entry) != 9:
        raise RemoteProtocolError(f"a tree path begins with 9 octets, not {len(entry)}")
    return Place(Obis(entry[:6]), int.from_bytes(entry[6:8], "big"), entry[8])


def register(obis: Obis) -> Place:
    """Return the place of a register: energies are class 32770, all others 3 (DS 9.3.3.2)."""
    energy = obis.octets[0] == 1 and obis.octets[3] == 8
    return Place(obis, ADVANCED_REGISTER if energy else REGISTER)


METER_KEY = _data("01005e310004")  # DS 9.3.1.2: certificate and key
GATEWAY_CERTIFICATE = _data("01005e310008")  # DS 9.3.2.2
DEVICE_TYPE = _data("01005e310105")  # DS table 9.2
DEVICE_ID = _data("0100600100ff")
FIRMWARE = _data("010000020000")
FIRMWARE_MODULE = _data("010000020001")
HARDWARE = _data("010060320104")
HARDWARE_MODULE = _data("010060320204")
MAGNETIC_RESET = _data("01005e310104")  # DS 9.3.11.2
MECHANICAL_RESET = _data("01005e310109")
SECONDS_INDEX = _data("01005e310001")  # Sagemcom BZ
CLOCK = Place(Obis.parse("0000010000ff"), 8)  # COSEM's clock; contents [I]
FILE_BEGIN = _data("01005e310201")  # [I]
FILE_BLOCK = _data("01005e310202")  # [I]
EVENT_LOG = Place(Obis.parse("0000636200ff"), 7)  # COSEM: 0-0:99.98.0, class 7 profile generic
LOAD_PROFILE = Place(Obis.parse("0100630100ff"), 7)  # COSEM: 1-0:99.1.0

INFORMATION = (
    DEVICE_TYPE,
    DEVICE_ID,
    FIRMWARE,
    FIRMWARE_MODULE,
    HARDWARE,
    HARDWARE_MODULE,
)
DEVICE_CLASS = bytes.fromhex("8181c78260")  # DS table 9.3: FNN-Basiszaehler, then FF..6F FF
