"""Every text parser: any input gives a value or the named error, 10 000 of each in CI."""

from __future__ import annotations

import contextlib

from fuzz import fuzz
from two_consumers import CONFIG

from smgw_emu.core.config import GatewayConfig, parse_config
from smgw_emu.core.errors import ConfigError, RemoteProtocolError
from smgw_emu.core.events import load_catalogue
from smgw_emu.core.ids import DeviceId
from smgw_emu.core.instants import parse_device_time
from smgw_emu.core.obis import Obis


def text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


@fuzz(b"2019-01-07T15:22:45+01:00", b"2026-03-29T02:30:00Z")
def test_date_times(data):
    """What is read can be written and read again."""
    try:
        moment = parse_device_time(text(data))
    except RemoteProtocolError:
        return
    assert parse_device_time(moment.iso()) == moment


@fuzz(b"1-0:1.8.0*255", b"0100010800ff")
def test_obis_codes(data):
    """What is read has a normal form."""
    try:
        obis = Obis.parse(text(data))
    except RemoteProtocolError:
        return
    assert Obis.parse(obis.hex) == obis == Obis.parse(str(obis))


@fuzz(b"ETHE0300004261", b"\x0a\x01EMH\x00\x00\x4a\xf1\xfd")
def test_device_ids(data):
    """Text and octets: a device or a refusal."""
    with contextlib.suppress(RemoteProtocolError):
        assert DeviceId.parse(str(DeviceId.parse(text(data))))
    with contextlib.suppress(RemoteProtocolError):
        assert DeviceId.from_server_id(data).server_id == data


@fuzz(CONFIG.encode())
def test_configurations(data):
    """A configuration or one line that says what is wrong."""
    try:
        assert isinstance(parse_config(text(data)), GatewayConfig)
    except ConfigError as error:
        assert str(error)


@fuzz(b"[EMU.1.0]\nname = 'start'\nlevel = 'I'\nlogs = ['system']\nfor = 'all'\ntext = ''\n")
def test_event_catalogues(data):
    """Never complete, so always refused by name."""
    try:
        load_catalogue(text(data))
    except ConfigError as error:
        assert "event catalogue" in str(error) or "event id" in str(error)
    else:
        raise AssertionError("a catalogue without the device's events was taken")
