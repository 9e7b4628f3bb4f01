"""The gateway hears wireless meters: receivers, acceptance, registration, status (issue: LMN-02)."""

from __future__ import annotations

import asyncio
import os
import tty

import pytest
from radio_lab import RadioLab, radio_gateway, run_radio, wireless
from support import START, run_virtual, world

from lmn.wmbus import Address
from lmn.wmbus.encode import Outline, encode_telegram
from smgw_emu.bench.meters.wireless import Fault
from smgw_emu.bench.radio.sticks import VirtualCul, virtual_stick
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import MILLISECOND, SECOND
from smgw_emu.core.leds import leds
from smgw_emu.core.obis import Obis
from smgw_emu.core.status import word_hex
from smgw_emu.core.wan_profiles import Settings
from smgw_emu.gateway import Gateway
from smgw_emu.lab.state import gateway_state


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


# -- registration and times ------------------------------------------------------------------------


@pytest.mark.req("LMN-10", "GW-N10", "LMN-N05")
def test_hourly_values_of_a_compact_profile_are_registered(tmp_path):
    """REQ.WMBUS.apl.10, .11: the elements are registered, the base is the present value only."""
    meter = wireless("gas", compact=6)

    async def work(lab):
        await lab.until("2026-03-31T13:07:00Z")
        await lab.send(meter)
        capture, value, *_ = lab.current(meter)
        assert capture.iso() == "2026-03-31T13:00:00Z"
        assert value == meter.kind.value(world("2026-03-31T13:00:00Z"), 1)
        await lab.until("2026-03-31T15:20:00Z")
        await lab.send(meter)
        lines = lab.stored(meter)
        assert [line.target.iso()[11:16] for line in lines] == ["11:00", "12:00", "13:00", "14:00"]
        for line in lines:
            assert not line.repeated
            assert line.capture == line.target
            assert line.value == meter.kind.value(world(line.target.iso()), 1)
        await lab.until("2026-03-31T21:00:01Z")
        last = lab.stored(meter)[-1]  # two telegrams were lost: the last value stands in
        assert last.target.iso() == "2026-03-31T15:00:00Z"
        assert last.repeated

    run_radio(tmp_path, work, [meter], point="period_s = 3600\n", wait_s=6 * 3600)


@pytest.mark.req("LMN-N05")
def test_quarter_hours_of_a_compact_profile_survive_a_power_cut(tmp_path):
    meter = wireless("water", compact=8, spacing_s=900)

    async def work(lab):
        await lab.until("2026-03-31T10:50:00Z")
        await lab.send(meter)
        await lab.gateway.power_off(orderly=False)
        await lab.until("2026-03-31T11:40:00Z")
        await lab.gateway.power_on()
        await lab.seconds(5)
        await lab.send(meter)
        lines = lab.stored(meter)
        # the element of 10:45 came as the base of the first telegram, so with the second one
        assert [line.target.iso()[11:16] for line in lines] == [
            "10:15", "10:30", "10:45", "11:00", "11:15",
        ]  # fmt: skip
        assert not any(line.repeated for line in lines)

    run_radio(tmp_path, work, [meter], wait_s=3600)


@pytest.mark.req("LMN-N05")
@pytest.mark.parametrize(("profile", "age"), [("tr-2025/default", 7), ("conexa-3.0/v3.87", 0)])
def test_the_time_of_a_value_is_the_profiles_choice(tmp_path, profile, age):
    """REQ.WMBUS.apl.12 against TR-03109-1 v1.0 4.3.5 (on arrival)."""
    meter = wireless("gas")

    async def work(lab):
        outline = Outline(meter.address, 7)
        records = bytes.fromhex("0C1301000000017407")  # measured seven seconds ago
        (frame,) = encode_telegram(outline, meter.key, records, counter=9, access=1)
        at = lab.clock.now()
        await lab.air([frame])
        capture, *_ = lab.current(meter)
        assert capture == lab.device.now(at) + -age * SECOND

    run_radio(tmp_path, work, [meter], profile=profile)


@pytest.mark.req("LMN-N05")
def test_values_after_the_manufacturers_mark_are_not_used(tmp_path):
    meter = wireless("gas")

    async def work(lab):
        records = bytes.fromhex("0C13010000000F0C1302000000")
        (frame,) = encode_telegram(
            Outline(meter.address, 7), meter.key, records, counter=9, access=1
        )
        await lab.air([frame])
        assert lab.current(meter)[1] == 1

    run_radio(tmp_path, work, [meter])


# -- status ------------------------------------------------------------------------------------------


