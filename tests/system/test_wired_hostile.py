"""Hostile meters: whatever comes inside frames, pairing, TLS or SML, the gateway goes on by name."""

from __future__ import annotations

import random

import pytest
from support import run_virtual
from wired_lab import WiredLab, rack_of, wired_gateway

from lmn.sml import encode_frame, encode_messages
from lmn.sml.bodies import (
    AttentionResponse,
    CloseResponse,
    GetProcParameterResponse,
    OpenResponse,
    Tree,
)
from lmn.sml.messages import Message
from smgw_emu.wired_line import SessionState


def run_lab(tmp_path, spoil, check=None, seconds=200):
    """Two meters; the second one is spoiled. The first must be read all the time."""

    async def main(clock):
        meters = rack_of(2, clock.now())
        home = wired_gateway(tmp_path / "gateway", meters)
        spoil(meters[1])
        async with WiredLab(home, clock, meters) as lab:
            await lab.seconds(seconds)
            good = lab.line.session(meters[0].id.lower)
            assert good is not None
            assert good.state is SessionState.READY
            assert any(m == meters[0].id.lower for m, _ in lab.device.metering.current)
            if check is not None:
                check(lab, meters[1])
            assert lab.log("pairing-failed", "meter-session-failed", "station-unasked",
                           "frame-damaged")  # fmt: skip

    run_virtual(main)


@pytest.mark.parametrize("seed", range(4))
def test_garbage_instead_of_pairing(tmp_path, seed):
    chance = random.Random(seed)

    def spoil(meter):
        meter._sym.receive = lambda _octets: chance.randbytes(chance.choice([1, 24, 25, 41, 300]))

    def check(lab, meter):
        assert lab.log("pairing-failed")
        assert not meter.memory.paired

    run_lab(tmp_path, spoil, check)


@pytest.mark.parametrize("seed", range(4))
def test_garbage_instead_of_tls(tmp_path, seed):
    chance = random.Random(seed)

    def spoil(meter):
        whole = meter._arrived

        def arrived(data, now):
            if meter.link.sap == 1:
                meter.link.send(chance.randbytes(chance.choice([1, 5, 100, 4000])))
            else:
                whole(data, now)

        meter._arrived = arrived

    def check(lab, _meter):
        assert lab.log("meter-session-failed")

    run_lab(tmp_path, spoil, check)


def _file(*bodies) -> bytes:
    parts = (OpenResponse(None, b"", b"1", b"x"), *bodies, CloseResponse())
    return encode_frame(encode_messages(Message(b"1", body) for body in parts))


WRONG = {
    "no SML at all": bytes(200),
    "half a file": _file()[:-9],
    "wrong checksum": _file()[:-1] + b"\0",
    "an empty file": _file(),
    "a short tree path": _file(GetProcParameterResponse(b"x", (b"ab",), Tree(b"ab"))),
    "no tree path": _file(GetProcParameterResponse(b"x", (), Tree(b""))),
    "an attention": _file(AttentionResponse(b"x", bytes.fromhex("8181c7c7fe02"))),
    "an odd attention": _file(AttentionResponse(b"x", b"no")),
    "another register": _file(
        GetProcParameterResponse(
            b"x",
            (bytes.fromhex("0100630800ff800200"),),
            Tree(b"", None, (Tree(b"\0\2", 5), Tree(b"\0\3", None, (Tree(b"\0\2", 30),)))),
        )
    ),
    "two files": _file() + _file(),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_to_orders(tmp_path, name):
    """Nothing of it becomes a value."""

    def spoil(meter):
        meter.server.answer = lambda _payload, _now: WRONG[name]

    async def main(clock):
        meters = rack_of(2, clock.now())
        home = wired_gateway(tmp_path / "gateway", meters)
        spoil(meters[1])
        async with WiredLab(home, clock, meters) as lab:
            await lab.seconds(200)
            known = {meter for meter, _ in lab.device.metering.current}
            assert known == {meters[0].id.lower}

    run_virtual(main)


def test_an_endless_answer_is_bounded(tmp_path):
    """A meter that never ends its SML file: the order fails, memory stays small."""

    def spoil(meter):
        start = bytes.fromhex("1b1b1b1b01010101")
        meter.server.answer = lambda _payload, _now: start + bytes(150_000)

    def check(lab, meter):
        assert not any(m == meter.id.lower for m, _ in lab.device.metering.current)

    run_lab(tmp_path, spoil, check)


def test_a_meter_that_closes_tls_at_once(tmp_path):
    def spoil(meter):
        meter.server.answer = lambda _payload, now: (
            ((meter._tls and meter._tls.close()) and b"") or b""
        )

    run_lab(tmp_path, spoil)


def test_renegotiation_and_alerts_end_the_session_by_name(tmp_path):
    """A plaintext alert in the middle of a session: ended, begun anew."""

    def spoil(meter):
        meter.server.answer = lambda _payload, now: (
            meter.link.send(b"\x15\x03\x03\0\2\2\x28") or b""
        )

    run_lab(tmp_path, spoil)


def test_what_flaps_does_not_flood_the_logs(tmp_path):
    """A meter that comes and goes for two hours, one that refuses TLS: bounded, and true at the end."""

    async def main(clock):
        meters = rack_of(2, clock.now())
        home = wired_gateway(tmp_path / "gateway", meters)
        async with WiredLab(home, clock, meters) as lab:
            await lab.seconds(20)
            meters[1].memory.certificate = b""  # not paired any more, as far as it knows
            meters[1].link.reset()
            sim = lab.rack.sim
            for number in range(120):
                sim.plug(meters[0], there=number % 2 == 1)
                await lab.seconds(60)
            events = lab.log("station-found", "station-lost", "meter-missing", "meter-there",
                             "meter-session", "meter-session-ended", "meter-session-failed")  # fmt: skip
            # six of each kind and meter in a quarter of an hour, ten kinds, eight quarters
            assert len(events) < 6 * 10 * 9
            refused = [t for t in lab.log("meter-session-failed") if meters[1].id.lower in t]
            assert len(refused) < 60
            sim.plug(meters[0], there=False)
            await lab.seconds(20 * 60)
            told = lab.log("meter-missing", "meter-there")
            assert "fehlt" in told[-1]
            sim.plug(meters[0], there=True)
            await lab.seconds(20 * 60)
            assert "wieder da" in lab.log("meter-missing", "meter-there")[-1]

    run_virtual(main)
