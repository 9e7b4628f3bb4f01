"""Scenarios T01-T10 and S01-S08 on the whole lab: what each state forbids, shows, logs, and how it ends."""

from __future__ import annotations

import asyncio
import itertools
import json
import tempfile
from pathlib import Path

import httpx
import pytest
from state_lab import BLINK, DARK, STEADY, limit, rhythm, settle, state
from support import START, Lab, new_gateway, own_profile, run_virtual, scratch, world
from wan_lab import run_lab, wan_lab

from secure_state.machine import Cause
from smgw_emu.bench.consumer import HanClientError
from smgw_emu.core.instants import DAY, HOUR, MINUTE, SECOND, DeviceTime
from smgw_emu.core.leds import BootPhase, SecureState
from smgw_emu.core.logbook import ENTRY_OCTETS
from smgw_emu.gateway import Gateway
from smgw_emu.lab import trials
from smgw_emu.lab.control import ControlServer
from smgw_emu.lab.state import gateway_state

NORMAL, APPLICATION = SecureState.NORMAL, SecureState.APPLICATION


def words(lab, meter="1emu0000000001"):
    """SMGW status words of the origin list by target second."""
    lines = lab.device.store.readings("origin", meter, "900", DeviceTime(0), DeviceTime(1 << 62))
    return {line.target.seconds: line.smgw_word for line in lines}


def marked(word):
    return bool(word & 1 << (31 - 9))  # bit 0 is the most significant printed bit (GW-N06)


# -- time ----------------------------------------------------------------------------------------


@pytest.mark.req("T01", "T02", "SEC-11", "SEC-12", "SEC-13", "SEC-14", "HW-13")
@pytest.mark.parametrize("offset_ms", [26_900, 27_100, -27_100])
def test_a_clock_beyond_three_percent_is_secure_state_application(tmp_path, offset_ms):
    """26.9 s is corrected; 27.1 s closes the HAN, ends deliveries, marks values, waits for the GWA."""

    async def work(lab):
        await lab.commission()
        await settle(lab)
        assert lab.gateway.han_address and state(lab) is NORMAL
        delivered = lab.emt.received
        lab.gwa.time.faults.offset_ms = offset_ms
        await lab.clock.advance(HOUR + MINUTE)
        deviation = lab.device.clock.deviation(lab.clock.now())
        if abs(offset_ms) < 27_000:
            assert state(lab) is NORMAL and abs(deviation - offset_ms * 10**6) < SECOND
            return
        assert state(lab) is APPLICATION and abs(deviation) < SECOND, "the clock waits (A6)"
        assert rhythm(lab, "pwr") == BLINK and rhythm(lab, "tls") == STEADY
        assert lab.gateway.han_address is None and rhythm(lab, "han") == DARK
        await lab.clock.advance(DAY)
        assert lab.emt.received == delivered and lab.wan.outbox.count("emt1") == 0
        times = words(lab)
        after = [word for at, word in times.items() if at > times_of(lab)[0]]
        assert len(after) > 90 and all(marked(word) for word in after)
        assert not any(marked(word) for at, word in times.items() if at < times_of(lab)[0] - 900)
        assert len(lab.events("time-deviation")) == len(lab.events("secure-state-entered")) - 1
        assert lab.logged("Zeitabweichung", "calibration") == 1
        # the administrator acts: his channel has worked all the time
        session = await lab.session()
        await lab.market.drive(session.synchronise())
        await lab.until(lambda: state(lab) is NORMAL, 300)
        assert abs(lab.device.clock.deviation(lab.clock.now()) - offset_ms * 10**6) < SECOND
        assert lab.gateway.han_address and rhythm(lab, "pwr") == STEADY
        assert lab.logged("Ursache time-deviation beendet") == 1
        now = lab.clock.now().seconds
        await lab.clock.advance(DAY)
        assert not any(marked(word) for at, word in words(lab).items() if at > now + 900)
        assert lab.emt.received > delivered, "what was held back is delivered"

    def times_of(lab):
        return [c.at.seconds for c in lab.gateway.states.history if c.cause is Cause.TIME_DEVIATION]

    run_lab(tmp_path, work, interval=5 * MINUTE)


