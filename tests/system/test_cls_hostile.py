"""The CLS proxy under load and bad input: defined ends, bounded memory, others unaffected."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import ssl
import tracemalloc

import msgspec
import pytest
from cls_lab import NAME, run_cls, stdlib_context

from smgw_emu.core.instants import MINUTE, SECOND

MIB = 1 << 20


async def by_name(lab):
    context = stdlib_context(ssl.PROTOCOL_TLS_CLIENT, lab.box)
    place = lab.line.doors.addresses["tls"]
    return await asyncio.open_connection(*place, ssl=context, server_hostname=NAME)


@pytest.mark.req("K12", "HAN-62")
def test_a_hundred_mebibytes_in_both_directions_at_once(tmp_path):
    """Byte-exact, with random stalls on both ends; the gateway keeps no copy of it."""
    size = 100 * MIB
    block = random.Random(1).randbytes(MIB)

    async def pump(writer, seed):
        chance = random.Random(seed)
        for _ in range(size // MIB):
            cut = chance.randrange(1, MIB)
            writer.write(block[:cut])
            writer.write(block[cut:])
            await writer.drain()
            if chance.random() < 0.1:
                await asyncio.sleep(0.005)

    async def drink(reader, seed):
        chance, total, count = random.Random(seed), hashlib.sha256(), 0
        while count < size:
            data = await reader.read(chance.choice([1000, 65_536, 1_000_000]))
            if not data:
                break
            total.update(data)
            count += len(data)
            if chance.random() < 0.002:
                await asyncio.sleep(0.02)
        return count, total.hexdigest()

    async def work(lab):
        theirs = asyncio.get_running_loop().create_future()

        async def serve(reader, writer):
            theirs.set_result((reader, writer))
            await asyncio.Event().wait()

        lab.emt._serve = serve
        await lab.emt.stop()
        await lab.emt.start(lab.port)
        reader, writer = await by_name(lab)
        far_reader, far_writer = await theirs
        most = 0

        async def watch():
            nonlocal most
            while True:
                (channel,) = lab.line.channels
                most = max(most, channel.han.waiting, channel.wan.waiting)
                await asyncio.sleep(0.01)

        watcher = asyncio.ensure_future(watch())
        *_, up, down = await asyncio.gather(
            pump(writer, 1), pump(far_writer, 2), drink(far_reader, 3), drink(reader, 4)
        )
        watcher.cancel()
        wanted = hashlib.sha256()
        for _ in range(size // MIB):
            wanted.update(block)
        assert up == down == (size, wanted.hexdigest())
        assert most < 2 * MIB
        (shown,) = lab.line.states()
        assert (shown.up, shown.down) == (size, size)
        writer.close()
        await lab.settle(lambda: not lab.line.channels)

    run_cls(tmp_path, work)


def test_an_emt_that_never_reads(tmp_path):
    """The CLS is held back, the memory stays where it is, other channels go on."""

    async def work(lab):
        async def serve(reader, writer):
            lab.emt.writers.append(writer)
            reader._transport.pause_reading()
            await asyncio.Event().wait()

        echo, lab.emt._serve = lab.emt._serve, serve
        await lab.emt.stop()
        await lab.emt.start(lab.port)
        _, deaf = await by_name(lab)
        await lab.settle(lambda: lab.states() == ["open"])
        lab.emt._serve = echo
        for _ in range(200):
            deaf.write(bytes(MIB // 8))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(deaf.drain(), 0.01)
        (channel,) = lab.line.channels
        assert channel.wan.waiting < 2 * MIB
        assert channel.passed.up < 12 * MIB  # what the kernel's buffers took
        end = await lab.channel()
        end.send(b"still here")
        assert await end.exactly(10) == b"still here"
        deaf.transport.abort()
        await lab.settle()

    run_cls(tmp_path, work)


def test_one_of_two_channels_is_reset(tmp_path):
    """The other one does not notice."""

    async def work(lab):
        one, two = await lab.channel(), await lab.channel()
        for number in range(20):
            two.send(f"{number:04}".encode() * 1000)
            if number == 10:
                one.send(b"x" * 100_000)
                one.abort()
            assert await two.exactly(4000) == f"{number:04}".encode() * 1000
        await lab.settle(lambda: len(lab.line.channels) == 1)
        assert lab.states() == ["open"]

    run_cls(tmp_path, work)


def test_five_hundred_half_open_clients(tmp_path):
    """The oldest makes room; who waits longer than 10 s is dropped; a CLS is served all the time."""

    async def work(lab):
        place = lab.line.doors.addresses["socks"]
        idle = []
        for number in range(500):
            reader, writer = await asyncio.open_connection(*place)
            if number % 2:
                writer.write(b"\x05")
            idle.append((reader, writer))
        await lab.settle()
        assert len(lab.line.visitors) == lab.line.rules.max_waiting
        end = await lab.channel()
        end.send(b"served")
        assert await end.exactly(6) == b"served"
        await lab.clock.advance(11 * SECOND)
        assert not lab.line.visitors
        for reader, writer in idle:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.transport.abort()
        readings = lab.lab.device.store.execute("SELECT count(*) FROM reading")[0][0]
        await lab.clock.advance(16 * MINUTE)
        assert lab.lab.device.store.execute("SELECT count(*) FROM reading")[0][0] > readings
        end.send(b"and now")
        assert await end.exactly(7) == b"and now"
        assert lab.lab.logged("abgewiesen") <= lab.line.rules.max_refused_log

    run_cls(tmp_path, work)


GREETING, HELLO = b"\x05\x01\x06", b"\x01\x01\x00\x05\x16\x03\x01\x00\x00"
JUNK = [
    b"\x00", b"\xff" * 100, b"GET / HTTP/1.1\r\n\r\n", b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00",
    b"\x05\xff" + bytes(255), GREETING + b"\x02", GREETING + b"\x01\x03\x00\x01x",
    GREETING + b"\x01\x05", GREETING + HELLO, GREETING + b"\x01\x01\xff\xff" + bytes(65_535),
    GREETING + b"\x01\x01\x00\x07\x15\x03\x03\x00\x02\x02\x28", GREETING + b"\x01\x04\x00\x00",
    GREETING + GREETING,
]  # fmt: skip


@pytest.mark.parametrize("junk", JUNK)
def test_junk_on_the_port(tmp_path, junk):
    """The connection ends, at the latest after 10 s; nothing is opened, nothing is kept."""

    async def work(lab):
        reader, writer = await asyncio.open_connection(*lab.line.doors.addresses["socks"])
        writer.write(junk)
        await lab.settle()
        await lab.clock.advance(31 * SECOND)
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 5)
        writer.transport.abort()
        assert not lab.line.visitors
        assert lab.emt.opened == 0
        await (await lab.channel()).reader.read(0)

    run_cls(tmp_path, work)


def test_junk_after_the_request(tmp_path):
    """Broken frames in the data flow end that channel and close the EMT's leg."""

    async def work(lab):
        for junk in (b"\x01\x01\x00\x01x", b"\x02\x03", b"\x01\x03\x00\x05\x17\x03\x03\x00\x00",
                     b"\x01\x03\x00\x07\x17\x03\x03\x00\x02ab"):  # fmt: skip
            end = await lab.channel()
            other = await lab.channel()
            end.writer.write(junk)
            await end.ended()
            await lab.settle(lambda: len(lab.line.channels) == 1)
            other.send(b"x")
            assert await other.exactly(1) == b"x"
            other.close()
            await other.ended()
            await lab.settle(lambda: not lab.line.channels)
            await lab.clock.advance(MINUTE)
        assert lab.emt.ended == 8

    run_cls(tmp_path, work)


def test_fifty_channels_need_little_memory(tmp_path):
    """50 at once with traffic: below 100 MiB for all of them, the two test ends included."""

    async def work(lab):
        lab.line.rules = msgspec.structs.replace(lab.line.rules, max_per_cls=64)
        tracemalloc.start()
        ends = [await lab.channel() for _ in range(50)]
        for end in ends:
            end.send(bytes(40_000))
        for end in ends:
            assert len(await end.exactly(40_000)) == 40_000
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(lab.states()) == 50
        assert peak < 100 * MIB

    run_cls(tmp_path, work)


def test_who_wins_where_there_is_no_room(tmp_path):
    """T18 CLS-Proxy Prioritaet: the lower gives way, the same does not."""

    async def work(lab):
        limit = lab.line.rules.max_per_cls
        ends = [await lab.channel() for _ in range(limit)]
        late = await lab.client()
        assert await late.connect(NAME) == 5
        await lab.put_urgent()
        urgent = await lab.client()
        assert await urgent.connect("urgent") == 0
        assert len(lab.states()) == limit
        assert await ends[-1].recv() == b""

    run_cls(tmp_path, work)