@pytest.mark.req("GW-N08", "LMN-14", "L08")
@pytest.mark.parametrize(
    ("fault", "gateway", "meter_word", "event"),
    [
        (None, "a0004000", "00000000", None),
        (Fault.MAGNETIC, "a0024000", "c0000000", "meter-tamper"),
        (Fault.MECHANICAL, "a0024000", "81000000", "meter-tamper"),
        (Fault.BATTERY, "a0004000", "82000004", None),
        (Fault.PERMANENT, "a0014000", "00000008", "meter-fatal"),
        (Fault.ABNORMAL, "a0014000", "00000003", "meter-status"),
    ],
)
def test_status_and_error_flags_reach_the_status_word(tmp_path, fault, gateway, meter_word, event):
    meter = wireless("water")

    async def work(lab):
        if fault is not None:
            meter.tamper(fault)
        await lab.until("2026-03-31T10:15:00Z")
        await lab.send(meter)
        await lab.seconds(30)
        (line,) = lab.stored(meter)
        assert (word_hex(line.smgw_word), word_hex(line.meter_word)) == (gateway, meter_word)
        if event is not None:
            assert len(lab.log(event)) == 1
        meter.clear()
        await lab.send(meter)
        assert len(lab.log("meter-status-cleared")) == (event is not None)

    run_radio(tmp_path, work, [meter])


# -- who is there ------------------------------------------------------------------------------------


@pytest.mark.req("LMN-02", "LMN-18")
def test_strangers_are_listed_for_the_technician(tmp_path):
    mine, stranger = wireless(), wireless("water", 77_777_777)
    stranger.installing = True

    async def work(lab):
        await lab.send(mine)
        await lab.send(stranger)
        await lab.send(stranger)
        radio = gateway_state(lab.gateway)["radio"]
        assert radio["verdicts"] == {"accepted": 1, "unknown meter": 2}
        rows = {row["address"]: row for row in radio["heard"]}
        row = rows["TST-77777777-01-07"]
        assert (row["type"], row["meter"], row["telegrams"]) == ("water", None, 2)
        assert (row["security_mode"], row["rssi_dbm"]) == (7, -60)
        assert rows[str(mine.address)]["meter"] == mine.id.lower()
        assert "TST-77777777-01-07 (water)" in lab.log("radio-installation")[0]
        assert len(lab.log("radio-unknown")) == 1
        assert lab.device.metering.current.keys() == {(mine.id.lower(), Obis.parse("7-0:3.0.0"))}

    run_radio(tmp_path, work, [mine])


@pytest.mark.req("LMN-N05")
def test_a_radio_adapter_speaks_for_its_meter(tmp_path):
    """The long header's address replaces the link's, for key and meter."""
    meter = wireless(adapter=True)

    async def work(lab):
        await lab.send(meter)
        assert lab.verdicts() == {"accepted": 1}
        assert lab.current(meter) is not None

    run_radio(tmp_path, work, [meter])


@pytest.mark.req("LMN-N05")
def test_a_meter_is_found_by_its_din_id_alone(tmp_path):
    """Without an address in the LMN profile: manufacturer, block as version, number, medium."""
    meter = wireless("heat")

    async def main(clock):
        home = radio_gateway(tmp_path / "gateway", [meter])
        config = home / "config.toml"
        lines = [x for x in config.read_text().splitlines() if not x.startswith("server_id")]
        config.write_text("\n".join(lines) + "\n")
        async with RadioLab(home, clock) as lab:
            await lab.send(meter)
            assert lab.verdicts() == {"accepted": 1}

    run_virtual(main)


@pytest.mark.req("LMN-N05")
def test_two_way_meters_are_recognised_and_refused_by_name(tmp_path):
    meter = wireless()

    async def work(lab):
        for control, name in ((0x08, "RSP-UD"), (0x47, "ACC-NR"), (0x48, "ACC-DMD")):
            (frame,) = encode_telegram(
                Outline(meter.address, 7, control=control), meter.key, b"", counter=5, access=1
            )
            await lab.air([frame])
            assert name in lab.log("radio-refused")[-1]
        tls = bytes.fromhex("7A0000100D")
        frame = bytes((9 + len(tls), 0x44)) + meter.address.octets + tls
        await lab.air([frame])
        assert "TLS" in lab.log("radio-refused")[-1]
        assert lab.verdicts() == {"two-way communication": 3, "security mode 13": 1}
        assert lab.current(meter) is None

    run_radio(tmp_path, work, [meter])


# -- modes and bands ---------------------------------------------------------------------------------