@pytest.mark.req("T03", "GW-N11", "SEC-20", "SEC-21", "SEC-22", "SEC-23", "HW-26", "T10")
@pytest.mark.parametrize("profile", ["conexa-3.0/v3.87", "conexa-3.0/agd-lv-2.7.1"])
def test_36_hours_without_time_depend_on_the_firmware_line(tmp_path, profile):
    """2.13: values are marked, no lamp, ends by itself. 2.7.1: PWR blinks, the administrator ends it."""
    old = profile.endswith("2.7.1")

    async def work(lab):
        await lab.commission()
        await settle(lab)
        lab.gwa.time.faults.silent = True
        begin = lab.device.synchronised
        await lab.clock.advance(35 * HOUR)
        assert state(lab) is NORMAL
        await lab.clock.advance(2 * HOUR)
        assert state(lab) is (APPLICATION if old else SecureState.MEASUREMENT)
        entered = lab.gateway.states.history[-1].at
        assert abs(lab.device.now(entered) - begin - 36 * HOUR) < SECOND
        assert rhythm(lab, "pwr") == (BLINK if old else STEADY)
        assert (lab.gateway.han_address is None) == old
        assert rhythm(lab, "lmc") == DARK
        assert lab.events("time-invalid") and lab.events("secure-state-entered")
        now = lab.clock.now().seconds
        await lab.clock.advance(HOUR)
        assert all(marked(word) for at, word in words(lab).items() if at > now)
        lab.gwa.time.faults.silent = False
        await lab.clock.advance(2 * MINUTE)
        assert lab.device.clock.valid, "the first good answer makes time valid"
        assert state(lab) is (APPLICATION if old else NORMAL)
        if old:
            session = await lab.session()
            await lab.market.drive(session.synchronise())
            await lab.until(lambda: state(lab) is NORMAL, 300)
        back = lab.clock.now().seconds
        await lab.clock.advance(HOUR)
        after = {at: marked(word) for at, word in words(lab).items()}
        assert not any(bad for at, bad in after.items() if at > back + 900)
        assert any(bad for at, bad in after.items() if now < at < back), "what was marked stays so"

    run_lab(tmp_path, work, interval=5 * MINUTE, profile=profile)


@pytest.mark.req("SEC-20")
def test_the_longest_time_without_synchronisation_follows_the_norms_formula(tmp_path):
    """3.2.6.3.2: alarm after T = 0.8 * 900 s * 3 % / 50 ppm = 5 days, invalid after T / 0.8 = 150 h."""

    async def main(clock):
        async with wan_lab(tmp_path, clock, on=False, interval=5 * MINUTE) as lab:
            own_profile(lab.gateway.directory, "[time]\ninvalid_after_s = 0")
            lab.gateway.config = Gateway(lab.gateway.directory, clock).config
            await lab.gateway.power_on()
            await lab.commission()
            lab.gwa.time.faults.silent = True
            begin = lab.device.synchronised
            await lab.clock.advance(119 * HOUR)
            assert not lab.events("time-alarm")
            await lab.clock.advance(2 * HOUR)
            assert len(lab.events("time-alarm")) == 1
            assert lab.logged("Zeitsynchronisation seit 120 h", "calibration") == 1
            assert state(lab) is NORMAL
            await lab.clock.advance(30 * HOUR)
            assert state(lab) is SecureState.MEASUREMENT
            entered = lab.gateway.states.history[-1].at
            assert abs(lab.device.now(entered) - begin - 150 * HOUR) < SECOND

    run_virtual(main)


