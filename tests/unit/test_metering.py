"""The core without interfaces: lists, marks, logs."""

from __future__ import annotations

import pytest
from support import device_in_memory
from two_consumers import CONFIG, START, feed, run

from smgw_emu.core.config import parse_config
from smgw_emu.core.contracts import ConsumerView
from smgw_emu.core.device import Device
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import DAY, MINUTE, SECOND, DeviceTime
from smgw_emu.core.obis import Obis
from smgw_emu.core.status import word_hex


@pytest.fixture
def device() -> Device:
    device = device_in_memory(CONFIG)
    device.power_on(START)
    return device


def view(device: Device, login: str) -> ConsumerView:
    return ConsumerView(device, next(c for c in device.config.consumer if c.login == login))


def lines(device: Device, login: str, name: str, database: str):
    anyone = view(device, login)
    point = next(p for p in anyone.usage_points() if p.name == name)
    return anyone.readings(point, database, DeviceTime(0), DeviceTime(1 << 62))


@pytest.mark.req("GW-N04")
def test_a_day_gives_96_signed_values_a_daily_and_a_monthly_line(device):
    """Local midnight of 1 April ends day and month: TAF1 gets the sum of both meters."""
    run(device, 24)
    series = lines(device, "anna", "taf7-1", "origin")
    assert len(series) == 96
    assert series[0].value == 1001
    assert all(len(line.signature) == 64 for line in series)
    (daily,) = lines(device, "anna", "taf7-1", "daily")
    assert daily.target.iso() == "2026-03-31T22:00:00Z"
    (month,) = lines(device, "anna", "taf1-1", "derived")
    step = 12 * 4
    assert month.value == 1000 + step + 50_000 + 2 * step
    assert (month.meter, month.target.iso()) == ("taf1-1", "2026-03-31T22:00:00Z")


@pytest.mark.req("GW-N09")
def test_a_missing_value_repeats_the_last_one_marked_and_unsigned(device):
    """Old capture time, new target time, e0020000, no signature; one log entry, not one per value."""
    run(device, 3, skip=range(3, 6))
    device.on_deadline(START + 181 * MINUTE)
    series = lines(device, "anna", "taf7-1", "origin")
    repeated = [line for line in series if line.repeated]
    assert [line.target.iso()[11:16] for line in repeated] == ["10:45", "11:00", "11:15"]
    assert {line.capture.iso()[11:16] for line in repeated} == {"10:30"}
    assert {(word_hex(x.smgw_word), word_hex(x.meter_word)) for x in repeated} == {
        ("e0020000", "00000000")
    }
    assert {line.signature for line in repeated} == {None}
    events = [e.event for e in device.logbooks.entries("consumer", "anna")]
    assert events.count("EMU.40.0") == 2  # one per meter
    assert events.count("EMU.40.1") == 2


def test_a_derived_line_is_not_formed_from_a_missing_value(device):
    """TR-03109-1 v1.0 4.3.4: the last known sum stands in, marked and unsigned (GW-N09)."""
    run(device, 24, skip=range(48, 49))
    for name, database, value in (("taf1-1", "derived", 51_141), ("taf7-1", "daily", 1047)):
        (line,) = lines(device, "anna", name, database)
        assert (line.value, line.repeated, line.signature) == (value, True, None)
        assert (line.capture.iso(), line.target.iso()) == (
            "2026-03-31T21:45:00Z",
            "2026-03-31T22:00:00Z",
        )
        assert word_hex(line.smgw_word) == "e0020000"


@pytest.mark.req("SEC-21")
def test_values_are_marked_while_the_time_is_invalid():
    """Bit 9 while invalid, gone as soon as the time is valid again (SEC-23)."""
    device = device_in_memory(CONFIG, valid=False)
    device.power_on(START)
    feed(device, START + 15 * MINUTE, {"1emu0000000001": 1})
    device.set_clock(START + 16 * MINUTE, DeviceTime(START.ns + 16 * MINUTE), valid=True)
    feed(device, START + 30 * MINUTE, {"1emu0000000001": 2})
    words = [word_hex(line.smgw_word) for line in lines(device, "anna", "taf7-1", "origin")]
    assert words == ["a0400000", "a0000000"]
    calibration = [e.event for e in device.logbooks.entries("calibration")]
    assert {"EMU.50.0", "EMU.50.1", "EMU.50.2"} <= set(calibration)


@pytest.mark.req("GW-11")
@pytest.mark.req("GW-14")
@pytest.mark.req("GW-15")
def test_a_consumer_sees_only_his_own(device):
    """Anna's contracts, values and log hold nothing of Bert's."""
    run(device, 1)
    assert [p.name for p in view(device, "anna").usage_points()] == ["taf1-1", "taf7-1"]
    bert = view(device, "bert")
    assert bert.usage_point("01005e318027.taf7-1.sm") is None
    (point,) = bert.usage_points()
    meters = {r.meter for r in bert.readings(point, "origin", DeviceTime(0), DeviceTime(1 << 62))}
    assert meters == {"1emu0000000002"}
    users = {e.user for e in device.logbooks.entries("consumer", "bert")}
    assert users == {"01005e318011.bert.sm"}
    messages = " ".join(e.message for e in device.logbooks.entries("consumer", "bert"))
    assert "anna" not in messages and "0000000001" not in messages


