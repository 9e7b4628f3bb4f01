"""A gateway and its wired meters: LMN-01 to LMN-22, LMN-N01 to N04, L01-L04, L08-L13."""

from __future__ import annotations

import pytest
from support import START, own_profile, run_virtual, world
from wired_lab import (
    PROFILE,
    SEED,
    WiredLab,
    contracts,
    keys_of,
    ordered,
    origin,
    put_keys,
    rack_of,
    ready,
    run_lab,
    wired_gateway,
)

from lmn.bus import TroubleKind
from lmn.sml.answers import registers
from lmn.sml.orders import (
    read_information,
    read_registers,
    reset_tamper,
)
from smgw_emu.bench.bus import Faults
from smgw_emu.bench.consumer import HanClient, client_context
from smgw_emu.bench.meters import ElectricityMeter
from smgw_emu.bench.meters.wired.registers import FATAL, MAGNETIC, MECHANICAL
from smgw_emu.core.instants import SECOND
from smgw_emu.core.leds import leds
from smgw_emu.core.obis import ACTIVE_ENERGY_EXPORT, ACTIVE_ENERGY_IMPORT
from smgw_emu.core.status import word_hex
from smgw_emu.lab.access import read_access
from smgw_emu.lab.state import gateway_state

# -- values ----------------------------------------------------------------------------------------


@pytest.mark.req("LMN-01")
@pytest.mark.req("LMN-03")
@pytest.mark.req("LMN-07")
@pytest.mark.req("LMN-09")
@pytest.mark.req("LMN-11")
def test_values_of_every_reference_meter_reach_the_consumer(tmp_path):
    """Allocation, pairing, TLS, SML, registration, signature, HAN: the values are the meters'."""

    async def work(lab):
        await lab.seconds(2 * 900 + 60)
        assert ready(lab) == keys_of(lab.meters)
        assert len({m.registers.model.name for m in lab.meters}) == 5
        han = read_access(lab.home).han
        url = "https://{}:{}".format(*lab.gateway.han_address)
        ca = client_context(lab.home / "certs" / "han.pem")
        async with HanClient(url, ca, (han.user, han.password)) as client:
            for number, meter in enumerate(lab.meters):
                answer = await client.call(
                    "readings",
                    database="origin",
                    usage_point_id=f"01005e318027.wired-{number}.sm",
                    fromtime=START,
                    totime="2026-03-31T11:00:00Z",
                )
                channels = answer["readings"]["channels"]
                rows = next(c for c in channels if c["obis"].startswith("0100010800ff"))["readings"]
                assert len(rows) == 2
                fresh = ElectricityMeter(str(meter.id), world(START), seed=SEED + number)
                for row in rows:
                    fresh.advance(world(row["capture-time"]))
                    assert row["cosem-status"].startswith("a0000000")
                    # the time is shown in seconds; the value is some milliseconds younger
                    assert int(row["value"]) - fresh.import_reading in {0, 1}
                    assert row["signature"]
        return True

    assert run_lab(tmp_path, 5, work)


def test_a_register_the_meter_lacks_is_left_out(tmp_path):
    """LMN-16: MT176 has no 2.8.0; the rest of its values come all the same."""

    async def work(lab):
        await lab.seconds(120)
        meter = lab.meters[0]
        messages, reason = await ordered(lab, meter, read_information())
        assert not reason
        both = [ACTIVE_ENERGY_IMPORT, ACTIVE_ENERGY_EXPORT]
        answer, reason = await ordered(lab, meter, read_registers(both))
        assert not reason
        found = registers(answer, both)
        assert [value.obis for value in found.values] == [ACTIVE_ENERGY_IMPORT]
        assert found.refused == ("unknown OBIS code",)
        return messages

    messages = run_lab(tmp_path, 1, work, models=("MT176",))
    from lmn.sml import places
    from lmn.sml.answers import information

    found = information(messages)
    assert found[places.FIRMWARE] == b"0.32"
    assert found[places.DEVICE_ID] == bytes.fromhex("0a0149534b00000f4241")
    assert found[places.DEVICE_TYPE][:4] == bytes.fromhex("8181c782")