@pytest.mark.req("T04", "HW-09")
def test_a_lost_rtc_is_secure_state_measurement_until_the_first_time(tmp_path):
    """Empty battery: a power cut loses the time; the first authentic answer brings it back."""

    async def work(lab):
        await lab.commission()
        await settle(lab)
        await trials.set_power(lab.gateway, trials.PowerOrder(rtc_battery=False))
        lab.gwa.time.faults.silent = True
        await lab.gateway.power_off(orderly=False)
        await lab.clock.advance(3 * HOUR)
        await lab.gateway.power_on()
        assert state(lab) is SecureState.MEASUREMENT and not lab.device.clock.valid
        assert lab.device.clock.deviation(lab.clock.now()) < -2 * HOUR, "goes on where the logs end"
        assert rhythm(lab, "lmc") == DARK and lab.logged("Echtzeituhr hat die Zeit verloren") == 1
        await lab.clock.advance(10 * SECOND)
        assert "Batterie" in str(lab.gateway.running.self_test.last_result)
        lab.gwa.time.faults.silent = False
        await lab.until(lambda: state(lab) is NORMAL, 200)
        assert abs(lab.device.clock.deviation(lab.clock.now())) < SECOND

    run_lab(tmp_path, work)


@pytest.mark.req("HW-09")
@pytest.mark.parametrize(("days", "trusted"), [(4.9, True), (5.1, False)])
def test_the_rtc_is_trusted_below_its_warning_threshold(tmp_path, days, trusted):
    """TR-03109-1 3.2.6.3 no. 4: 80 % of 27 s at 50 ppm are 5 days; beyond, NTP comes first."""

    async def main(clock):
        async with wan_lab(tmp_path, clock, on=False) as lab:
            own_profile(lab.gateway.directory, "[time]\ninvalid_after_s = 0")
            lab.gateway.config = Gateway(lab.gateway.directory, clock).config
            await lab.gateway.power_on()
            await lab.commission()
            lab.gwa.time.faults.silent = True
            await lab.gateway.power_off(orderly=False)
            await clock.advance(int(days * DAY) - HOUR)
            await lab.gateway.power_on()
            await clock.advance(SECOND)
            assert lab.device.clock.valid == trusted
            assert state(lab) is (NORMAL if trusted else SecureState.MEASUREMENT)
            assert lab.logged("Warnschwelle") == (0 if trusted else 1)

    run_virtual(main)


@pytest.mark.req("SEC-14")
def test_a_profile_may_end_secure_state_application_with_its_cause(tmp_path):
    """application_exit = "automatic": the next good time is enough, nobody commands it."""

    async def main(clock):
        async with wan_lab(tmp_path, clock, on=False) as lab:
            own_profile(lab.gateway.directory, '[secure_state]\napplication_exit = "automatic"')
            lab.gateway.config = Gateway(lab.gateway.directory, clock).config
            await lab.gateway.power_on()
            await lab.commission(points=[])
            lab.gwa.time.faults.offset_ms = 28_000
            await clock.advance(HOUR + MINUTE)
            assert state(lab) is APPLICATION
            lab.gwa.time.faults.offset_ms = 1_000
            await clock.advance(HOUR + MINUTE)
            assert state(lab) is NORMAL

    run_virtual(main)


@pytest.mark.req("T07", "WAN-N03")
def test_a_jump_of_more_than_1000_seconds_is_ignored_and_logged(tmp_path):
    """T07."""

    async def work(lab):
        await lab.commission()
        count = lab.logged("Zeitantwort verworfen")
        lab.gwa.time.faults.offset_ms = 1_001_000
        await lab.clock.advance(HOUR)
        assert state(lab) is NORMAL and lab.logged("Zeitantwort verworfen") == count + 1
        assert abs(lab.device.clock.deviation(lab.clock.now())) < SECOND

    run_lab(tmp_path, work)


# -- separation ----------------------------------------------------------------------------------