@pytest.mark.req("LMN-N05")
@pytest.mark.parametrize(
    ("profile", "heard"), [("tr-2025/default", {"T", "C"}), ("conexa-3.0/v3.87", {"T"})]
)
def test_the_profile_says_which_modes_are_heard(tmp_path, profile, heard):
    meters = {mode: wireless("gas", n, mode=mode) for n, mode in enumerate("STC", start=1)}

    async def work(lab):
        for meter in meters.values():
            await lab.send(meter)
        found = {mode for mode, meter in meters.items() if lab.current(meter)}
        assert found == heard
        lamp = lab.gateway.lamps.telegram_at
        assert lamp is not None

    run_radio(tmp_path, work, list(meters.values()), profile=profile)


@pytest.mark.req("LMN-N05")
def test_a_software_radio_hears_more_than_the_profile(tmp_path):
    """rtl_wmbus receives all modes; what the device would not hear is as if it was not sent."""
    meter = wireless("gas", mode="C")

    async def work(lab):
        await lab.send(meter)
        assert lab.verdicts() == {}
        assert lab.running.lmn.radios[0].not_heard == 1
        assert lab.gateway.lamps.telegram_at is None

    run_radio(tmp_path, work, [meter], ("rtl_wmbus",), profile="conexa-3.0/v3.87")


@pytest.mark.req("LMN-N05")
@pytest.mark.parametrize(("lab_lines", "accepted"), [("", 0), ('formats = ["A", "B"]', 1)])
def test_frame_format_b_is_a_setting(tmp_path, lab_lines, accepted):
    meter = wireless("gas", mode="C", form="B")

    async def work(lab):
        await lab.send(meter)
        assert lab.verdicts().get("accepted", 0) == accepted

    run_radio(tmp_path, work, [meter], ("hex",), lab=lab_lines)


@pytest.mark.req("LMN-N05")
@pytest.mark.parametrize("kind", ["im871a", "amb8465", "cul", "rc1180"])
def test_one_receiver_listens_to_both_bands_in_turn(tmp_path, kind):
    """TR-03109-1 v1.0 3.3.5.2.1: one transceiver may alternate between S and T."""
    meters = {mode: wireless("gas", n, mode=mode) for n, mode in enumerate("ST", start=1)}
    lines = 'band = "alternate"\nalternate_s = 30'

    async def work(lab):
        for _ in range(3):
            for meter in meters.values():
                await lab.send(meter)
            await lab.seconds(30)
        assert all(lab.current(meter) for meter in meters.values())
        assert 2 <= lab.verdicts()["accepted"] <= 4  # not all six: it is deaf to the other band
        assert lab.running.lmn.radios[0].damaged == 0

    run_radio(tmp_path, work, list(meters.values()), (kind,), profile="conexa-3.0/v3.87", lab=lines)


# -- the administrator, the port ------------------------------------------------------------------------


@pytest.mark.req("LMN-N05")
def test_the_administrator_switches_the_radio_off_and_on(tmp_path):
    meter = wireless()

    async def work(lab):
        lab.gateway.running._settings_changed(Settings(), Settings(lmn_wireless=False))
        await lab.send(meter)
        assert lab.verdicts() == {}
        assert not lab.running.lmn.radios[0].ready
        lab.gateway.running._settings_changed(Settings(lmn_wireless=False), Settings())
        await lab.seconds(2)
        await lab.send(meter)
        assert lab.verdicts() == {"accepted": 1}

    run_radio(tmp_path, work, [meter])


@pytest.mark.req("LMN-02")
def test_a_silent_stick_is_logged_and_tried_again(tmp_path):
    meter = wireless()

    async def main(clock):
        home = radio_gateway(tmp_path / "gateway", [meter])
        lab = RadioLab(home, clock)
        lab.sticks[0].stick.dead = True
        async with lab:
            await lab.seconds(30)
            (entry,) = lab.log("port-lost")
            assert "no iM871A answers" in entry
            lab.sticks[0].stick.dead = False
            await lab.seconds(30)
            assert len(lab.log("port-ready")) == 1
            await lab.send(meter)
            assert lab.verdicts() == {"accepted": 1}

    run_virtual(main)


async def wait_for(condition, lab):
    """A terminal line is the kernel's and delivers in its own time."""
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.01)
        await lab.seconds(0.5)
    raise AssertionError("nothing has come over the terminal line")


