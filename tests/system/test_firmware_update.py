"""Scenarios F01-F11: the update as the administrator drives it, on a device that really boots."""

from __future__ import annotations

import json

import pytest
from state_lab import BLINK, activate, load, rhythm, settle, signed, state
from support import Lab, own_profile, run_virtual
from wan_lab import run_lab, wan_lab

from firmware.flash import FileDisk
from firmware.update import State
from smgw_emu.bench.pki.folder import open_manufacturer
from smgw_emu.bench.pki.manufacturer import new_manufacturer
from smgw_emu.core.instants import DAY, HOUR, MINUTE, SECOND, DeviceTime
from smgw_emu.core.leds import BootPhase, SecureState
from smgw_emu.gateway import Gateway
from smgw_emu.lab.firmware import corrupt, install_firmware, swap

BOOT, NORMAL = SecureState.BOOT, SecureState.NORMAL


def record(lab):
    return lab.gateway.flash.record()


async def rarely(lab):
    """Time is asked for twice a day instead of every hour: a month passes quickly."""
    session = await lab.session()
    await lab.market.drive(session.set_clock("NTP-TLS", 43_200))


def flip(package, offset):
    data = bytearray(package)
    data[offset] ^= 1
    return bytes(data)


@pytest.mark.req("GW-80", "GW-81", "GW-83", "GW-84", "F10", "H02")
def test_an_update_from_the_first_block_to_its_confirmation(tmp_path):
    """Load, verify, activate at a time: the booted package decides version, hash and behaviour."""

    async def work(lab):
        await lab.commission()
        await settle(lab)
        readings = lab.device.store.count_readings()
        points = [point.name for point in lab.device.config.usage_point]
        old_hash = lab.device.firmware_hash
        application = (
            b'name = "new line"\nextends = "conexa-3.0/v3.87"\n[m2m]\nlog_max_entries = 7\n'
        )
        package = signed(lab, "v3.88.0-cc", application=application, kind="security")
        assert await load(lab, package) == ""
        assert record(lab).update == State.STAGED and lab.gateway.flash.version("b") == "v3.88.0-cc"
        assert lab.logged("(Version v3.88.0-cc, security)", "calibration") == 1
        moment = lab.device.now(lab.clock.now()) + HOUR
        await activate(lab, moment.iso())
        await lab.clock.advance(HOUR - MINUTE)
        assert lab.device.profile.device.firmware_version == "v3.87.0-cc"
        stream = lab.gwa.sessions[lab.id].caller.stream
        await lab.clock.advance(2 * MINUTE)
        assert stream.tls.over, "sessions end with the old version"
        await lab.until(lambda: record(lab).update == State.CONFIRMED)
        shown = lab.device.profile
        assert shown.device.firmware_version == "v3.88.0-cc" and shown.name == "new line"
        assert shown.m2m.log_max_entries == 7
        assert lab.device.firmware_hash != old_hash
        assert record(lab).active == "b" and record(lab).confirmed == "v3.88.0-cc"
        assert lab.logged("Firmware geändert von v3.87.0-cc auf v3.88.0-cc", "calibration") == 1
        assert lab.device.store.count_readings() >= readings, "values survive (2.3.2)"
        assert [point.name for point in lab.device.config.usage_point] == points
        await settle(lab, 5)
        names = [event["name"] for event in lab.events()]
        for name in ("firmware-verified", "firmware-activation", "firmware-changed",
                     "firmware-confirmed"):  # fmt: skip
            assert names.count(name) == 1, name
        assert state(lab) is NORMAL

    run_lab(tmp_path, work)


@pytest.mark.req("F01")
@pytest.mark.parametrize("fault", ["foreign key", "unsigned", "noise", "manifest", "product"])
def test_a_package_of_somebody_else_is_refused_before_anything_is_written(tmp_path, fault):
    """Nothing changes but the logs; the inactive partition stays what it was."""

    async def work(lab):
        await lab.commission(points=[])
        good = signed(lab)
        package = {
            "foreign key": lambda: signed(lab, maker=new_manufacturer()),
            "unsigned": lambda: b"SMGWFW00" + good[8:],
            "noise": lambda: bytes(range(256)) * 300,
            "manifest": lambda: flip(good, 200),
            "product": lambda: signed(lab, application=OTHER),
        }[fault]()
        assert await load(lab, package)
        shown = record(lab)
        assert (shown.active, shown.faulty_since, shown.update) == ("a", None, State.FAILED)
        assert lab.gateway.flash.is_empty("b")
        assert len(lab.events("firmware-refused")) == 1
        assert lab.logged("Firmware-Abbild fw.img abgelehnt") == 1
        assert await load(lab, good, "good.fw") == "", "a good one is taken after that"

    run_lab(tmp_path, work)


OTHER = b'extends = "conexa-3.0/v3.87"\n[device]\nmodel = "CONEXA 4.0"\n'