@pytest.mark.req("LMN-04")
def test_the_lmc_lamp_needs_a_station_and_synchronised_time(tmp_path):
    """HW-20: steady when a meter has an HDLC address and the time is synchronised."""

    async def work(lab):
        gateway = lab.gateway
        await lab.seconds(120)
        assert gateway.lamps.hdlc_station
        assert gateway_state(gateway)["hdlc_station"] is True
        gateway.panel.set(synchronised=True)
        assert leds(gateway.lamps, lab.clock.now(), gateway.profile.leds).lmc
        lab.rack.sim.plug(lab.meters[0], there=False)
        await lab.seconds(60)
        assert not gateway.lamps.hdlc_station
        assert not leds(gateway.lamps, lab.clock.now(), gateway.profile.leds).lmc

    run_lab(tmp_path, 1, work)


@pytest.mark.req("L01")
@pytest.mark.req("LMN-13")
@pytest.mark.req("GW-N09")
def test_a_missing_meter_is_told_and_its_values_repeat(tmp_path):
    """Unplugged: alarm, e0020000 with null signature; back again: values go on."""

    async def work(lab):
        meter, other = lab.meters
        await lab.seconds(16 * 60)
        lab.rack.sim.plug(meter, there=False)
        await lab.seconds(16 * 60)
        assert gateway_state(lab.gateway)["missing_meters"] == [meter.id.lower]
        assert len(lab.log("meter-missing")) == 1
        first, repeated = origin(lab, meter)
        assert repeated.repeated
        assert repeated.signature is None
        assert repeated.value == first.value
        assert repeated.capture == first.capture
        assert word_hex(repeated.smgw_word) == "e0020000"
        assert not any(r.repeated for r in origin(lab, other))
        lab.rack.sim.plug(meter, there=True)
        await lab.seconds(15 * 60)
        assert not gateway_state(lab.gateway)["missing_meters"]
        assert len(lab.log("meter-there")) == 1
        assert not origin(lab, meter)[-1].repeated

    run_lab(tmp_path, 2, work)


def test_a_meter_that_never_was_there_is_missing_after_a_minute(tmp_path):
    async def work(lab):
        lab.rack.sim.plug(lab.meters[0], there=False)
        await lab.seconds(59)
        assert not lab.log("meter-missing")
        await lab.seconds(2)
        assert len(lab.log("meter-missing")) == 1

    run_lab(tmp_path, 1, work)


@pytest.mark.req("L02")
def test_two_meters_on_one_address_are_not_read_until_it_is_unique(tmp_path):
    async def work(lab):
        for meter in lab.meters:
            meter.place._fixed = 30
        await lab.seconds(60)
        assert not lab.device.metering.current
        counts = lab.line.troubles.counts
        assert counts[TroubleKind.CONFLICT] + counts[TroubleKind.DAMAGE] > 0
        assert lab.log("station-conflict") or lab.log("frame-damaged")
        lab.meters[0].place._fixed = 0
        await lab.seconds(180)
        assert ready(lab) == keys_of(lab.meters)

    run_lab(tmp_path, 2, work)


@pytest.mark.req("L03")
def test_a_wrong_master_key_fails_by_name_and_the_others_work(tmp_path):
    """Pairing fails, no TLS, the administrator is told; the right key repairs it."""

    async def work(lab):
        bad, good = lab.meters
        await lab.seconds(120)
        assert ready(lab) == {good.id.lower}
        (first, *_) = lab.log("pairing-failed")
        assert bad.id.lower in first
        assert "master key" in first
        assert not bad.memory.paired
        await lab.gateway.power_off()
        put_keys(lab.home, [bad])
        from smgw_emu.gateway import Gateway

        again = Gateway(lab.home, lab.clock)
        again.connect("lmn1", lab.plug, "hdlc")
        lab.gateway = again
        await again.power_on()
        await lab.seconds(120)
        assert ready(lab) == keys_of(lab.meters)

    keys = {"1ISK0001000001": bytes(16)}
    run_lab(tmp_path, 2, work, keys=keys)


@pytest.mark.req("L04")
@pytest.mark.req("LMN-N03")
def test_sessions_end_at_their_volume_and_at_31_days_without_a_gap(tmp_path):
    """5,000,000 octets or 31 days: closed and rebuilt, no registration is lost."""
    text = "[lmn_tls]\nmax_octets = 9000\nmax_session_s = 7200\n"

    async def main(clock):
        meters = rack_of(2, clock.now())
        home = wired_gateway(tmp_path / "gateway", meters, None, contracts(meters))
        own_profile(home, text)
        async with WiredLab(home, clock, meters) as lab:
            await lab.seconds(6 * 3600 + 60)
            sessions = [lab.line.session_at(s).sessions for s in lab.line.stations]
            ended = lab.log("meter-session-ended")
            lines = [origin(lab, m) for m in meters]
            return sessions, ended, lines

    sessions, ended, lines = run_virtual(main)
    assert min(sessions) > 4
    assert any("payload limit" in text for text in ended)
    for rows in lines:
        assert len(rows) == 24
        assert not any(r.repeated for r in rows)