@pytest.mark.req("LMN-02")
def test_a_stick_on_a_pty_is_unplugged_and_plugged_in_again(tmp_path):
    """The driver over a real terminal line, which goes away and comes back under the same name."""
    meter = wireless()
    link = tmp_path / "ttyRADIO"

    class Device:
        def __init__(self):
            self.stick = VirtualCul()
            self.master, self.slave = os.openpty()
            tty.setraw(self.slave)
            os.set_blocking(self.master, False)
            link.unlink(missing_ok=True)
            link.symlink_to(os.ttyname(self.slave))
            asyncio.get_running_loop().add_reader(self.master, self.read)

        def read(self):
            answer = self.stick.receive(os.read(self.master, 4096))
            if answer:
                os.write(self.master, answer)

        def hear(self, frame):
            os.write(self.master, self.stick.hear(frame, "T", "A"))

        def unplug(self):
            asyncio.get_running_loop().remove_reader(self.master)
            os.close(self.slave)
            os.close(self.master)

    async def main(clock):
        line = f'\n[[line]]\nsource = "{link}?stick=cul"\nprotocol = "wmbus"\n'
        home = radio_gateway(tmp_path / "gateway", [meter], extra=line)
        device = Device()
        async with RadioLab(home, clock, ()) as lab:
            await wait_for(lambda: lab.running.lmn.radios[0].ready, lab)
            device.hear(meter.frames(clock.now())[0])
            await wait_for(lambda: lab.verdicts() == {"accepted": 1}, lab)
            device.unplug()
            await wait_for(lambda: not lab.running.lmn.radios[0].ready, lab)
            device = Device()
            await wait_for(lambda: lab.running.lmn.radios[0].ready, lab)
            device.hear(meter.frames(clock.now())[0])
            await wait_for(lambda: lab.verdicts() == {"accepted": 2}, lab)
        device.unplug()

    run_virtual(main)


@pytest.mark.req("LMN-02")
@pytest.mark.parametrize("bad", ["/dev/null?stick=sdr", ""])
def test_an_unknown_kind_of_receiver_is_a_clear_error(tmp_path, bad):
    home = radio_gateway(
        tmp_path / "gateway",
        [],
        extra=f'\n[[line]]\nsource = "{bad}"\nprotocol = "wmbus"\n' if bad else "",
    )
    if not bad:
        text = (home / "config.toml").read_text()
        (home / "config.toml").write_text(text.replace("[gateway]", '[gateway]\nobis_map = "no"'))

    async def main(clock):
        gateway = Gateway(home, clock)
        with pytest.raises(ConfigError, match="stick: one of|cannot read the OBIS map"):
            await gateway.power_on()

    run_virtual(main)


@pytest.mark.req("LMN-10")
def test_an_obis_map_of_ones_own(tmp_path):
    meter = wireless("gas")
    code = Obis.parse("7-0:6.0.0")

    async def main(clock):
        home = radio_gateway(tmp_path / "gateway", [meter])
        (home / "map.toml").write_text(
            '[[entry]]\ntypes = ["03"]\nquantity = "volume"\nobis = "7-0:6.0.0"\n'
        )
        config = home / "config.toml"
        config.write_text(
            config.read_text().replace("[gateway]", '[gateway]\nobis_map = "map.toml"')
        )
        async with RadioLab(home, clock) as lab:
            await lab.send(meter)
            assert (meter.id.lower(), code) in lab.device.metering.current

    run_virtual(main)


def test_two_thousand_strangers_do_not_disturb_a_meter(tmp_path):
    """Bounded list, bounded log, ours is heard all the same."""
    meter = wireless()

    async def work(lab):
        for number in range(2_000):
            address = Address.of("STR", f"{number:08d}", 1, 7)
            (frame,) = encode_telegram(Outline(address, 0), bytes(16), b"", counter=1, access=1)
            lab.sticks[0].hear(frame, "T", "A")
            if number % 100 == 0:
                await lab.seconds(0.1)
        await lab.seconds(1)
        await lab.send(meter)
        assert lab.current(meter) is not None
        rows = lab.reception.heard.rows()
        assert len(rows) == 1000
        assert rows[-1].meter == meter.id.lower()
        assert len(lab.log("radio-unknown")) == 6

    run_radio(tmp_path, work, [meter])


@pytest.mark.req("LMN-02")
@pytest.mark.parametrize("stick", ["hex", "rtl_wmbus"])
def test_a_recording_of_telegrams_is_played(tmp_path, stick):
    """Lines of a file, one every five seconds, as a receiver of text lines."""
    meter = wireless()
    device = virtual_stick(stick)
    lines = [device.hear(meter.frames(world(START))[0], "T", "A") for _ in range(3)]
    recording = tmp_path / "air.txt"
    recording.write_bytes(b"# recorded by hand\n" * (stick == "hex") + b"".join(lines).rstrip())

    async def main(clock):
        source = f"{recording}?stick={stick}&interval=5"
        line = f'\n[[line]]\nsource = "{source}"\nprotocol = "wmbus"\n'
        home = radio_gateway(tmp_path / "gateway", [meter], extra=line)
        async with RadioLab(home, clock, ()) as lab:
            await lab.seconds(12)
            assert 0 < lab.verdicts()["accepted"] < 3
            await lab.seconds(12)
            assert lab.verdicts() == {"accepted": 3}

    run_virtual(main)