@pytest.mark.req("F07", "GW-84")
def test_a_downgrade_is_refused_and_a_forced_swap_does_not_boot(tmp_path):
    """Older than what has run: refused; another partition by force: Secure State Boot, for good."""

    async def work(lab):
        await lab.commission(points=[])
        assert "is older than" in await load(lab, signed(lab, "v3.86.9-cc"), "old.fw")
        assert "it follows v9.0.0" in await load(
            lab, signed(lab, "v9.1.0", min_version="v9.0.0"), "far.fw"
        )
        assert record(lab).faulty_since is None and lab.gateway.flash.is_empty("b")
        assert await load(lab, signed(lab)) == ""
        swap(lab.gateway.flash)
        await lab.gateway.power_off()
        await lab.gateway.power_on()
        assert (
            state(lab) is BOOT
            and "v3.88.0-cc is active, v3.87.0-cc is expected" in lab.gateway.cause
        )
        swap(lab.gateway.flash)
        await lab.gateway.power_off()
        await lab.gateway.power_on()
        assert state(lab) is BOOT, "latched"

    run_lab(tmp_path, work)


@pytest.mark.req("F02", "F03", "SEC-04", "GW-83")
def test_a_corrupt_transfer_is_a_faulty_partition_whose_30_days_are_counted_to_the_second(tmp_path):
    """Normal operation with warnings for 29 days 23:59:59; then every lamp at 50 ms, no service."""

    async def work(lab):
        await lab.commission(points=[])
        package = signed(lab)
        assert "SHA-256" in await load(lab, flip(package, len(package) - 1))
        since = DeviceTime(record(lab).faulty_since)
        await rarely(lab)
        device = lab.device
        warned = []
        for _ in range(29):
            await lab.clock.advance(DAY)
            warned.append(len(lab.events("firmware-stale")))
        assert warned[0] == 1 and warned[9] == 2 and warned[28] == 5 and state(lab) is NORMAL
        lab.gwa.time.faults.silent = True
        last = device.clock.world_at(since + 30 * DAY)
        await lab.clock.advance_to(last + -SECOND)
        assert state(lab) is NORMAL and lab.gateway.running is not None
        await lab.clock.advance_to(last)
        assert state(lab) is BOOT and lab.gateway.running is None
        assert lab.gateway.han_address is None
        for lamp in ("pwr", "tls", "lmc", "wmt"):
            assert rhythm(lab, lamp) == BLINK
        await lab.clock.advance(MINUTE)
        assert not [s for s in lab.gwa.sessions.values() if not s.caller.stream.tls.over]

    run_lab(tmp_path, work, interval=5 * MINUTE)


@pytest.mark.req("F04")
def test_a_good_package_before_the_30_days_ends_the_fault(tmp_path):
    """Day 20: the counter is cleared; day 31 is a day like any other."""

    async def work(lab):
        await lab.commission(points=[])
        package = signed(lab)
        await load(lab, flip(package, len(package) - 1))
        await rarely(lab)
        await lab.clock.advance(20 * DAY)
        assert await load(lab, package, "again.fw") == ""
        assert record(lab).faulty_since is None and len(lab.events("firmware-repaired")) == 1
        await lab.clock.advance(11 * DAY)
        assert state(lab) is NORMAL

    run_lab(tmp_path, work, interval=5 * MINUTE)


@pytest.mark.req("F03")
def test_the_age_counts_through_a_time_without_power(tmp_path):
    """31 days off with a faulty partition: the start finds it too old."""

    async def work(lab):
        await lab.commission(points=[])
        package = signed(lab)
        await load(lab, flip(package, len(package) - 1))
        await lab.gateway.power_off(orderly=False)
        await lab.clock.advance(31 * DAY)
        await lab.gateway.power_on()
        await lab.clock.advance(SECOND)
        assert state(lab) is BOOT

    run_lab(tmp_path, work)