@pytest.mark.req("S01", "S02", "SEC-30", "SEC-31", "SEC-32", "SEC-33", "HW-08", "GW-67", "HAN-04")
def test_a_cable_between_wan_and_han_closes_the_han_until_a_self_test_finds_it_gone(tmp_path):
    """HAN and its lamp go, everything else goes on; the next good self-test brings it back."""

    async def work(lab):
        await lab.commission()
        await settle(lab)
        before = lab.gateway.sink.lamps
        assert before.han
        trials.set_network(lab.gateway, trials.NetworkOrder(joined=True))
        delivered = lab.emt.received
        await lab.clock.advance(DAY)
        assert state(lab) is SecureState.CONNECTIVITY
        assert lab.gateway.han_address is None and not lab.gateway.sink.lamps.han
        assert lab.gateway.sink.lamps[:4] == before[:4], "no front lamp tells (HW-26)"
        await lab.clock.advance(DAY)
        assert lab.emt.received > delivered, "deliveries go on"
        assert lab.logged("connectivity: self-test finds WAN and HAN not separated") == 1
        assert len(lab.events("secure-state-entered")) == 2, "measurement at the start, and this"
        await lab.gateway.power_off(orderly=False)
        await lab.gateway.power_on()
        assert lab.gateway.han_address is None, "a restart opens nothing before its self-test"
        trials.set_network(lab.gateway, trials.NetworkOrder(joined=False))
        await lab.clock.advance(10 * SECOND)
        assert state(lab) is NORMAL and lab.gateway.han_address and lab.gateway.sink.lamps.han
        assert len([e for e in lab.events("secure-state-left") if "separation" in str(e)]) == 1

    run_lab(tmp_path, work, interval=5 * MINUTE)


