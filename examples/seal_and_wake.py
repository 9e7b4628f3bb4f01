"""A test PKI, a sealed message and a wake-up packet in a few lines.

Run: python examples/seal_and_wake.py
"""

from __future__ import annotations

import time

from smgw_emu.bench.pki import Role, TestPki
from smgw_emu.bench.wakeup import wakeup_packet
from smgw_emu.core.ids import DeviceId
from wan.cms import Suite, seal, unseal

GATEWAY = "ETHE0399000001"


def main() -> None:
    """Make participants, seal for two of them, open, wake the gateway up."""
    pki = TestPki()
    gateway = pki.participant(Role.SMGW, GATEWAY)
    administrator, market = pki.participant(Role.GWA, "gwa1"), pki.participant(Role.EMT, "emt1")

    values = b"<values><v t='2026-03-31T10:15:00Z'>1234.5</v></values>"
    recipients = [administrator.recipient(), market.recipient()]
    message = seal(values, gateway.signer(), recipients, Suite.CBC_CMAC)
    opened = unseal(message, gateway.trust(), market.opener())
    print(f"{len(message)} octets sealed, opened by the market: {opened.content.decode()}")

    packet = wakeup_packet(administrator, DeviceId.parse(GATEWAY), int(time.time()))
    print(f"wake-up, {len(packet)} octets: {packet.hex()}")


if __name__ == "__main__":
    main()
