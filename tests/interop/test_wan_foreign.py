"""The gateway's WAN against programs others wrote: openssl s_server, curl, openssl cms."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import subprocess
import time

import pytest
from support import own_profile, world
from wan_lab import METER, SCHEMA, run_lab

from smgw_emu.bench.gwa import AdministratorCard
from smgw_emu.bench.pki import Role, TestPki, der
from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.gateway import Gateway
from smgw_emu.lab.factory import FactoryPlan, make_gateway
from smgw_emu.transport.clock import VirtualClock, new_event_loop
from wan.certificates import ec_key, key_id, load
from wan.cms import Trust, unseal
from wan.cosem.data import Data, octets, text
from wan.cosem.documents import (
    Container,
    CosemObject,
    read_object_document,
    write_attribute,
    write_container,
)
from wan.cosem.media import SEALED, XML

OPENSSL = shutil.which("openssl") or ""
CURL = shutil.which("curl") or ""
PLAIN = '[wan]\ncontent_protection = "optional"\n'


def pem(certificate):
    return ssl.DER_cert_to_PEM_cert(der(certificate))


class Foreign:
    """A gateway of this process whose administrator is somebody else's program."""

    def __init__(self, folder, *, plain=False):
        self.folder = folder
        self.now = WorldTime(time.time_ns())
        self.pki = TestPki(self.now.datetime())
        self.gwa = self.pki.participant(Role.GWA, "gwa1")
        self.plain = plain
        (folder / "gwa.pem").write_bytes(self.gwa.tls.chain_pem)
        (folder / "gwa.key").write_bytes(self.gwa.tls.key_pem())
        (folder / "root.pem").write_text(pem(self.pki.root) + pem(self.pki.sub_ca))

    def make(self, port):
        card = AdministratorCard(
            "somebody", pem(self.gwa.tls.certificate), pem(self.gwa.sig.certificate),
            pem(self.gwa.enc.certificate), (f"https://127.0.0.1:{port}",), ("https://127.0.0.1:1/gwa",),
        )  # fmt: skip
        home = self.folder / "gw"
        self.noted = make_gateway(home, FactoryPlan(self.now, card, self.pki, time_valid=True))
        if self.plain:
            own_profile(home, PLAIN)
        self.host = f"{self.noted.id.lower()}.sm"
        return home


