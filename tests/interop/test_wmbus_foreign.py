"""wM-Bus against programs others wrote: pymbusparser, pyMeterBus, OpenSSL, PyCryptodome, wmbusmeters.

Which judge sees what (``lmn-wireless.md`` 5): pymbusparser reads plain telegrams and mode 5; OpenSSL's
command line recomputes keys, MAC and plain text of mode 7; PyCryptodome's CCM does it for mode 10;
wmbusmeters (GPL, an external program) reads modes 5 and 7 if it is installed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from decimal import Decimal

import meterbus
import pymbusparser
import pytest
from Crypto.Cipher import AES
from hypothesis import example, given
from hypothesis import strategies as st
from radio_lab import NOW, vectors, wireless

from lmn.mbus import decode_records, vif
from lmn.wmbus.link import encode_air
from lmn.wmbus.telegram import open_telegram, parse_telegram
from smgw_emu.bench.meters.wireless import KINDS, Fault

VECTORS = vectors()


def foreign(frame, key=None):
    found = pymbusparser.parse(encode_air(frame, "A"), key=key)
    assert found["decode_state"] == "complete", found["diagnostics"]
    return found


def numbers(records):
    """Return (header, value) of the numeric records of pymbusparser."""
    return [
        (row["header_hex"].replace(" ", "").lower(), Decimal(row["value"]["value"]))
        for row in records
        if row["value"]["kind"] == "decimal"
    ]


@pytest.mark.req("LMN-02", "LMN-10", "LMN-N05")
@pytest.mark.parametrize("security", [0, 5])
@pytest.mark.parametrize("kind", list(KINDS))
def test_pymbusparser_reads_our_meters(kind, security):
    meter = wireless(kind, 12_345_678, security=security)
    meter.tamper(Fault.BATTERY)
    (frame,) = meter.frames(NOW)
    found = foreign(frame, meter.key if security else None)
    identity = found["meter"]["identity"]
    assert (identity["id"], identity["manufacturer_code"]) == ("12345678", "TST")
    assert identity["device_type_code"] == meter.kind.device_type
    assert found["transport"]["statuses"][0]["raw"] == "04"  # power low
    ours = open_telegram(parse_telegram(frame), meter.key)
    mine = {r.header.octets.hex(): r.number for r in ours.records if r.number is not None}
    theirs = dict(numbers(found["records"]))
    assert theirs.pop("02fd17", None) is not None  # bits: whether signed is another matter
    mine.pop("02fd17")
    assert theirs == mine
    main = meter.kind.main.hex()
    value = meter.kind.value(NOW, meter.seed) % 10 ** (2 * meter.kind.octets)
    assert theirs[main] == value * Decimal(10) ** ours.records[0].header.quantity.exponent


@pytest.mark.req("LMN-N05")
@pytest.mark.parametrize("name", ["oms_n2_1_profileA_gas", "sontex868_mode5", "amber_demo_mode5"])
def test_pymbusparser_and_we_agree_on_real_telegrams(name):
    entry = VECTORS[name]
    frame, key = bytes.fromhex(entry["telegram_no_crc"]), bytes.fromhex(entry["key"])
    mine = {
        r.header.octets.hex(): r.number
        for r in open_telegram(parse_telegram(frame), key).records
        if r.number is not None
    }
    shared = [(h, v) for h, v in numbers(foreign(frame, key)["records"]) if h in mine]
    assert shared
    assert [(h, mine[h]) for h, _ in shared if mine[h] is not None] == shared


@pytest.mark.req("LMN-N05")
@given(
    st.sampled_from([(1, 1), (2, 2), (3, 3), (4, 4), (6, 6)]),
    st.sampled_from([0x03, 0x06, 0x13, 0x14, 0x2B, 0x3B, 0x5A]),
    st.integers(0, 0x41FF),
    st.integers(0, 3),
    st.data(),
)
@example((4, 4), 0x13, 0, 0, None)
def test_pymbusparser_and_we_agree_on_records(coding, vif, storage, tariff, source):
    number, size = coding
    value = 4711 if source is None else source.draw(
        st.integers(1 - 2 ** (8 * size - 1), 2 ** (8 * size - 1) - 1)
    )  # fmt: skip
    octets = [number | (storage & 1) << 6]
    rest, shift = storage >> 1, tariff
    while rest or shift:
        octets[-1] |= 0x80
        octets.append((rest & 0xF) | (shift & 3) << 4)
        rest, shift = rest >> 4, shift >> 2
    data = bytes((*octets, vif)) + value.to_bytes(size, "little", signed=True)
    (mine,) = decode_records(data).records
    (theirs,) = pymbusparser.parse_records(data)
    assert mine.number == Decimal(theirs["value"]["value"])
    assert (mine.header.storage, mine.header.tariff) == (theirs["storage_number"], theirs["tariff"])


# What pymbusparser 0.5 reads otherwise: it shifts these FD codes (lmn-wireless.md 3.2 has 3A and 3C),
# counts FB 78 to 7B twice, and its tonnes are our kilograms.
SHIFTED = {0xFD: set(range(0x2C, 0x40)), 0xFB: {0x18, 0x19, 0x22, 0x23, *range(0x78, 0x7C)}}
TABLES = [(b"", vif.PRIMARY), (b"\xfd", vif.FIRST_EXTENSION), (b"\xfb", vif.SECOND_EXTENSION)]


@pytest.mark.req("LMN-N05")
@pytest.mark.parametrize(("prefix", "table"), TABLES, ids=["primary", "FD", "FB"])
def test_pymbusparser_and_we_agree_on_every_vif(prefix, table):
    """The scale of each code, and which codes mean something."""
    shared = 0
    for code, quantity in table.items():
        if quantity.kind in {"date", "datetime"} or code in SHIFTED.get(
            prefix[0] if prefix else 0, set()
        ):
            continue
        (row,) = pymbusparser.parse_records(b"\x04" + prefix + bytes((code,)) + b"\x01\0\0\0")
        (mine,) = decode_records(b"\x04" + prefix + bytes((code,)) + b"\x01\0\0\0").records
        if row["quantities"] == ["Reserved"]:
            continue  # it knows fewer
        shared += 1
        scale = Decimal(1).scaleb(mine.header.quantity.exponent)
        assert scale == Decimal(row["value"]["value"]), (prefix.hex(), f"{code:02X}")
    assert shared > 50


def test_pymeterbus_and_we_agree_on_a_wired_frame():
    data = bytes.fromhex(VECTORS["oms_n2_2_wired_mbus_plain"]["telegram"])
    theirs = json.loads(meterbus.load(data).to_JSON())["body"]["records"]
    mine = decode_records(data[19:-2]).records
    assert [round(Decimal(str(theirs[0]["value"])), 2)] == [mine[0].number]
    assert theirs[1]["value"] == mine[1].value.value.isoformat(timespec="minutes")


# -- mode 7 with OpenSSL's command line ------------------------------------------------------------


def openssl(*arguments, data=b""):
    done = subprocess.run(
        ["openssl", *arguments], input=data, capture_output=True, check=True, timeout=20
    )
    return done.stdout


def cmac(key, data):
    options = ["-cipher", "AES-128-CBC", "-macopt", f"hexkey:{key.hex()}"]
    return bytes.fromhex(openssl("mac", *options, "CMAC", data=data).decode())


def open_profile_b(frame, key):
    """Take a profile B telegram with ELL I and a short header apart, by the byte map of 2.2."""
    assert frame[10] == 0x8C
    afl = frame[13:]
    assert (afl[0], afl[1]) == (0x90, 15)
    mcl, counter, mac, message = afl[4:5], afl[5:9], afl[9:17], afl[17:]
    tail = b"\x07" * 7
    keys = [cmac(key, bytes((code,)) + counter + frame[4:8] + tail) for code in (0, 1)]
    assert cmac(keys[1], mcl + counter + message)[:8] == mac
    assert (message[0], message[5]) == (0x7A, 0x10)
    blocks = message[3] >> 4
    secret = message[6:][: 16 * blocks]
    plain = openssl(
        "enc", "-d", "-aes-128-cbc", "-nopad", "-K", keys[0].hex(), "-iv", "00" * 16, data=secret
    )
    assert plain[:2] == b"\x2f\x2f"
    return plain[2:]


@pytest.mark.req("LMN-N05", "L06")
def test_openssl_opens_the_published_telegram_and_ours():
    entry = VECTORS["oms_n_profileB_gas_integrated"]
    frame = bytes.fromhex(entry["telegram_no_crc"])
    plain = open_profile_b(frame, bytes.fromhex(entry["key"]))
    published = bytes.fromhex(VECTORS["oms_n2_1_profileA_gas"]["expected"]["plaintext_apl"])[2:]
    assert plain.rstrip(b"\x2f") == published.rstrip(b"\x2f")
    for kind in ("gas", "heat", "electricity"):
        meter = wireless(kind, 12_345_678)
        records = meter.records(NOW)
        (frame,) = meter.frames(NOW)
        assert open_profile_b(frame, meter.key).rstrip(b"\x2f") == records.rstrip(b"\x2f")


# -- mode 10 with another library ------------------------------------------------------------------


@pytest.mark.req("LMN-N05")
@pytest.mark.parametrize("tag", [8, 12, 16])
def test_pycryptodome_opens_our_profile_d(tag):
    """Nonce and associated data by table 10.1 and REQ.WMBUS.Unidirektional.71, octet by octet."""
    meter = wireless("water", 55_667_788, security=10, tag=tag, mode="C")
    meter.counter = 0x01020304
    records = meter.records(NOW)
    (frame,) = meter.frames(NOW)
    message = frame[13:]
    ci, access, status, cf, cfe = message[0], message[1], message[2], message[3:5], message[5:7]
    assert ci == 0x7A
    assert cf == bytes.fromhex("FF2A")  # the real telegram's: Z, mode 10, all octets
    assert cfe[0] == 0x10
    counter = message[7:11]
    assert counter == bytes.fromhex("04030201")
    key = cmac(meter.key, b"\x00" + counter + frame[4:8] + b"\x07" * 7)
    nonce = frame[2:10] + b"\x00" + counter[::-1]
    cipher = AES.new(key, AES.MODE_CCM, nonce=nonce, mac_len=tag)
    cipher.update(bytes((ci, access, status)) + cf + cfe)
    assert cipher.decrypt_and_verify(message[11:-tag], message[-tag:]) == records


# -- wmbusmeters, if it is there ---------------------------------------------------------------------

DRIVER = """
driver {
    name = omsany
    meter_type = GasMeter
    default_fields = name,id,total_m3,timestamp
    detect { mvt = TST,01,03 }
    fields {
        field {
            name = total
            quantity = Volume
            match { measurement_type = Instantaneous vif_range = Volume }
        }
    }
}
"""


@pytest.mark.req("LMN-N05")
@pytest.mark.skipif(
    shutil.which("wmbusmeters") is None, reason="wmbusmeters (GPL, optional) is not installed"
)
@pytest.mark.parametrize("security", [5, 7])
def test_wmbusmeters_reads_our_gas_meter(tmp_path, security):
    (tmp_path / "omsany.xmq").write_text(DRIVER)
    meter = wireless("gas", 12_345_678, security=security)
    (frame,) = meter.frames(NOW)
    done = subprocess.run(
        ["wmbusmeters", "--silent", "--format=json", f"--driver={tmp_path}/omsany.xmq",
         frame.hex().upper(), "gas1", "omsany", "12345678", meter.key.hex()],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    value = json.loads(done.stdout)["total_m3"]
    assert round(value * 1000) == meter.kind.value(NOW, 1)
