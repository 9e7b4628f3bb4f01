"""TLS ends for tests: pumps, flights that can be changed, programs of others as peers."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from hsm_sim.certificates import lmn_certificate
from smgw_emu import profiles
from smgw_emu.bench.pki import Identity, Participant, Role, TestPki
from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.transport import tls
from smgw_emu.transport.handshake import HANDSHAKE
from smgw_emu.transport.presets import TlsIdentity, client_context, server_context

PROFILE = profiles.load()
NOW = WorldTime(1_800_000_000 * SECOND)
SUITES = {
    "ECDHE-ECDSA-AES128-SHA256": 0xC023,
    "ECDHE-ECDSA-AES256-SHA384": 0xC024,
    "ECDHE-ECDSA-AES128-GCM-SHA256": 0xC02B,
    "ECDHE-ECDSA-AES256-GCM-SHA384": 0xC02C,
}
GROUPS = {
    "P-256": 23,
    "P-384": 24,
    "brainpoolP256r1": 26,
    "brainpoolP384r1": 27,
    "brainpoolP512r1": 28,
}


@dataclass(frozen=True)
class Material:
    """Keys and certificates of a WAN: gateway and administrator."""

    pki: TestPki
    gateway: Participant
    administrator: Participant


@lru_cache
def material() -> Material:
    pki = TestPki()
    return Material(
        pki,
        pki.participant(Role.SMGW, "ETHE0399000001"),
        pki.participant(Role.GWA, "gwa1"),
    )


def identity(of: Identity) -> TlsIdentity:
    """Return an identity whose key lies in this process (as hsm_sim's lies in the module)."""
    key = of.private()

    def sign(digest: bytes) -> bytes:
        from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

        from hsm_sim.curves import DIGESTS

        return key.sign(digest, ec.ECDSA(Prehashed(DIGESTS[len(digest)])))

    chain = tuple(item.public_bytes(_DER) for item in of.chain)
    return TlsIdentity(of.certificate_der, sign, of.key_pem, chain)


from cryptography.hazmat.primitives.serialization import Encoding

_DER = Encoding.DER


def self_signed(curve: ec.EllipticCurve, *, lmn: bool = False) -> Identity:
    """Return a self-signed identity as the HAN or LMN has it."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

    from hsm_sim.curves import DIGESTS

    key = ec.generate_private_key(curve)

    def sign(digest: bytes) -> bytes:
        return key.sign(digest, ec.ECDSA(Prehashed(DIGESTS[len(digest)])))

    begin = datetime.now(UTC) - timedelta(hours=1)
    name = "ethe0399000001.sm" if lmn else "CON"
    made = lmn_certificate(bytes(9), key.public_key(), sign, begin, name)
    return Identity(x509.load_der_x509_certificate(made), (), key)


def wan_client(**more) -> tls.TlsConnection:
    """Return the gateway's end of a WAN connection, the administrator pinned."""
    made = material()
    context = client_context(
        "wan", identity(made.gateway.tls), [made.administrator.tls.certificate_der]
    )
    return tls.TlsConnection(context.context, PROFILE.wan_tls, NOW, server_side=False, **more)


def wan_server_context(
    suites: str = "ALL:@SECLEVEL=0",
    groups: str = "",
    who: Identity | None = None,
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
) -> ssl.SSLContext:
    """Return a stock server context of the standard library, as free as it can be."""
    from smgw_emu.transport import _libssl

    made = material()
    who = who or made.administrator.tls
    context = server_context("wan", identity(who), peers=[made.gateway.tls.certificate_der]).context
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = version
    context.set_ciphers(suites)
    if groups:
        _libssl.set_groups(context, groups)
    return context


class Raw:
    """A standard library end on memory buffers."""

    def __init__(self, context: ssl.SSLContext, *, server: bool, **more) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = context.wrap_bio(self.incoming, self.outgoing, server_side=server, **more)
        self.error: ssl.SSLError | None = None

    def step(self, data: bytes = b"") -> bytes:
        """Take octets, go on with the handshake, return what is to be sent."""
        if data:
            self.incoming.write(data)
        try:
            self.ssl.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.error = error
        return self.outgoing.read()


def pump(
    ours: tls.TlsConnection,
    raw: Raw,
    change: Callable[[bytes, int], bytes] = lambda flight, _number: flight,
) -> list[tls.TlsEvent]:
    """Run a handshake in memory; ``change`` may alter each flight of the other side."""
    events: list[tls.TlsEvent] = []
    number = 0
    for _ in range(8):
        flight = raw.step(ours.output())
        if flight:
            events += ours.receive(change(flight, number), NOW)
            number += 1
        if any(isinstance(event, (tls.Ended, tls.Established)) for event in events):
            break
    return events


def handshake_messages(flight: bytes) -> list[tuple[int, bytes]]:
    """Cut a plaintext flight into handshake messages."""
    data, at = b"", 0
    while at < len(flight):
        size = int.from_bytes(flight[at + 3 : at + 5], "big")
        if flight[at] == HANDSHAKE:
            data += flight[at + 5 : at + 5 + size]
        at += 5 + size
    found = []
    while data:
        size = int.from_bytes(data[1:4], "big")
        found.append((data[0], data[4 : 4 + size]))
        data = data[4 + size :]
    return found


def flight_of(messages: list[tuple[int, bytes]]) -> bytes:
    """Put handshake messages into one record each."""
    out = b""
    for kind, body in messages:
        message = bytes((kind,)) + len(body).to_bytes(3, "big") + body
        out += b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message
    return out


def with_message(kind: int, edit: Callable[[bytes], bytes]) -> Callable[[bytes, int], bytes]:
    """Return a change of one message in the first flight."""

    def change(flight: bytes, number: int) -> bytes:
        if number:
            return flight
        return flight_of(
            [(k, edit(body) if k == kind else body) for k, body in handshake_messages(flight)]
        )

    return change


def alert_of(octets: bytes) -> int | None:
    """Return the description of the plaintext fatal alert at the end, if there is one."""
    return octets[-1] if len(octets) >= 7 and octets[-7] == 0x15 and octets[-2] == 2 else None


@contextlib.contextmanager
def s_server(folder: Path, *arguments: str) -> Iterator[int]:
    """Run ``openssl s_server`` on a free port; gives the port."""
    process = subprocess.Popen(
        ["openssl", "s_server", "-accept", "127.0.0.1:0", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
    )
    try:
        text, deadline = b"", time.monotonic() + 20
        assert process.stdout is not None
        while not (found := re.search(rb"ACCEPT [^\n]*:(\d+)\n", text)):
            assert time.monotonic() < deadline, text
            select.select([process.stdout], [], [], 1)
            chunk = process.stdout.read1(4096)  # type: ignore[attr-defined]
            assert chunk, text
            text += chunk
        yield int(found[1])
    finally:
        process.kill()
        process.communicate()


def run_client(ours: tls.TlsConnection, port: int) -> list[tls.TlsEvent]:
    """Run our client's handshake against a server on loopback."""
    events = ours.start(NOW)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        while not any(isinstance(event, (tls.Ended, tls.Established)) for event in events):
            line.sendall(ours.output())
            events += ours.receive(line.recv(65_536), NOW)
        with contextlib.suppress(OSError):
            line.sendall(ours.output())
    return events


@contextlib.contextmanager
def listening(
    make: Callable[[], tls.TlsConnection],
) -> Iterator[tuple[int, list[tls.TlsConnection]]]:
    """Serve our server end on loopback from a thread; gives port and connections so far."""
    import threading

    listener = socket.create_server(("127.0.0.1", 0))
    made: list[tls.TlsConnection] = []

    def serve() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            ours = make()
            made.append(ours)
            with line, contextlib.suppress(OSError):
                line.settimeout(10)
                while not ours.over:
                    data = line.recv(65_536)
                    for event in ours.receive(data, NOW):
                        if isinstance(event, tls.Data):
                            ours.send(event.data, NOW)
                    line.sendall(ours.output())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], made
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)
