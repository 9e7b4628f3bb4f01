"""CLS tests: a gateway with a proxy profile, and two ends made of the standard library alone."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from support import START, run_virtual
from wan_lab import WanLab, wan_lab

from smgw_emu.bench.pki import Identity
from smgw_emu.bench.pki.cls import fingerprint, issue_cls_key
from smgw_emu.core.cls_profiles import ClsProfile, ProxyProfile

NAME = "aemt.netz"


def stdlib_context(role: int, who: Identity | None, trusted: bytes = b"") -> ssl.SSLContext:
    """Return a context of the standard library; without trust every peer is let in."""
    context = ssl.SSLContext(role)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if trusted:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=trusted)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags = ssl.VerifyFlags(context.verify_flags | 0x200000)  # lab time
    if who is not None:
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            Path(file.name).write_bytes(who.key_pem() + who.chain_pem)
            context.load_cert_chain(file.name)
    return context


class Emt:
    """An active market participant: a TLS server that records, echoes or stays silent."""

    def __init__(self, who: Identity, *, echo: bool = True) -> None:
        self.who = who
        self.echo = echo
        self.received = bytearray()
        self.opened = 0
        self.ended = 0
        self.names: list[str | None] = []
        self.peers: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> int:
        context = stdlib_context(ssl.PROTOCOL_TLS_SERVER, self.who)
        context.sni_callback = lambda _s, name, _c: self.names.append(name)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(reader, writer)

        self._server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context)
        return self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        self.writers.append(writer)
        with contextlib.suppress(OSError, ssl.SSLError):
            while data := await reader.read(65_536):
                self.received += data
                if self.echo:
                    writer.write(data)
                    await writer.drain()
        self.ended += 1
        writer.close()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self.writers:
            writer.transport.abort()
        await asyncio.sleep(0)


class SocksEnd:
    """A SOCKS-TLS client of the standard library: no code of ours."""

    def __init__(self, who: Identity | None, *, length: bool = True) -> None:
        self.context = stdlib_context(ssl.PROTOCOL_TLS_CLIENT, who)
        self.inside, self.outside = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = self.context.wrap_bio(self.inside, self.outside)
        self.length = length
        self.states: list[int] = []
        self.reader: Any = None
        self.writer: Any = None

    async def dial(self, address: tuple[str, int]) -> None:
        self.reader, self.writer = await asyncio.open_connection(*address)

    async def greet(self, methods: bytes = b"\x06") -> bytes:
        self.writer.write(bytes((5, len(methods))) + methods)
        return await self.reader.read(2)

    def frame(self, state: int, data: bytes) -> bytes:
        size = len(data).to_bytes(2, "big") if self.length else b""
        return bytes((1, state)) + size + data

    def _flush(self, state: int) -> None:
        data = self.outside.read()
        while data:
            size = 5 + int.from_bytes(data[3:5], "big")
            self.writer.write(self.frame(state, data[:size]))
            data = data[size:]

    async def _frame(self) -> bool:
        """Read one frame into TLS; False at the end of the connection."""
        try:
            head = await self.reader.readexactly(2)
            if self.length:
                size = int.from_bytes(await self.reader.readexactly(2), "big")
                data = await self.reader.readexactly(size)
            else:
                header = await self.reader.readexactly(5)
                rest = await self.reader.readexactly(int.from_bytes(header[3:], "big"))
                data = header + rest
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        assert head[0] == 1
        self.states.append(head[1])
        self.inside.write(data)
        return True

    async def handshake(self) -> None:
        while True:
            try:
                self.ssl.do_handshake()
            except ssl.SSLWantReadError:
                self._flush(1)
                if not await self._frame():
                    raise ConnectionError("closed in the handshake") from None
            else:
                self._flush(1)
                return

    def send(self, data: bytes) -> None:
        self.ssl.write(data)
        self._flush(3)

    async def recv(self, count: int = 65_536) -> bytes:
        """Return decrypted octets, b"" at the end."""
        while True:
            try:
                return self.ssl.read(count)
            except ssl.SSLWantReadError:
                if not await self._frame():
                    return b""
            except ssl.SSLZeroReturnError:
                return b""

    async def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = await self.recv(count - len(data))
            if not more:
                break
            data += more
        return data

    async def connect(self, name: str | bytes, port: int = 443) -> int:
        """Ask for a name; returns REP, -1 if the connection ended."""
        octets = name.encode() if isinstance(name, str) else name
        request = bytes((5, 1, 0, 3, len(octets) & 255)) + octets + port.to_bytes(2, "big")
        return await self.ask(request)

    async def ask(self, request: bytes) -> int:
        self.send(request)
        answer = await self.exactly(10)
        if not answer:
            return -1
        assert len(answer) == 10
        assert answer[0] == 5
        assert answer[2:] == b"\x00\x01" + bytes(6)
        return answer[1]

    def close(self) -> None:
        """Say close_notify in a closing frame."""
        with contextlib.suppress(ssl.SSLError):
            self.ssl.unwrap()
        self._flush(4)

    async def ended(self) -> bool:
        """Wait for the end of TCP."""
        while await self._frame():
            pass
        return True

    def abort(self) -> None:
        if self.writer is not None:
            self.writer.transport.abort()


class ClsLab:
    """A commissioned gateway with one CLS and one EMT."""

    def __init__(self, lab: WanLab, box: Identity, emt: Emt, port: int) -> None:
        self.lab = lab
        self.box = box
        self.emt = emt
        self.port = port
        self.ends: list[SocksEnd] = []

    async def stop(self) -> None:
        for end in self.ends:
            end.abort()
        await self.emt.stop()
        await asyncio.sleep(0)

    @property
    def clock(self) -> Any:
        return self.lab.clock

    @property
    def line(self) -> Any:
        assert self.lab.gateway.running is not None
        return self.lab.gateway.running.cls

    def set_rules(self, **changes: Any) -> None:
        self.line._legs._rules = msgspec.structs.replace(self.line.rules, **changes)

    def states(self) -> list[str]:
        return [c.state for c in self.line.states()]

    async def client(self, who: Identity | None = None) -> SocksEnd:
        end = await self.dial(who)
        assert await end.greet() == b"\x05\x06"
        await end.handshake()
        return end

    async def dial(self, who: Identity | None = None, **how: Any) -> SocksEnd:
        end = SocksEnd(who or self.box, **how)
        await end.dial(self.line.doors.addresses["socks"])
        self.ends.append(end)
        return end

    async def channel(self) -> SocksEnd:
        end = await self.client()
        assert await end.connect(NAME) == 0
        return end

    async def settle(self, condition: Callable[[], bool] = lambda: False) -> None:
        """Let octets move without letting time pass."""
        for _ in range(200):
            if condition():
                return
            await asyncio.sleep(0.002)

    async def put_urgent(self) -> None:
        """A second profile of the CLS with a higher priority, to an EMT of its own."""
        emt = self.lab.emt.wan_profile("aemt2", scenario="PROXY", sig=b"", enc=b"")
        await self.put("wan", emt)
        await self.put(
            "proxy",
            proxy_profile(self.port, name="proxy2", emt="aemt2", server_name="urgent", priority=5),
        )

    async def put(self, kind: str, record: Any) -> None:
        lab = self.lab
        await lab.market.drive((await lab.session()).put_profile(kind, record))


def cls_profile(box: Identity, **changes: Any) -> ClsProfile:
    fields = {"name": "box1", "certificates": (fingerprint(box),), "consumer": "consumer1"}
    return ClsProfile(**(fields | changes))


def proxy_profile(port: int, **changes: Any) -> ProxyProfile:
    fields = {
        "name": "proxy1", "cls": "box1", "emt": "aemt1", "server_name": NAME,
        "addresses": (f"127.0.0.1:{port}",),
    }  # fmt: skip
    return ProxyProfile(**(fields | changes))


@contextlib.asynccontextmanager
async def cls_lab(
    folder: Path, clock: Any, *, proxy: dict[str, Any] | None = None,
    cls: dict[str, Any] | None = None, echo: bool = True, key: Identity | None = None, **changes: Any,
) -> AsyncIterator[ClsLab]:  # fmt: skip
    async with wan_lab(folder, clock, **changes) as lab:
        box = key or issue_cls_key("box1", clock.now().datetime())
        emt = Emt(lab.emt.identity.tls, echo=echo)
        port = await emt.start()
        await lab.commission(
            participants=[
                lab.emt.wan_profile(),
                lab.emt.wan_profile("aemt1", scenario="PROXY", sig=b"", enc=b""),
            ],
            cls=[cls_profile(box, **(cls or {}))],
            proxies=[proxy_profile(port, **(proxy or {}))],
        )
        made = ClsLab(lab, box, emt, port)
        try:
            yield made
        finally:
            await made.stop()


def run_cls(
    folder: Path, work: Callable[[ClsLab], Awaitable[Any]], start: str = START, **changes: Any
) -> Any:
    """Run a coroutine function with a lab."""

    async def main(clock: Any) -> Any:
        async with cls_lab(folder, clock, **changes) as lab:
            return await work(lab)

    return run_virtual(main, start)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Box(Emt):
    """A CLS that is a TLS server (HKS4, HKS5): the same plain end, on a port known beforehand."""

    def __init__(self, who: Identity) -> None:
        super().__init__(who, echo=False)
        self.port = free_port()

    async def start(self, port: int = 0) -> int:
        return await super().start(port or self.port)


def put(gateway: Any, kind: str, record: Any) -> None:
    """Configure a running gateway as its administrator would, without a channel to him."""
    tree = gateway.running.wan.tree
    container = tree.profiles.container_id(kind, record)
    tree.put_container(f"{record.name}.sm", container, tree.profiles.write(kind, record))
