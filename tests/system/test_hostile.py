"""Hostile peers on the live HAN server: others are served, limits hold, nothing crashes."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path

import pytest
from support import PASSWORD, Lab, run_virtual

from smgw_emu.bench.consumer import client_context
from smgw_emu.core.instants import SECOND


def address(lab) -> tuple[str, int]:
    return lab.gateway.han_address


async def served(lab) -> bool:
    async with lab.client() as client:
        return (await client.call("smgw-info"))["method"] == "smgw-info"


async def tls(lab):
    host, port = address(lab)
    return await asyncio.open_connection(host, port, ssl=client_context())


def test_half_open_connections_do_not_keep_anyone_out(home):
    """300 sockets that never speak: a real client gets in, and after 20 s they are gone."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            idle = [await asyncio.open_connection(*address(lab)) for _ in range(300)]
            await asyncio.sleep(0)
            han = lab.gateway.running.han.server
            assert len(han.connections) <= lab.gateway.profile.http.max_connections
            assert await served(lab)
            await clock.advance(21 * SECOND)
            await asyncio.sleep(0.05)
            assert not han.connections
            for _, writer in idle:
                writer.close()

    run_virtual(work)


def test_a_slow_request_is_ended_after_20_seconds(home):
    """One octet a second never becomes a request; the connection ends, others are served."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            reader, writer = await tls(lab)
            for octet in b"GET /smgw/m2m HTTP/1.1\r\n"[:19]:
                writer.write(bytes((octet,)))
                await clock.advance(SECOND)
            assert await served(lab)
            await clock.advance(2 * SECOND)
            assert await reader.read() == b""
            writer.close()

    run_virtual(work)


def test_a_slow_body_is_ended_too(home):
    """A body that never comes does not hold a connection for longer than the limit."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            reader, writer = await tls(lab)
            writer.write(b"POST /smgw/m2m HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
            await clock.advance(19 * SECOND)
            assert not reader.at_eof()
            await clock.advance(2 * SECOND)
            assert await reader.read() == b""
            writer.close()

    run_virtual(work)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000,
        b"A" * 100_000,
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 5000,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 100_000,
        b"\x00" * 1000 + b"\r\n\r\n",
    ],
)
def test_oversized_and_broken_requests_get_400_and_the_end(home, data):
    """Oversized headers and bodies, control characters: 400, closed, next client served."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            reader, writer = await tls(lab)
            writer.write(data)
            answer = await reader.read()
            writer.close()
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert await served(lab)

    run_virtual(work)


def test_plain_http_and_garbage_on_the_tls_port(home):
    """Not TLS at all: an alert or silence, then the end."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            for data in (
                b"GET / HTTP/1.1\r\n\r\n",
                os.urandom(500),
                b"\x16\x03\x01\xff\xff" + b"\0" * 70000,
            ):
                reader, writer = await asyncio.open_connection(*address(lab))
                writer.write(data)
                answer = await reader.read()
                assert answer[:1] in {b"", b"\x15"}
                writer.close()
            assert await served(lab)

    run_virtual(work)


def test_a_client_that_never_reads_is_cut_and_memory_stays_bounded(home):
    """Pipelined requests for large answers, never read: paused, then aborted."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            await clock.advance(3600 * SECOND)
            _reader, writer = await tls(lab)
            request = b"GET /smgw/m2m HTTP/1.1\r\nHost: x\r\n\r\n"
            writer.transport.pause_reading()
            for _ in range(200):
                writer.write(request * 200)
                await asyncio.sleep(0)
            han = lab.gateway.running.han.server
            buffered = [
                c._transport.get_write_buffer_size() for c in han.connections if c._transport
            ]
            assert any(c._paused for c in han.connections)
            assert all(size < 1_000_000 for size in buffered)
            assert await served(lab)
            await clock.advance(21 * SECOND)
            await asyncio.sleep(0.05)
            assert not han.connections  # the client that never read is gone
            writer.transport.abort()
            assert await served(lab)

    run_virtual(work)


def test_a_thousand_short_connections_leave_nothing_behind(home):
    """Connect, half a handshake, reset: no connection objects, no descriptors stay."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            assert await served(lab)
            gc.collect()
            before = len(list(Path("/proc/self/fd").iterdir()))
            for number in range(1000):
                _, writer = await asyncio.open_connection(*address(lab))
                writer.write(b"\x16\x03\x01\x00\x50\x01"[: number % 7])
                writer.transport.abort()
            await asyncio.sleep(0.1)
            gc.collect()
            assert not lab.gateway.running.han.server.connections
            assert len(list(Path("/proc/self/fd").iterdir())) <= before + 5
            assert await served(lab)

    run_virtual(work)


def test_twenty_parallel_clients_are_served(home):
    """C20: the default profile serves a parallel flood."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            assert all(await asyncio.gather(*(served(lab) for _ in range(20))))

    run_virtual(work)


@pytest.mark.req("HAN-14")
def test_no_credential_reaches_a_log_or_an_error(home, capfd):
    """Passwords, HA1 and keys appear nowhere: not in logbooks, program log, state or config errors."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            async with lab.client() as client:
                await client.call("smgw-info")
                with pytest.raises(Exception):
                    await client.call("nothing")
            from smgw_emu.lab.state import gateway_state

            logs = [
                lab.device.logbooks.entries(log, reader)
                for log, reader in (("system", ""), ("calibration", ""), ("consumer", "consumer1"))
            ]
            return repr(logs) + repr(gateway_state(lab.gateway)) + repr(lab.gateway.config)

    text = run_virtual(work)
    captured = capfd.readouterr()
    config = (home / "config.toml").read_text().splitlines()
    secrets = [PASSWORD, *(line.split('"')[1] for line in config if line.startswith("ha1_"))]
    assert len(secrets) == 3
    for secret in secrets:
        assert secret not in text + captured.out + captured.err


def test_a_handler_that_fails_is_a_500_not_a_dead_server(home):
    """An internal fault answers 500, is logged, and the next request is served."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            han = lab.gateway.running.han.server
            good = han.handler

            def broken(*_):
                raise ZeroDivisionError

            han.handler = broken
            reader, writer = await tls(lab)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await reader.read()
            writer.close()
            han.handler = good
            assert answer.startswith(b"HTTP/1.1 500 ")
            assert await served(lab)

    run_virtual(work)
