"""wM-Bus telegrams through scapy's fields and a reference decoder others wrote."""

from __future__ import annotations

import pytest
from radio_lab import NOW, vectors, wireless

from lmn.wmbus.ell import open_payload, parse_ell
from lmn.wmbus.link import encode_a, parse_link
from lmn.wmbus.telegram import open_message, parse_telegram
from smgw_emu.lab.capture.wmbus import Afl, EllI, MbusRecords, TplShort, WmbusAir, WmbusLink

FRAMES = {n: v for n, v in vectors().items() if v["layer"] == "wmbus-frame"}
REFERENCE = {n: v for n, v in FRAMES.items() if v.get("reference_ok")}


def bare(entry):
    return bytes.fromhex(entry.get("telegram_no_crc") or entry["telegram"])


@pytest.mark.req("LMN-N05")
@pytest.mark.parametrize("name", REFERENCE)
def test_each_layer_is_what_the_reference_decoder_says(name):
    """``decoded_by_reference`` of the vectors: an independent Python decoder (crypto included)."""
    entry = REFERENCE[name]
    said, data = entry["decoded_by_reference"], bare(entry)
    key = bytes.fromhex(entry["key"]) if entry["key"] else None
    link = parse_link(data)
    assert (data[0], link.control) == (said["L"], said["C"])
    address = link.address
    assert (address.manufacturer, address.number) == (said["mfct"], said["id"])
    assert (address.version, address.device_type) == (said["ver"], said["type"])
    ell, rest = parse_ell(link.payload)
    assert (f"{ell.ci:02x}" if ell else None) == said.get("ell")
    if "ell_crc_ok" in said:
        assert ell.encryption == said["enc"]
        plain = open_payload(ell, address, key, rest)
        assert said["apdu"] in {plain.hex(), plain[1:].hex()}
        return
    telegram = parse_telegram(data, key)
    if "afl" in said:
        afl = telegram.afl
        shown = {"mcl": afl.mcl, "mcr": afl.mcr.hex(), "mac": afl.mac.hex()}
        assert shown == {k: said["afl"][k] for k in shown}
    tpl = telegram.tpl
    if "acc" in said:
        assert (tpl.ci, tpl.access, tpl.status) == (said["ci"], said["acc"], said["sts"])
        assert (tpl.cf, tpl.mode) == (said["cf"], said["mode"])
        assert (tpl.cfe[0] if tpl.cfe else None) == said.get("cfe")
    plain = open_message(telegram, key)
    assert said["apdu"] in {plain.hex(), "2f2f" + plain.hex()}


@pytest.mark.parametrize("name", FRAMES)
def test_scapy_reads_and_builds_every_vector(name):
    """A second description of the layers, with scapy's own fields."""
    data = bare(FRAMES[name])
    packet = WmbusLink(data)
    assert bytes(packet) == data
    link = parse_link(data)
    assert (packet.length, packet.control) == (data[0], link.control)
    assert packet.manufacturer == link.address.manufacturer
    assert f"{packet.number:08X}" == link.address.number
    assert (packet.version, packet.type) == (link.address.version, link.address.device_type)
    air = WmbusAir(encode_a(data))
    assert bytes(air.payload) == bytes(packet.payload)


@pytest.mark.parametrize("security", [0, 7, 10])
def test_scapy_reads_our_telegrams(security):
    meter = wireless("heat", 12_345_678, security=security)
    meter.counter = 0x01020304
    (frame,) = meter.frames(NOW)
    packet = WmbusAir(encode_a(frame))
    assert "TST" in repr(packet) and "12345678" in repr(packet)
    assert packet[EllI].cc == 0x20
    tpl = packet[TplShort]
    assert (tpl.mode, tpl.status) == (security, 0)
    if security == 7:
        assert (packet[Afl].counter, packet[Afl].mcl) == (0x01020304, 0x25)
        assert len(packet[Afl].mac) == 8
    if security == 10:
        assert (tpl.counter, tpl.cfe_10) == (0x01020304, 0x0110)
    if security == 0:
        assert packet[MbusRecords].records.startswith(b"\x0c\x06")
