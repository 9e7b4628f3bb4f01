"""The gateway hears wireless meters: receivers, acceptance, registration, status (issue: LMN-02)."""

from __future__ import annotations

import pytest
from radio_lab import run_radio, wireless
from support import world

from smgw_emu.core.instants import MILLISECOND
from smgw_emu.core.leds import leds
from smgw_emu.core.status import word_hex


@pytest.mark.req("LMN-02", "LMN-10", "LMN-N05", "H07")
@pytest.mark.parametrize("kind", ["im871a", "amb8465", "cul", "rc1180", "rtl_wmbus", "hex"])
def test_a_meter_is_heard_with_every_receiver(tmp_path, kind):
    meter = wireless()

    async def work(lab):
        (line,) = lab.running.lmn.radios
        assert line.ready, line.text
        before = meter.kind.value(lab.clock.now(), 1)
        await lab.send(meter)
        capture, value, scaler, unit = lab.current(meter)
        assert (scaler, unit) == (-3, 13)
        assert value == before
        assert lab.verdicts() == {"accepted": 1}
        (station,) = lab.reception.heard.rows()
        assert station.meter == meter.id.lower()
        expected = None if kind in {"rtl_wmbus", "hex"} else -60
        assert station.rssi == expected
        assert lab.clock.now() - world(capture.iso()) < 500 * MILLISECOND  # REQ.WMBUS.apl.40
        assert len(lab.log("meter-paired")) == 1

    run_radio(tmp_path, work, [meter], (kind,))


@pytest.mark.req("LMN-05", "HW-23", "L07")
def test_the_lamp_shows_complete_telegrams_only(tmp_path):
    meter = wireless()

    async def work(lab):
        gateway = lab.gateway
        await lab.seconds(120)

        def lit():
            return leds(gateway.lamps, lab.clock.now(), gateway.profile.leds).wmt

        frame = meter.frames(lab.clock.now())[0]
        (stick,) = lab.sticks
        report = stick.stick.hear(frame, "T", "A")
        stick.wire.write(report[: len(report) // 2])
        await lab.seconds(3)
        stick.wire.write(b"\r\n")
        broken = bytearray(report)
        broken[20] ^= 1
        stick.wire.write(bytes(broken))
        await lab.seconds(0.05)
        assert not lit()
        assert lab.verdicts() == {}
        assert lab.running.lmn.radios[0].damaged >= 1
        await lab.send(meter)
        assert lit()
        stranger = wireless("water", 77_777_777)
        await lab.seconds(1)
        assert not lit()
        await lab.send(stranger)  # complete, if not ours: LMN-05 says each
        assert lit()
        await lab.seconds(0.5)
        assert not lit()

    run_radio(tmp_path, work, [meter], ("cul",))


@pytest.mark.req("L05", "LMN-N05")
def test_a_replay_is_dropped_and_logged(tmp_path):
    meter = wireless()

    async def work(lab):
        frames = await lab.send(meter)
        first = lab.current(meter)
        await lab.seconds(10)
        await lab.air(frames)  # a repeater: silent
        assert lab.log("radio-refused") == []
        await lab.seconds(3600)
        await lab.air(frames)
        assert lab.verdicts() == {"accepted": 1, "heard twice": 1, "counter not rising": 1}
        assert lab.current(meter) == first
        (entry,) = lab.log("radio-refused")
        assert "counter 1 is not above" in entry

    run_radio(tmp_path, work, [meter])


@pytest.mark.req("L05", "LMN-N05")
def test_the_counter_survives_a_power_cut(tmp_path):
    meter = wireless()

    async def work(lab):
        frames = await lab.send(meter)
        await lab.gateway.power_off(orderly=False)
        await lab.gateway.power_on()
        await lab.seconds(5)
        await lab.air(frames)
        assert lab.verdicts() == {"counter not rising": 1}
        await lab.send(meter)
        assert lab.verdicts()["accepted"] == 1

    run_radio(tmp_path, work, [meter])


@pytest.mark.req("L06", "LMN-N05")
@pytest.mark.parametrize("security", [7, 10])
def test_a_wrong_key_gives_no_value(tmp_path, security):
    meter = wireless(security=security, mode="C")

    async def work(lab):
        await lab.air(meter.frames(lab.clock.now()), "C")
        assert lab.verdicts() == {"wrong MAC": 1}
        assert lab.current(meter) is None
        (entry,) = lab.log("radio-refused")
        assert "wrong" in entry
        assert lab.device.store.get_meta(f"lmn-counter {meter.id.lower()}") is None

    run_radio(tmp_path, work, [meter], keys={meter.id: bytes(16)})


@pytest.mark.req("LMN-N05")
def test_a_flood_of_refused_telegrams_does_not_flood_the_log(tmp_path):
    meter = wireless()

    async def work(lab):
        frame = bytearray(meter.frames(lab.clock.now())[0])
        frame[-1] ^= 1
        for _ in range(200):
            await lab.air([bytes(frame)])
        assert lab.verdicts() == {"wrong MAC": 200}
        assert len(lab.log("radio-refused")) == 6
        await lab.seconds(900)
        await lab.air([bytes(frame)])
        assert "(195 mal)" in lab.log("radio-refused")[-1]

    run_radio(tmp_path, work, [meter])


@pytest.mark.req("LMN-N05")
def test_two_receivers_hear_a_telegram_once(tmp_path):
    meter = wireless()

    async def work(lab):
        for _ in range(3):
            await lab.send(meter)
        assert lab.verdicts() == {"accepted": 3, "heard twice": 3}
        assert lab.log("radio-refused") == []

    run_radio(tmp_path, work, [meter], ("im871a", "amb8465"))


@pytest.mark.req("LMN-N05")
@pytest.mark.parametrize("security", [0, 5])
def test_values_without_authentication_are_for_the_lab_only(tmp_path, security):
    meter = wireless(security=security)

    async def refused(lab):
        await lab.send(meter)
        assert lab.verdicts() == {"no authentication": 1}
        assert lab.current(meter) is None

    run_radio(tmp_path / "conformant", refused, [meter])

    async def accepted(lab):
        await lab.until("2026-03-31T11:00:00Z")
        await lab.send(meter)
        assert lab.verdicts() == {"accepted without authentication": 1}
        await lab.seconds(900)
        (line,) = lab.stored(meter)
        assert word_hex(line.smgw_word)[0] == "e"  # bit 1: not for billing
        assert not line.repeated

    lab = {"lab": "unauthenticated = true", "point": "period_s = 3600\n"}
    run_radio(tmp_path / "lab", accepted, [meter], **lab)