def run_real(work):
    """Run on a clock that goes with real time: foreign programs have no other."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(asyncio.wait_for(work(), 60))


def clock_of(foreign, speed=1):
    return VirtualClock(asyncio.get_running_loop(), foreign.now, speed)


async def free_port():
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    return port


@pytest.mark.skipif(not OPENSSL, reason="openssl is not installed")
def test_openssl_s_server_is_a_head_end_the_gateway_talks_to(tmp_path):
    """WAN-N04, WAN-N05: s_server asks over its standard input, openssl cms verifies the answer."""

    async def work():
        foreign = Foreign(tmp_path)
        port = await free_port()
        home = foreign.make(port)
        server = await asyncio.create_subprocess_exec(
            OPENSSL, "s_server", "-accept", f"127.0.0.1:{port}", "-cert", "gwa.pem", "-key", "gwa.key",
            "-Verify", "3", "-verify_return_error", "-CAfile", "root.pem", "-tls1_2", "-groups", "brainpoolP256r1",
            "-client_sigalgs", "ECDSA+SHA256", "-quiet",
            cwd=tmp_path, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await asyncio.sleep(0.5)
        gateway = Gateway(home, clock_of(foreign))
        await gateway.power_on()
        path = f"/smgw/cosem/ldevs/{foreign.host}/objects/65001-0000608000ff"
        while gateway.running.wan.lines["gwa-management"].stream is None:
            await asyncio.sleep(0.05)
        server.stdin.write(f"GET {path} HTTP/1.1\r\nHost: {foreign.host}\r\n\r\n".encode())
        await server.stdin.drain()
        out = b""
        while b"\r\n\r\n" not in out:
            out += await server.stdout.read(65536)
        head, _, body = out.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(body) < length:
            body += await server.stdout.read(65536)
        await gateway.power_off()
        server.kill()
        await server.wait()
        assert head.startswith(b"HTTP/1.1 200 OK") and SEALED.encode() in head
        assert b"content-encoding: deflate" in head.lower()
        (tmp_path / "answer.cms").write_bytes(body)
        sig = tmp_path / "sig.pem"
        sig.write_text(foreign.noted.sig)
        verified = subprocess.run(
            [OPENSSL, "cms", "-verify", "-inform", "DER", "-in", "answer.cms", "-certfile", "sig.pem",
             "-CAfile", "root.pem", "-purpose", "any", "-binary", "-out", "inner.der"],
            cwd=tmp_path, capture_output=True,
        )  # fmt: skip
        assert verified.returncode == 0, verified.stderr
        certificate = load(sig.read_bytes())
        opened = unseal(body, {key_id(certificate): Trust(der(certificate))}, foreign.gwa.opener())
        item = read_object_document(opened.content)
        assert item.attributes[2] == text(foreign.noted.id)
        assert ec_key(certificate).curve.name == "brainpoolP256r1"

    run_real(work)


class Terminator:
    """A TLS terminator of the standard library: gateways on one side, plain clients on the other."""

    def __init__(self, foreign):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_ecdh_curve("brainpoolP256r1")
        self.context.load_cert_chain(foreign.folder / "gwa.pem", foreign.folder / "gwa.key")
        self.context.load_verify_locations(foreign.folder / "root.pem")
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.gateway = None

    async def start(self):
        self.inner = await asyncio.start_server(self._gateway, "127.0.0.1", 0, ssl=self.context)
        self.outer = await asyncio.start_server(self._client, "127.0.0.1", 0)
        return tuple(s.sockets[0].getsockname()[1] for s in (self.inner, self.outer))

    async def _gateway(self, reader, writer):
        self.gateway = (reader, writer)

    async def _client(self, reader, writer):
        while self.gateway is None or self.gateway[0].at_eof():
            await asyncio.sleep(0.02)
        theirs = self.gateway

        async def pump(source, sink):
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()

        back = asyncio.ensure_future(pump(theirs[0], writer))
        await pump(reader, theirs[1])
        back.cancel()
        writer.close()

    def close(self):
        self.inner.close()
        self.outer.close()
        if self.gateway:
            self.gateway[1].transport.abort()


async def behind_terminator(tmp_path, work, *, plain=True):
    foreign = Foreign(tmp_path, plain=plain)
    terminator = Terminator(foreign)
    inner, outer = await terminator.start()
    gateway = Gateway(foreign.make(inner), clock_of(foreign, 1 if plain else 20))
    await gateway.power_on()
    try:
        return await work(foreign, gateway, outer)
    finally:
        await gateway.power_off()
        terminator.close()


@pytest.mark.skipif(not CURL, reason="curl is not installed")
def test_curl_reads_and_writes_the_tree_through_a_terminator(tmp_path):
    """WAN-N05: GET, PUT, Range, DELETE, POST of a client nobody here wrote."""

    async def work(foreign, gateway, port):
        base = f"http://127.0.0.1:{port}"
        root = f"/smgw/cosem/ldevs/{foreign.host}"

        async def curl(*arguments, path=root):
            process = await asyncio.create_subprocess_exec(
                CURL, "-s", "-i", "--max-time", "10", "--noproxy", "*", "-H", f"Host: {foreign.host}",
                "-H", f"Accept: {XML}", *arguments, base + path,
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, _ = await process.communicate()
            head, _, body = out.partition(b"\r\n\r\n")
            while head.startswith(b"HTTP/1.1 100"):
                head, _, body = body.partition(b"\r\n\r\n")
            return int(head.split()[1]), head.decode().lower(), body

        status, head, body = await curl()
        assert status == 200 and XML in head
        SCHEMA.validate(body.decode())
        item = Container(
            "01005e318002",
            (
                CosemObject(
                    65010,
                    0,
                    "01005e318002",
                    {2: text(METER), 3: Data("array", (octets(bytes.fromhex("0100010800ff")),))},
                ),
            ),
        )
        document = tmp_path / "meter.xml"
        document.write_bytes(write_container(item))
        where = f"/smgw/cosem/ldevs/{METER.lower()}.sm/containers/65010-01005e318002"
        put = ("-X", "PUT", "-H", f"Content-Type: {XML}", "--data-binary")
        assert (await curl(*put, f"@{document}", path=where))[0] == 201
        assert (await curl(*put, f"@{document}", path=where))[0] == 204
        assert gateway.running.device.config.meter[0].id == METER
        status, head, whole = await curl(path=where)
        assert status == 200 and whole == document.read_bytes()
        status, head, part = await curl("-r", "10-19", path=where)
        assert status == 206 and part == whole[10:20] and f"bytes 10-19/{len(whole)}" in head
        (tmp_path / "bad.xml").write_bytes(b"<!DOCTYPE a [<!ENTITY b 'x'>]><a>&b;</a>")
        status, _, said = await curl(*put, f"@{tmp_path / 'bad.xml'}", path=where)
        assert status == 422 and b"DTD" in said
        (tmp_path / "value.xml").write_bytes(write_attribute(2, Data("double-long-unsigned", 4096)))
        settings = f"{root}/objects/65002-0000608001ff/attributes/2"
        assert (await curl(*put, f"@{tmp_path / 'value.xml'}", path=settings))[0] == 204
        assert gateway.running.device.administration.settings.value_limit_kib == 4096
        assert (await curl("-X", "DELETE", path=where))[0] == 204
        assert (await curl(path=where))[0] == 404
        assert (await curl("-X", "OPTIONS"))[0] == 501
        assert (await curl("-H", "Accept: text/html"))[0] in {200, 406}
        assert (await curl(path="/smgw/cosem/ldevs/foreign.sm"))[0] == 404

    run_real(lambda: behind_terminator(tmp_path, work))


RAW = {
    "a header of 9 kB": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 200) for n in range(45)) + b"\r\n", 431),
    "a field of 300 octets": (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 300 + b"\r\n\r\n", 431),
    "a body of 100 MiB": (b"PUT /smgw/cosem HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n", 413),
    "a URI of 4100 octets": (b"GET /" + b"a" * 4100 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "HTTP 1.0": (b"GET / HTTP/1.0\r\nHost: x\r\n\r\n", 505),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "no HTTP": (b"\x00\x01\x02\r\n\r\n", 400),
    "a wrong host": (b"GET /smgw/cosem HTTP/1.1\r\nHost: somebody-else\r\n\r\n", 403),
    "pipelined garbage after a request": (b"GET /smgw/cosem HTTP/1.1\r\nHost: x\r\n\r\n\xff\xff", 403),
}  # fmt: skip


@pytest.mark.parametrize("name", RAW)
def test_hostile_requests_get_their_status_and_the_service_goes_on(tmp_path, name):
    """Issue 6, bad input: documented status, nothing applied, the channel comes back."""
    octets_, status = RAW[name]

    async def work(foreign, gateway, port):
        before = gateway.running.device.config
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(octets_)
        line = await asyncio.wait_for(reader.readline(), 10)
        assert line.split()[1] == str(status).encode(), line
        writer.close()
        assert gateway.running.device.config == before
        line_ = gateway.running.wan.lines["gwa-management"]
        for _ in range(200):
            if line_.stream is not None and not line_.stream.tls.over:
                return
            await asyncio.sleep(0.1)
        raise AssertionError("the channel did not come back")

    run_real(lambda: behind_terminator(tmp_path, work, plain=False))


@pytest.mark.skipif(not OPENSSL, reason="openssl is not installed")
def test_openssl_verifies_a_captured_delivery(tmp_path):
    """WAN-N06: what a market participant really got, with the certificate it carries."""

    async def work(lab):
        captured = []
        push = lab.emt._push
        lab.emt._push = lambda request, certificate: (
            captured.append(request.body) or push(request, certificate)
        )
        await lab.commission()
        session = await lab.session()
        await lab.market.drive(session.read_now(lab.device.config.usage_point[0].name))
        await lab.until(lambda: lab.emt.received == 1)
        (tmp_path / "d.cms").write_bytes(captured[0])
        (tmp_path / "root.pem").write_text(pem(lab.market.pki.root) + pem(lab.market.pki.sub_ca))
        verify = [OPENSSL, "cms", "-verify", "-inform", "DER", "-in", "d.cms", "-CAfile", "root.pem",
                  "-purpose", "any", "-binary", "-out", "inner.der", "-attime", str(world("2026-03-31T10:05:00Z").seconds)]  # fmt: skip
        result = subprocess.run(verify, cwd=tmp_path, capture_output=True)
        assert result.returncode == 0, result.stderr
        parsed = subprocess.run(
            [OPENSSL, "asn1parse", "-inform", "DER", "-in", "inner.der"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert parsed.returncode == 0 and "id-smime-ct-compressedData" in parsed.stdout
        flipped = bytearray(captured[0])
        flipped[len(flipped) // 2] ^= 1
        (tmp_path / "d.cms").write_bytes(flipped)
        assert subprocess.run(verify, cwd=tmp_path, capture_output=True).returncode != 0

    run_lab(tmp_path, work)


_ = SECOND