@pytest.mark.req("L04")
def test_the_limits_are_those_of_the_documents():
    limits = PROFILE.lmn_tls
    assert limits.max_session_s == 31 * 86_400
    assert limits.max_octets == 5_000_000


def test_a_session_ends_at_its_greatest_age(tmp_path):
    """31 days (TR-03116-3 6.1): rebuilt at once."""

    async def work(lab):
        await lab.seconds(60)
        (station,) = lab.line.stations
        lab.line.session_at(station)._tls.opened = lab.clock.now() + -(31 * 86_400 - 5) * SECOND
        await lab.seconds(120)
        assert lab.line.session_at(station).sessions == 2
        assert any("session too long" in text for text in lab.log("meter-session-ended"))

    run_lab(tmp_path, 1, work)


# -- status ----------------------------------------------------------------------------------------


@pytest.mark.req("L08")
@pytest.mark.req("LMN-14")
def test_tamper_is_told_and_reset_by_order(tmp_path):
    """Bits 9 and 10: PTB 3, entries, then ResetTamperState clears them in the meter."""

    async def work(lab):
        (meter,) = lab.meters
        await lab.seconds(61)
        meter.registers.tamper(lab.clock.now(), MAGNETIC | MECHANICAL)
        await lab.seconds(60)
        assert any("Manipulation" in text for text in lab.log("meter-tamper"))
        messages, reason = await ordered(lab, meter, reset_tamper(magnetic=True, mechanical=True))
        assert messages is not None, reason
        assert not meter.registers.meter.status_faults
        await lab.seconds(61)
        assert lab.log("meter-status-cleared")
        return meter

    run_lab(tmp_path, 1, work)


@pytest.mark.req("L09")
def test_a_fatal_meter_marks_its_values(tmp_path):
    async def work(lab):
        (meter,) = lab.meters
        await lab.seconds(16 * 60)
        meter.registers.tamper(lab.clock.now(), FATAL)
        await lab.seconds(15 * 60)
        good, bad = origin(lab, meter)
        assert not good.meter_word & (1 << 31 - 17)
        assert bad.meter_word & (1 << 31 - 17)
        assert lab.log("meter-fatal")

    run_lab(tmp_path, 1, work)


@pytest.mark.req("L10")
def test_a_counter_that_falls_is_not_used(tmp_path):
    async def work(lab):
        (meter,) = lab.meters
        await lab.seconds(16 * 60)
        meter.registers.offset = -100_000
        await lab.seconds(15 * 60)
        assert lab.log("counter-decreased")

    run_lab(tmp_path, 1, work)


def test_a_seconds_index_that_falls_is_told(tmp_path):
    """DS v2.0 REQ.TLSHDLC.SMGW.70: decrementedTimestamp."""

    async def work(lab):
        (meter,) = lab.meters
        await lab.seconds(130)
        assert not lab.log("meter-time-fell")
        meter.registers.clock_offset = -100
        await lab.seconds(60)
        assert len(lab.log("meter-time-fell")) == 1

    run_lab(tmp_path, 1, work)


# -- strangers, power, the line --------------------------------------------------------------------


@pytest.mark.req("L13")
@pytest.mark.req("LMN-17")
def test_a_foreign_meter_gets_an_address_and_nothing_else(tmp_path):
    async def work(lab):
        known, stranger = lab.meters
        await lab.seconds(120)
        assert {s.sensor for s in lab.line.stations} == {m.id.server_id for m in lab.meters}
        assert ready(lab) == {known.id.lower}
        assert stranger.id.lower in lab.device.metering.unknown_meters
        assert len(lab.log("meter-unknown")) == 1
        assert not stranger.memory.paired
        assert all(meter == known.id.lower for meter, _ in lab.device.metering.current)

    run_lab(tmp_path, 2, work, known=1)