@pytest.mark.req("SEC-31")
def test_a_consumers_session_ends_with_close_notify(home):
    """Who was logged in sees an orderly end, then nobody answers."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            await clock.advance(61 * SECOND)
            async with lab.client() as client:
                await client.call("smgw-info")
                lab.gateway.cable.joined = True
                lab.gateway.running.self_test.request(clock.now(), "test")
                await clock.advance(700 * SECOND)
                lab.gateway.running.self_test.request(clock.now(), "test")
                lab.gateway._arm()
                await clock.advance(5 * SECOND)
                assert lab.gateway.states.state is SecureState.CONNECTIVITY
                with pytest.raises(HanClientError):
                    await client.call("smgw-info")

    run_virtual(work)


# -- storage -------------------------------------------------------------------------------------


@pytest.mark.req("S05", "S06", "SEC-10", "SEC-14", "WAN-25")
def test_value_storage_at_the_administrators_limit_stops_metering_until_he_raises_it(tmp_path):
    """A limit below what is used is Secure State Application at once; raising it is the way out."""

    async def work(lab):
        await lab.commission()
        await settle(lab, 3600)
        lines = lab.device.store.count_readings()
        await limit(lab, 1)
        await settle(lab, 5)
        assert state(lab) is APPLICATION and rhythm(lab, "pwr") == BLINK
        assert lab.gateway.han_address is None
        await lab.clock.advance(2 * HOUR)
        assert lab.device.store.count_readings() == lines, "no room, no values"
        lab.gwa.sessions.clear()
        await lab.gateway.power_off(orderly=False)
        await lab.gateway.power_on()
        assert state(lab) is APPLICATION, "a power cut is not the administrator's action"
        assert rhythm(lab, "pwr") == BLINK and lab.gateway.lamps.secure is APPLICATION
        await lab.until(lambda: bool(lab.gwa.sessions))
        await limit(lab, 1 << 30)
        await settle(lab, 5)
        assert state(lab) is NORMAL and lab.gateway.han_address
        await lab.clock.advance(HOUR)
        assert lab.device.store.count_readings() > lines
        assert lab.events("storage-limit") and lab.events("storage-normal")

    run_lab(tmp_path, work)


@pytest.mark.req("S04", "SEC-03", "SEC-06", "SEC-07", "SEC-08")
def test_a_flood_of_events_ends_in_secure_state_boot(home):
    """Warnings at 80 and 95 %, then every lamp at 50 ms and no function, for good."""
    own_profile(home, "[retention]\nlog_capacity_kib = 200")

    async def work(clock):
        async with Lab(home, clock) as lab:
            await clock.advance(61 * SECOND)
            device, gateway = lab.device, lab.gateway
            written = await trials.burst(gateway, trials.EventOrder(5000))
            assert 500 < written < 5000
            assert gateway.states.state is SecureState.BOOT and gateway.running is None
            assert gateway.han_address is None
            log = [e.message for e in device.logbooks.last("system", count=9000)]
            first, second = (int(m.split()[4]) for m in log if "Speicher für Log" in m)
            assert 80 <= first < 90 and 95 <= second < 105
            for lamp in ("pwr", "tls", "lmc", "wmt"):
                assert rhythm(lab, lamp) == BLINK
            await clock.advance(DAY)
            await gateway.power_off(orderly=False)
            await gateway.power_on()
            assert gateway.states.state is SecureState.BOOT, "no restart ends it"
            assert "KiB" in gateway.cause

    run_virtual(work)


@pytest.mark.req("GW-60")
def test_logs_are_kept_15_months_and_the_calibration_log_for_ever(home):
    """TR-03109-1 5.2: rings of at least 15 months; nothing deletes calibration entries."""

    async def work(clock):
        async with Lab(home, clock, interval=6 * HOUR) as lab:
            gateway = lab.gateway
            for _ in range(17):
                await lab.gateway.power_off()
                clock_now = clock.now()
                await clock.advance_to(clock_now + 31 * DAY)
                await lab.gateway.power_on()
            logs = lab.device.logbooks
            oldest = {
                name: logs.entries(name, reader)[0].time
                for name, reader in (("system", ""), ("consumer", "consumer1"), ("calibration", ""))
            }
            bound = lab.device.now(clock.now()) + -15 * 31 * DAY
            assert oldest["calibration"].seconds == world(START).seconds
            for name in ("system", "consumer"):
                assert bound <= oldest[name] < bound + 32 * DAY
            assert logs.used == sum(
                ENTRY_OCTETS + len(e.message.encode())
                for name, reader in (("system", ""), ("consumer", "consumer1"), ("calibration", ""))
                for e in logs.entries(name, reader, count=100_000)
            )
            assert gateway.states.state is NORMAL

    run_virtual(work)


@pytest.mark.req("S08", "GW-71")
def test_an_alarm_storm_keeps_its_order():
    """10 000 events in a moment: every one is in the log, in order (the outbox: test_wan.py)."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            written = await trials.burst(lab.gateway, trials.EventOrder(10_000, text="Sturm"))
            assert written == 10_000
            entries = lab.device.logbooks.entries("system", count=20_000)
            texts = [e.message for e in entries if e.message.startswith("Sturm")]
            assert texts == [f"Sturm {n}/10000" for n in range(1, 10_001)]
            assert lab.gateway.states.state is NORMAL

    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        home = Path(folder) / "gateway"
        new_gateway(home)
        run_virtual(work)


@pytest.mark.req("GW-71")
def test_a_burst_is_spread_over_its_seconds(home):
    """100 events in 50 s of world time: two a second."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            task = asyncio.get_running_loop().create_task(
                trials.burst(lab.gateway, trials.EventOrder(100, seconds=50))
            )
            await asyncio.sleep(0)
            await clock.advance(51 * SECOND)
            assert await task == 100
            times = [
                e.time.seconds
                for e in lab.device.logbooks.entries("system", count=500)
                if e.message.startswith("TEST-Ereignis")
            ]
            assert times == [times[0] + n // 2 for n in range(100)]

    run_virtual(work)


# -- power -----------------------------------------------------------------------------------------


@pytest.mark.req("HW-01")
def test_brown_out_switches_off_and_on(home):
    """184 to 264.5 V; below and above the device is off."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            gateway = lab.gateway
            for volts, on in (
                (183.9, False),
                (184.0, True),
                (264.5, True),
                (264.6, False),
                (230, True),
            ):
                await gateway.set_supply(volts)
                assert (gateway.running is not None) == on, volts
                assert (gateway.lamps.phase is BootPhase.OFF) != on
            await gateway.set_supply(100)
            await gateway.power_on()
            assert gateway.running is None, "no voltage, no boot"

    run_virtual(work)


