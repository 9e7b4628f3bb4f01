"""What a reading's signature covers.

The vendor's rule ("Bildungsvorschrift", IF_GW_CON A-2.6) is not public. Known from the field: 64
octets r||s (HSM-N03). The input below is this project's own, documented choice:
ASCII text, fields joined by ``;``::

    <owner>.sm ; <obis, 12 hex> ; <target> ; <capture> ; <value> ; <unit> ; <status>

Times in the form ``YYYY-MM-DDThh:mm:ssZ``; the value scaled, as a decimal number without exponent
and without trailing zeros after the point, so that it is the same with any scaler; status as the
16 hex digits of the status word with bit 1 (not for billing) cleared, because that bit belongs to
a contract and not to the value. Everything in it stands in the JSON reading, so a consumer can
check it.
"""

from __future__ import annotations

from typing import Protocol

from smgw_emu.core.status import bit, word_hex
from smgw_emu.core.values import Reading

SIGNATURE_OCTETS = 64
_NOT_FOR_BILLING = bit(1)


class ReadingSigner(Protocol):
    """Signs with the gateway's signature key (in the security module)."""

    def sign(self, message: bytes) -> bytes:
        """Return the ECDSA signature r||s over ``message``."""
        ...


def plain(value: int, scaler: int) -> str:
    """Return ``value * 10**scaler`` as a decimal number: ``1234.5``, ``120``, ``-0.01``, ``0``."""
    if scaler >= 0:
        return str(value * int(10**scaler))
    digits = str(abs(value)).rjust(1 - scaler, "0")
    whole, part = digits[:scaler], digits[scaler:].rstrip("0")
    text = f"{whole}.{part}" if part else whole
    return f"-{text}" if value < 0 else text


def signature_input(reading: Reading, owner: str) -> bytes:
    """Return the octets that are signed for ``reading`` shown with ``owner`` as owner-number."""
    status = word_hex(reading.smgw_word & ~_NOT_FOR_BILLING) + word_hex(reading.meter_word)
    fields = (
        f"{owner}.sm",
        reading.obis.hex,
        reading.target.iso(),
        reading.capture.iso(),
        plain(reading.value, reading.scaler),
        str(reading.unit),
        status,
    )
    return ";".join(fields).encode("ascii")
