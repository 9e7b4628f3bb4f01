"""Speed of keys and sealed content: CMS, TLS, secure messaging, wake-up; part of `make bench`."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from hsm_sim import Curve, SecurityModule
from smgw_emu.bench.pki import Identity, Role, TestPki
from smgw_emu.bench.pki.participants import pem
from smgw_emu.bench.wakeup import wakeup_packet
from smgw_emu.core.ids import DeviceId
from smgw_emu.core.instants import SECOND, DeviceTime, WorldTime
from smgw_emu.profiles import load
from smgw_emu.transport.presets import TlsIdentity, client_context
from smgw_emu.transport.tls import Established, TlsConnection
from wan.certificates import ec_key
from wan.cms import seal, unseal
from wan.wakeup import WakeupService

Rates = Callable[..., list[float]]
Row = Callable[[str, str, str, str], None]
_PREHASHED = ec.ECDSA(Prehashed(hashes.SHA256()))
_SUITE = "ECDHE-ECDSA-AES128-GCM-SHA256"
_S_TIME_SECONDS = 4


def bench_cms(row: Row, rates: Rates) -> None:
    """Seal 2 kB against the primitives it cannot do without."""
    pki = TestPki()
    smgw, gwa = pki.participant(Role.SMGW, "ETHE0399000001"), pki.participant(Role.GWA, "g")
    content = os.urandom(1000).hex().encode()
    signer, recipient = smgw.signer(), gwa.recipient()
    key = smgw.sig.private()
    message = seal(content, signer, [recipient])
    trusted, opener = smgw.trust(), gwa.opener()

    def sealing() -> int:
        seal(content, signer, [recipient], compressed=False)
        return 1

    def primitives() -> int:
        ephemeral = ec.generate_private_key(ec.BrainpoolP256R1())
        ephemeral.exchange(ec.ECDH(), recipient.key)
        secret = os.urandom(16)
        AESGCM(secret).encrypt(secret[:12], content, b"")
        aes_key_wrap(secret, secret)
        key.sign(content, ec.ECDSA(hashes.SHA256()))
        return 1

    def opening() -> int:
        unseal(message, trusted, opener)
        return 1

    mine, raw, opened = rates(sealing, primitives, opening)
    row("CMS: seal 2 kB (GCM), messages/s", f"{mine:,.0f}",
        f"{raw / mine:.2f}x the time of its primitives", "1.5x")  # fmt: skip
    row("CMS: verify and open 2 kB, messages/s", f"{opened:,.0f}", "", "")


def bench_module(row: Row, rates: Rates) -> None:
    """Sign and verify through APDUs and secure messaging; a wake-up on top."""
    with tempfile.TemporaryDirectory() as folder:
        module = SecurityModule(Path(folder) / "hsm")
        module.generate("K", Curve.BRAINPOOL_P256)
        raw_key = module._memory.key("K")
        digest = bytes(32)

        def through_module() -> int:
            module.sign_digest("K", digest)
            return 1

        def raw_sign() -> int:
            raw_key.sign(digest, _PREHASHED)
            return 1

        mine, raw = rates(through_module, raw_sign)
        row("security module: signatures/s over secure messaging", f"{mine:,.0f}",
            f"{mine / raw:.2f}x of bare signing", "1,500/s")  # fmt: skip
        _wakeup(row, rates, module)


def _wakeup(row: Row, rates: Rates, module: SecurityModule) -> None:
    gwa = TestPki().participant(Role.GWA, "g")
    device = DeviceId.parse("ETHE0399000001")
    moment = 1_800_000_000
    packet = wakeup_packet(gwa, device, moment)
    public = ec_key(gwa.sig.certificate)
    module.import_public_key("GWA", public)
    limits = msgspec.structs.replace(load().wakeup, signature_checks=10**9)
    now, device_time = WorldTime(moment * SECOND), DeviceTime(moment * SECOND)
    digest = hashlib.sha256(packet[:32]).digest()
    signature = gwa.sig.sign_digest(digest)

    def bare() -> int:
        public.verify(signature, digest, _PREHASHED)
        return 1

    def in_process(digest: bytes, der: bytes) -> bool:
        public.verify(der, digest, _PREHASHED)
        return True

    def receiving(verify: Callable[[bytes, bytes], bool]) -> Callable[[], int]:
        service = WakeupService(device, limits, verify)

        def once() -> int:
            service._accepted.clear()
            service._checks.clear()
            assert service.receive(packet, now, device_time) is None
            return 1

        return once

    service = WakeupService(device, limits, in_process)
    foreign = packet[:6] + b"\xff" + packet[7:]

    def storm() -> int:
        for _ in range(1000):
            service.receive(foreign, now, device_time)
        return 1000

    direct, secured, raw = rates(
        receiving(in_process), receiving(lambda d, s: module.verify("GWA", d, s)), bare
    )
    row("wake-up: accept a packet, packets/s", f"{direct:,.0f}",
        f"{raw / direct:.2f}x a bare verify", "1.2x")  # fmt: skip
    row("", f"{secured:,.0f} through the module", f"{raw / secured:.2f}x a bare verify", "")
    row("wake-up: drop a foreign packet, packets/s", f"{rates(storm)[0]:,.0f}", "", "")


# -- TLS -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _server(folder: Path, gwa: Identity, pki: TestPki) -> Iterator[int]:
    (folder / "gwa.pem").write_bytes(gwa.chain_pem)
    (folder / "gwa.key").write_bytes(gwa.key_pem())
    (folder / "ca.pem").write_bytes(pem(pki.root, pki.sub_ca))
    process = subprocess.Popen(
        ["openssl", "s_server", "-accept", "127.0.0.1:0", "-tls1_2", "-cipher", _SUITE, "-groups",
         "brainpoolP256r1", "-cert", "gwa.pem", "-key", "gwa.key", "-CAfile", "ca.pem", "-Verify",
         "3", "-verify_return_error", "-no_cache", "-no_ticket", "-www"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        text = b""
        assert process.stdout is not None
        while not (found := re.search(rb"ACCEPT [^\n]*:(\d+)\n", text)):
            select.select([process.stdout], [], [], 5)
            text += process.stdout.read1(4096)  # type: ignore[attr-defined]
        yield int(found[1])
    finally:
        process.kill()
        process.communicate()


def bench_tls(row: Row) -> None:
    """Mutual TLS 1.2 on brainpoolP256r1: our client and `openssl s_time` against one s_server."""
    pki = TestPki()
    smgw, gwa = pki.participant(Role.SMGW, "ETHE0399000001").tls, pki.participant(Role.GWA, "g").tls
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "smgw.pem").write_bytes(smgw.chain_pem)
        (folder / "smgw.key").write_bytes(smgw.key_pem())
        # s_time has no option for groups
        (folder / "openssl.cnf").write_text(
            "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\n"
            "Groups = brainpoolP256r1\n"
        )
        identity = TlsIdentity(smgw.certificate_der, smgw.sign_digest, smgw.key_pem)
        context = client_context("wan", identity, [gwa.certificate_der]).context
        limits = load().wan_tls
        with _server(folder, gwa, pki) as port:
            theirs = ours = 0.0
            for _ in range(3):
                theirs = max(theirs, _s_time(folder, port))
                ours = max(ours, _own(context, limits, port))
    row("mutual TLS 1.2, brainpoolP256r1, new connections/s", f"{ours:,.0f}",
        f"{ours / theirs:.2f}x openssl s_time", "0.75x")  # fmt: skip


def _s_time(folder: Path, port: int) -> float:
    done = subprocess.run(
        ["openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-new", "-time",
         str(_S_TIME_SECONDS), "-cipher", _SUITE, "-cert", "smgw.pem", "-key", "smgw.key",
         "-CAfile", "ca.pem", "-tls1_2"],
        cwd=folder, capture_output=True, text=True, check=True,
        env={**os.environ, "OPENSSL_CONF": str(folder / "openssl.cnf")},
    )  # fmt: skip
    found = re.search(r"(\d+) connections in (\d+) real seconds", done.stdout)
    assert found, done.stdout
    return int(found[1]) / int(found[2])


def _own(context: object, limits: object, port: int) -> float:
    now = WorldTime(0)
    count, begin = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < _S_TIME_SECONDS:
        connection = TlsConnection(context, limits, now, server_side=False)  # type: ignore[arg-type]
        events = connection.start(now)
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not events:
                line.sendall(connection.output())
                events = connection.receive(line.recv(65_536), now)
            assert isinstance(events[0], Established), events
            connection.close()
            line.sendall(connection.output())
        count += 1
    return count / elapsed