@pytest.mark.req("F08", "SEC-02", "SEC-06", "F09", "SEC-40", "SEC-41")
@pytest.mark.parametrize(
    ("image", "expected"),
    [("kernel", BOOT), ("rootfs", BOOT), ("application", SecureState.CYCLIC_RESTART)],
)
def test_a_corrupt_image_at_boot(home, image, expected):
    """Kernel and rootfs: Secure State Boot. A tampered measurement: again and again, never steady."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            await clock.advance(61 * SECOND)
            assert lab.gateway.lamps.phase is BootPhase.READY
            corrupt(lab.gateway.flash, "a", image)
            await lab.gateway.power_off()
            await lab.gateway.power_on()
            assert lab.gateway.states.state is expected and image in lab.gateway.cause
            assert lab.gateway.running is None and lab.gateway.han_address is None
            await clock.advance(HOUR)
            assert lab.gateway.states.state is expected
            assert lab.gateway.lamps.phase is not BootPhase.READY
            corrupt(lab.gateway.flash, "a", image)  # the bit turned back
            await clock.advance(MINUTE)
            await lab.gateway.power_off()
            await lab.gateway.power_on()
            again = lab.gateway.states.state
            assert again is (BOOT if expected is BOOT else NORMAL), "SEC-08: only Boot is for good"
            maker = open_manufacturer(home / "lab-pki")
            install_firmware(home, "conexa-3.0/v3.87", maker)
            await lab.gateway.power_off()
            await lab.gateway.power_on()
            assert lab.gateway.states.state is NORMAL, "the workbench is the way out"

    run_virtual(work)


@pytest.mark.req("SEC-08")
def test_without_the_latch_a_restart_looks_again(home):
    """A named setting: boot_latched = false."""
    own_profile(home, "[secure_state]\nboot_latched = false")

    async def work(clock):
        async with Lab(home, clock) as lab:
            for broken in (True, False):
                corrupt(lab.gateway.flash, "a", "kernel")
                await lab.gateway.power_off()
                await lab.gateway.power_on()
                assert (lab.gateway.states.state is BOOT) == broken
                assert (lab.gateway.running is None) == broken

    run_virtual(work)


class SpoilingDisk(FileDisk):
    """A flash whose bit turns between the switch and the boot of the new version."""

    def __init__(self, flash):
        self.flash = flash

    def replace(self, path, data):
        super().replace(path, data)
        if b'"update":"booting"' in data:
            corrupt(self.flash, "b", "kernel")


@pytest.mark.req("F06")
@pytest.mark.parametrize("fallback", [False, True])
def test_a_new_version_that_does_not_start(tmp_path, fallback):
    """No automatic fallback is documented: Secure State Boot; with the setting, the old one goes on."""

    async def main(clock):
        async with wan_lab(tmp_path, clock, on=False) as lab:
            value = str(fallback).lower()
            own_profile(lab.gateway.directory, f"[firmware]\nauto_fallback = {value}")
            lab.gateway.config = Gateway(lab.gateway.directory, clock).config
            await lab.gateway.power_on()
            await lab.commission(points=[])
            assert await load(lab, signed(lab)) == ""
            moment = lab.device.now(clock.now()) + HOUR
            await activate(lab, moment.iso())
            lab.gateway.flash._disk = SpoilingDisk(lab.gateway.flash)
            await clock.advance(2 * HOUR)
            if not fallback:
                assert state(lab) is BOOT
                return
            assert state(lab) is NORMAL
            shown = record(lab)
            assert (shown.active, shown.expected, shown.update) == ("a", "v3.87.0-cc", State.FAILED)
            assert shown.faulty_since is not None
            assert "kernel" in shown.faulty

    run_virtual(main)


@pytest.mark.req("F05", "F11", "WAN-N05")
def test_a_transfer_goes_on_where_contact_or_power_was_lost(tmp_path):
    """Half of the blocks, a power cut, the rest: one whole image; the active version is untouched."""

    async def work(lab):
        await lab.commission(points=[])
        package = signed(lab, rootfs=bytes(range(256)) * 2000)
        session = await lab.session()
        path = "/smgw/firmware/fw.img"
        half = 200_000
        headers = [
            ("Content-Type", "application/octet-stream"),
            ("Content-Range", f"bytes 0-{half - 1}/{len(package)}"),
        ]
        answer = await lab.market.drive(session.caller.call("PUT", path, headers, package[:half]))
        assert answer.status == 206 and record(lab).update == State.RECEIVING
        lab.gwa.sessions.clear()
        await lab.gateway.power_off(orderly=False)
        await lab.gateway.power_on()
        await lab.until(lambda: bool(lab.gwa.sessions))
        session = await lab.session()
        state_ = await lab.market.drive(session.caller.call("GET", path))
        assert dict(state_.headers)["range"] == f"bytes=0-{half - 1}"
        steps = []
        await lab.market.drive(
            session.load_firmware("fw.img", package, lambda have, _all: steps.append(have))
        )
        assert steps[0] == half + 65_536
        assert await load(lab, package) == "" and state(lab) is NORMAL

    run_lab(tmp_path, work)


def test_a_scheduled_activation_survives_a_power_cut_and_is_late_if_it_must(tmp_path):
    """The order is in the boot record: off over its moment, it is carried out at the next start."""

    async def work(lab):
        await lab.commission(points=[])
        assert await load(lab, signed(lab)) == ""
        await activate(lab, (lab.device.now(lab.clock.now()) + HOUR).iso())
        assert await load(lab, signed(lab, "v3.89.0-cc"), "other.fw"), "an update is scheduled"
        await lab.gateway.power_off(orderly=False)
        await lab.clock.advance(2 * HOUR)
        await lab.gateway.power_on()
        await lab.clock.advance(MINUTE)
        assert lab.device.profile.device.firmware_version == "v3.88.0-cc"
        assert record(lab).update == State.CONFIRMED

    run_lab(tmp_path, work)


def test_the_flash_of_a_new_device_is_readable_for_people(home):
    """boot.json says what is expected; no secret is in the flash."""
    shown = json.loads((home / "flash" / "boot.json").read_text())
    assert shown["expected"] == shown["confirmed"] == "v3.87.0-cc"
    assert shown["product"] == "CONEXA 3.0"
    assert all(b"PRIVATE" not in path.read_bytes() for path in (home / "flash").iterdir())