@pytest.mark.req("TR-03109-1 v1.0 T43")
def test_meter_faults_are_logged_when_they_come_and_go(device):
    """Magnetic influence: one entry in (L08), one out, in system, calibration, consumer log."""
    for number, status in enumerate((4, 4 | 1 << 9, 4 | 1 << 9, 4)):
        feed(device, START + number * SECOND, {"1emu0000000001": 1}, status)
    for log, reader in (("system", ""), ("calibration", ""), ("consumer", "anna")):
        events = [e.event for e in device.logbooks.entries(log, reader)]
        assert events.count("EMU.180.1") == events.count("EMU.41.1") == 1
    assert "EMU.180.1" not in [e.event for e in device.logbooks.entries("consumer", "bert")]


def test_a_counter_that_runs_backwards_is_marked_and_logged(device):
    """Kept in the series, marked unusable, never silently dropped."""
    feed(device, START + 15 * MINUTE, {"1emu0000000001": 100})
    feed(device, START + 30 * MINUTE, {"1emu0000000001": 99})
    series = lines(device, "anna", "taf7-1", "origin")
    assert [(x.value, word_hex(x.smgw_word)) for x in series] == [
        (100, "a0000000"),
        (99, "a0020000"),
    ]
    assert "EMU.41.2" in [e.event for e in device.logbooks.entries("calibration")]


@pytest.mark.req("LMN-17")
def test_an_unknown_meter_is_noted_once_and_its_values_dropped(device):
    """Only configured meters count."""
    for number in range(5):
        feed(device, START + number * SECOND, {"1xxx0000000009": number})
    assert device.metering.unknown_meters == {"1xxx0000000009"}
    assert [e.event for e in device.logbooks.entries("system")].count("EMU.42.0") == 1


@pytest.mark.req("GW-62")
@pytest.mark.req("GW-13")
def test_each_start_logs_special_functions_once_and_changes_of_profiles(tmp_path):
    """THE.19013.0 once per start; a changed contract is logged with its parameters."""
    device = device_in_memory(CONFIG)
    device.power_on(START)
    changed = parse_config(CONFIG.replace('name = "taf7-2"', 'name = "taf7-3"'))
    again = Device(changed, device.profile, device.store, device.metering._signer, device.clock, "")
    again.power_on(START + DAY)
    for reader in ("anna", "bert"):
        events = [e.event for e in again.logbooks.entries("consumer", reader)]
        assert events.count("THE.19013.0") == 2
    bert = [e.event for e in again.logbooks.entries("consumer", "bert")]
    assert {"EMU.21.0", "EMU.21.2"} <= set(bert)
    calibration = [e.event for e in again.logbooks.entries("calibration")]
    assert calibration.count("EMU.3.0") == 1  # commissioned once


@pytest.mark.req("TR-03109-1 v1.0 T44")
def test_a_removed_meter_and_a_contract_that_changes_hands_are_told_to_whom_they_concern():
    """Who had the meter reads of its removal; old and new consumer each read only their part."""
    device = device_in_memory(CONFIG)
    device.power_on(START)
    point = CONFIG[CONFIG.index('[[usage_point]]\nname = "taf7-2"') :]
    without = CONFIG.replace(point, "").replace(', "1EMU0000000002"]', "]")
    without = without.replace('[[meter]]\nid = "1EMU0000000002"\n', "")
    moved = CONFIG.replace(point, point.replace('consumer = "bert"', 'consumer = "anna"'))

    def restart(text: str, day: int) -> dict[str, list[str]]:
        begin = {name: len(device.logbooks.entries("consumer", name)) for name in ("anna", "bert")}
        again = Device(
            parse_config(text),
            device.profile,
            device.store,
            device.metering._signer,
            device.clock,
            "",
        )
        again.power_on(START + day * DAY)
        return {
            name: [e.event for e in again.logbooks.entries("consumer", name)][count:]
            for name, count in begin.items()
        }

    first = restart(moved, 1)
    assert "EMU.21.2" in first["bert"] and "EMU.21.0" not in first["bert"]
    assert "EMU.21.0" in first["anna"]
    restart(CONFIG, 2)
    gone = restart(without, 3)
    assert "EMU.20.2" in gone["bert"]
    assert "EMU.20.2" in gone["anna"]  # her TAF1 added that meter


def test_daily_values_are_dropped_after_six_weeks(device):
    """TAF6 retention: 42 days."""
    run(device, 24)
    assert device.store.channels("daily", "taf7-1", "")[0][1] == 1
    device.retention.prune(DeviceTime(START.ns + 43 * DAY))
    assert device.store.channels("daily", "taf7-1", "")[0][1] == 0
    assert device.store.channels("origin", "1emu0000000001", "900")[0][1] == 96