def test_everything_volatile_goes_with_the_power(tmp_path):
    """Sessions, senders heard, wake-up memory, present values, the module's channel, the lock."""

    async def work(lab):
        await lab.commission()
        await settle(lab)
        running = lab.gateway.running
        assert lab.device.metering.current and lab.gwa.sessions
        link = lab.gateway.hsm._link
        assert link._channel is not None
        await lab.gateway.power_off(orderly=False)
        assert link._channel is None and lab.gateway.hsm._card._channel is None
        await lab.clock.advance(SECOND)
        await lab.gateway.power_on()
        after = lab.gateway.running
        assert after is not running and not after.device.metering.current
        assert after.self_test.state == "running" and lab.gateway.lamps.wakeup_at is None
        assert after.han.server is not running.han.server

    run_lab(tmp_path, work)


@pytest.mark.req("HW-11", "HW-12")
def test_a_boot_that_takes_time_is_dark_and_serves_nothing(home):
    """boot.dark_s: dark, then 500 ms blink, then steady a minute after the end of the boot."""
    own_profile(home, "[boot]\ndark_s = 15")

    async def work(clock):
        async with Lab(home, clock) as lab:
            gateway = lab.gateway
            assert gateway.lamps.phase is BootPhase.BOOTING and gateway.running is None
            await clock.advance(14 * SECOND)
            assert gateway.running is None and not any(gateway.sink.lamps)
            await clock.advance(2 * SECOND)
            assert gateway.running is not None and gateway.lamps.phase is BootPhase.STARTING
            await clock.advance(61 * SECOND)
            assert gateway.lamps.phase is BootPhase.READY

    run_virtual(work)


@pytest.mark.req("SEC-40", "SEC-41", "F09")
def test_a_damaged_store_restarts_again_and_again_and_boots_when_it_is_whole(home):
    """D-2.5: PWR never steady, no service; the loop ends when the checks pass."""
    whole = (home / "state.db").read_bytes()
    (home / "state.db").write_bytes(b"\x00" * 8192)

    async def work(clock):
        async with Lab(home, clock) as lab:
            gateway = lab.gateway
            edges = gateway.sink.edges
            await clock.advance(100 * SECOND)
            assert gateway.states.state is SecureState.CYCLIC_RESTART and gateway.running is None
            entered = [t for t in gateway.states.history if t.entered]
            assert len(entered) == 6, "a turn of 20 s each"
            held = list(edges)
            lit = [b[0] - a[0] for a, b in itertools.pairwise(held) if a[1].pwr]
            assert max(lit) <= 500 * 10**6
            (home / "state.db").write_bytes(whole)
            await clock.advance(90 * SECOND)
            assert gateway.states.state is NORMAL and gateway.lamps.phase is BootPhase.READY

    run_virtual(work)


# -- control -----------------------------------------------------------------------------------------


