"""The administrator's side of the wake-up: make a packet, send it, say nothing more."""

from __future__ import annotations

import socket

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from smgw_emu.bench.pki import Participant
from smgw_emu.core.errors import SmgwError
from smgw_emu.core.ids import DeviceId
from wan.wakeup import ByteOrder, compose


def wakeup_packet(
    administrator: Participant,
    device: DeviceId,
    seconds: int,
    order: ByteOrder = ByteOrder.LITTLE,
) -> bytes:
    """Return a packet signed with the administrator's C_Sig.

    Args:
        administrator: the GWA, with keys.
        device: the gateway to wake.
        seconds: creation time, seconds since 1970 UTC.
        order: byte order of the timestamp.
    """

    def sign(digest: bytes) -> bytes:
        r, s = decode_dss_signature(administrator.sig.sign_digest(digest))
        size = (administrator.sig.private().key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    return compose(device, seconds, sign, order)


def send(packet: bytes, host: str, port: int, transport: str = "udp") -> None:
    """Send a packet.

    Raises:
        SmgwError: the address cannot be reached.
    """
    kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=kind)[0]
        with socket.socket(family, kind) as out:
            out.settimeout(5)
            out.connect(address)
            out.sendall(packet)
    except OSError as error:
        raise SmgwError(f"cannot send to {host}:{port} over {transport}: {error}") from error