@pytest.mark.req("GW-47")
@pytest.mark.req("GW-N05")
def test_billing_periods_and_states(device):
    """Calendar months since the contract began; ready, running, archive."""
    anna = view(device, "anna")
    point = anna.usage_points()[0]
    now = DeviceTime.from_datetime(START.datetime().replace(month=6, day=15))
    periods = [(p.begin.iso(), p.end and p.end.iso()) for p in anna.billing_periods(point, now)]
    assert periods == [
        ("2026-03-31T10:00:00Z", "2026-03-31T22:00:00Z"),
        ("2026-03-31T22:00:00Z", "2026-04-30T22:00:00Z"),
        ("2026-04-30T22:00:00Z", "2026-05-31T22:00:00Z"),
        ("2026-05-31T22:00:00Z", None),
    ]
    assert point.state(DeviceTime(START.ns - 1)) == "ready"
    assert anna.billing_periods(point, DeviceTime(0)) == []


def test_an_ended_contract_keeps_its_values_and_shows_no_later_ones():
    """Archive: last period closed at the end, values after it hidden (GW-12)."""
    device = device_in_memory(
        CONFIG.replace('name = "taf7-1"', 'end = "2026-03-31T12:00:00Z"\nname = "taf7-1"')
    )
    device.power_on(START)
    run(device, 4)
    assert len(lines(device, "anna", "taf7-1", "origin")) == 8
    anna = view(device, "anna")
    point = anna.usage_point("01005e318027.taf7-1.sm")
    now = DeviceTime(START.ns + DAY)
    assert point.state(now) == "archive"
    assert anna.billing_periods(point, now)[-1].end == point.finish
    assert anna.last_readings(point, "origin")[0].target == point.finish


def test_meters_with_different_scalers_are_summed_exactly(device):
    """The finest scaler wins; no digit is lost."""
    midnight = START + 12 * 60 * MINUTE
    entry = {"1emu0000000001": (123, 0), "1emu0000000002": (4567, -3)}
    for meter, (value, scaler) in entry.items():
        feed(device, midnight, {meter: value}, scaler=scaler)
    (month,) = lines(device, "anna", "taf1-1", "derived")
    assert (month.value, month.scaler) == (123_000 + 4567, -3)


def test_a_sum_that_no_register_holds_is_not_formed(device):
    """Absurd scalers of one meter spoil the sum, not the series of the others."""
    midnight = START + 12 * 60 * MINUTE
    feed(device, midnight, {"1emu0000000001": 2**62}, scaler=0)
    feed(device, midnight, {"1emu0000000002": 5}, scaler=-30)
    assert lines(device, "anna", "taf1-1", "derived") == []
    assert [line.value for line in lines(device, "anna", "taf7-1", "origin")] == [2**62]


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ('id = "ETHE0300004261"', 'id = "1THE0300004261"', "medium E"),
        ('id = "ETHE0300004261"', 'id = "nonsense"', "DIN 43863-5"),
        ('id = "1EMU0000000002"', 'id = "1EMU0000000001"', "twice"),
        ("taf = 7", "taf = 99", "not available"),
        ('consumer = "bert"', 'consumer = "carl"', "not configured"),
        ('meters = ["1EMU0000000002"]', 'meters = ["1EMU0000000009"]', "not configured"),
        ('start = "2026-03-31T10:00:00Z"', 'start = "soon"', "A-1.1.3"),
        ('user_id = "anna.sm"', 'user_id = "../x"', "user_id"),
        ('login = "anna"', 'login = "anna"\nha1_md5 = "secret"', "lower-case hex"),
        ("[gateway]", "[gateway]\nwrong = 1", "wrong"),
        ("[gateway]", "[gateway", ""),
        ('id = "1EMU0000000002"', 'id = "1EMU0000000002"\nobis = ["1-0:1.8.1"]', "untariffed"),
        ("taf = 1", 'taf = 1\ncapture_time = "25:00"', "capture_time"),
        ("taf = 1", "taf = 1\nperiod_s = 7", "divide a day"),
        ("taf = 1", 'taf = 1\nend = "2020-01-01T00:00:00Z"', "not after start"),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(old, new, word):
    """One line that names the field; never a traceback, never a secret."""
    with pytest.raises(ConfigError) as caught:
        parse_config(CONFIG.replace(old, new, 1))
    assert word in str(caught.value)
    assert "secret" not in str(caught.value)


def test_obis_registers_of_a_meter_are_known_before_the_first_value(device):
    """usage-point-info must list what readings will show."""
    point = view(device, "anna").usage_points()[1]
    channels = view(device, "anna").channels(point, "origin")
    assert [(c.obis, c.scaler, c.unit, c.records) for c in channels] == [
        (Obis.parse("1-0:1.8.0"), -1, 30, 0)
    ]