@pytest.mark.req("SEC-51", "HW-10", "HW-07")
def test_the_control_endpoint_shows_and_moves_states(home):
    """Cause, time and way out of each state; power, cables, firmware, events; wrong orders are told."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            control = ControlServer(lab.gateway, "127.0.0.1", 0)
            url = await control.start()
            await clock.advance(61 * SECOND)
            async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
                with clock.hold():
                    await drive(client, lab)
            await control.stop()

    async def drive(client, lab):
        async def post(path, **body):
            return await client.post(path, json=body)

        shown = (await client.get("/secure-state")).json()
        assert (shown["state"], shown["causes"], shown["history"]) == ("normal", [], [])
        assert (await post("/network", joined=True)).json() == {"joined": True}
        await lab.gateway.power_off()
        state = (await post("/power", action="on", rtc_battery=False)).json()
        assert state["rtc_battery"] is False and state["model"] == "CONEXA 3.0"
        assert state["storage"]["logs"]["limit_kib"] == 262144
        dark = (await post("/link", han=False)).json()
        assert dark["leds"]["han"] is False
        assert (await post("/link", han=True, cls=True)).json()["leds"]["cls"] is True
        assert (await post("/events", count=7)).json() == {"written": 7}
        assert (await client.get("/firmware")).json()["partitions"] == {
            "a": "v3.87.0-cc",
            "b": None,
        }
        broken = await post("/firmware", corrupt={"partition": "a", "image": "kernel"})
        assert broken.json()["active"] == "a"
        state = (await post("/power", action="cycle")).json()
        assert state["secure_state"] == "boot" and "kernel" in state["cause"]
        shown = (await client.get("/secure-state")).json()
        (cause,) = shown["causes"]
        assert (cause["cause"], cause["exit"]) == ("image", "terminal") and "SEC-02" in cause[
            "source"
        ]
        assert shown["history"][-1]["entered"] is True
        assert sorted(shown["forbidden"]) == ["cls", "delivery", "han", "lmn", "metering", "wan"]
        assert (await post("/power", voltage=100)).json()["phase"] == "off"
        assert (await post("/power", voltage=230)).json()["secure_state"] == "boot"
        for path, body in (
            ("/power", {"action": "explode"}),
            ("/power", {"voltage": -1}),
            ("/network", {}),
            ("/events", {"count": 0}),
            ("/firmware", {"corrupt": {"partition": "c", "image": "kernel"}}),
            ("/firmware", {"corrupt": {"partition": "b", "image": "kernel"}}),
        ):
            assert (await client.post(path, json=body)).status_code == 400, (path, body)

    run_virtual(work)


@pytest.mark.req("SEC-51", "HW-10")
def test_the_stream_of_lamps_gives_every_edge(home):
    """One JSON line per edge with its world time; a client that goes leaves nothing behind."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            control = ControlServer(lab.gateway, "127.0.0.1", 0)
            url = await control.start()
            async with (
                httpx.AsyncClient(trust_env=False) as client,
                client.stream("GET", f"{url}/leds/stream") as answer,
            ):
                rows = answer.aiter_lines()
                first = await anext(rows)
                await clock.advance(2 * SECOND)
                seen = [json.loads(first), *[json.loads(await anext(rows)) for _ in range(4)]]
            begin = world(START).ns
            assert [(row["ns"] - begin) // 10**6 for row in seen] == [0, 500, 1000, 1500, 2000]
            assert [row["leds"]["pwr"] for row in seen] == [True, False, True, False, True]
            assert {row["phase"] for row in seen} == {"starting"}
            for _ in range(100):
                if not lab.gateway.panel.watched:
                    break
                await clock.advance(SECOND)
            assert not lab.gateway.panel.watched
            await control.stop()

    run_virtual(work)


def test_the_administrator_is_told_of_what_a_state_refuses(tmp_path):
    """Administration goes on in Secure State Application: logs can be read, profiles put (SEC-12)."""

    async def work(lab):
        await lab.commission()
        await limit(lab, 1)
        await settle(lab, 5)
        assert state(lab) is APPLICATION
        session = await lab.session()
        entries = await lab.market.drive(session.read_log("system"))
        assert any("application" in str(e) for e in entries)
        assert gateway_state(lab.gateway)["secure_state"] == "application"

    run_lab(tmp_path, work)