@pytest.mark.req("L12")
def test_an_overloaded_supply_switches_the_bus_off_until_it_is_gone(tmp_path):
    """400 mA: all wired meters missing, lamp off; 100 mA: everybody is back."""

    async def work(lab):
        await lab.seconds(60)
        lab.line.set_load(400)
        for meter in lab.meters:
            meter.power_off()
        await lab.seconds(5)
        assert not lab.line.stations
        assert not lab.gateway.lamps.hdlc_station
        assert len(lab.log("meter-missing")) == 2
        assert lab.log("supply-overload")
        sent = lab.rack.sim.busy_ns
        await lab.seconds(60)
        assert lab.rack.sim.busy_ns == sent  # not an octet
        for meter in lab.meters:
            meter.power_on()
        lab.line.set_load(100)
        await lab.seconds(60)
        assert ready(lab) == keys_of(lab.meters)
        assert lab.log("supply-restored")

    run_lab(tmp_path, 2, work)


@pytest.mark.parametrize(
    ("faults", "least"),
    [
        (Faults(piece=1), 4),
        (Faults(lost=20_000, seed=7), 23),
        (Faults(bit_errors=100, seed=8), 23),
        (Faults(swallowed=100, seed=9), 23),
        (Faults(delay_ns=30_000_000), 24),
        (Faults(echo=True), 24),
    ],
    ids=["one octet at a time", "loss", "bit errors", "swallowed", "delay", "echo"],
)
def test_registrations_survive_a_bad_line(tmp_path, faults, least):
    """Six hours of quarter-hours; a value comes once, or is repeated and marked."""

    async def work(lab):
        quarters = 4 if faults.piece else 24  # an event for every octet takes its time
        await lab.seconds(quarters * 900 + 60)
        for number, meter in enumerate(lab.meters):
            rows = origin(lab, meter)
            assert [r.target.seconds for r in rows] == [
                world(START).seconds + 900 * (n + 1) for n in range(quarters)
            ]
            assert sum(not r.repeated for r in rows) >= least
            fresh = ElectricityMeter(str(meter.id), world(START), seed=SEED + number)
            for row in rows:
                if not row.repeated:
                    fresh.advance(type(lab.clock.now())(row.capture.ns))
                    assert abs(row.value - fresh.import_reading) <= 1  # the answer's way
        if faults.echo:
            assert any("echo" in text for text in lab.log("line-fault"))

    run_lab(tmp_path, 2, work, faults=faults)


def test_a_wrong_speed_is_named(tmp_path):
    """field-notes.md 8.2: octets but no frame."""

    async def work(lab):
        sim = lab.rack.sim
        place = sim._places[id(lab.meters[0])]
        place.baud = 460_800
        lab.meters[0].receive = lambda data, now: lab.meters[0]._out.append((now, bytes(50)))
        await lab.seconds(10)
        faults = lab.log("line-fault")
        assert any("921600" in text and "speed" in text for text in faults)
        assert len(faults) == 1

    run_lab(tmp_path, 1, work)


@pytest.mark.parametrize(
    ("fault", "value"),
    [
        ("silent", True),
        ("bad_fcs", True),
        ("foreign_source", 77),
        ("flood", 30),
        ("ignores_list", True),
    ],
)
@pytest.mark.req("LMN-21")
def test_a_faulty_meter_does_not_stop_the_others(tmp_path, fault, value):
    """Never answers, wrong checksums, answers for another, floods: the bus serves the rest."""

    async def work(lab):
        setattr(lab.meters[2].faults, fault, value)
        await lab.seconds(16 * 60)
        assert keys_of(lab.meters[:2]) <= ready(lab)
        for meter in lab.meters[:2]:
            (row,) = origin(lab, meter)
            assert not row.repeated
        told = lab.log(
            "frame-damaged", "station-conflict", "station-unasked", "meter-missing", "station-lost"
        )
        assert told

    run_lab(tmp_path, 3, work)


def test_noise_does_not_flood_the_log(tmp_path):
    """Each kind at most every 15 minutes, with its number."""

    async def work(lab):
        lab.meters[1].faults.flood = 100
        await lab.seconds(1000)
        damaged = lab.log("frame-damaged")
        assert 1 <= len(damaged) <= 2
        assert lab.line.troubles.counts[TroubleKind.DAMAGE] > 20

    run_lab(tmp_path, 2, work, known=1)
