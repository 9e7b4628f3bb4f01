"""SML against real recordings and against decoders other people wrote."""

from __future__ import annotations

import warnings
from binascii import crc_hqx

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smllib import SmlStreamReader

from lmn.crc import crc16_kermit, crc16_x25
from lmn.sml import SmlDamage, SmlFile, SmlReceiver, decode_messages, encode_frame, encode_messages
from lmn.sml.bodies import CloseResponse, GetListResponse, ListEntry, OpenResponse, Time
from lmn.sml.messages import Message
from lmn.sml.report import reports
from smgw_emu.bench.meters import ElectricityMeter
from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.core.obis import Obis

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from sml import SmlBase


def events(data: bytes) -> list:
    return SmlReceiver().receive(data)


def crc_by_crc_hqx(data, init):
    """The unreflected form of the same polynomial in the standard library, with bits turned round."""
    turned = bytes(int(f"{octet:08b}"[::-1], 2) for octet in data)
    return int(f"{crc_hqx(turned, init):016b}"[::-1], 2)


@given(st.binary(max_size=600))
def test_checksums_agree_with_the_standard_library(data):
    """Two implementations by other people agree: fastcrc, which we use, and CPython's crc_hqx."""
    assert crc16_x25(data) == crc_by_crc_hqx(data, 0xFFFF) ^ 0xFFFF
    assert crc16_kermit(data) == crc_by_crc_hqx(data, 0)


def test_checksum_check_values():
    """The catalogue's check values."""
    assert crc16_x25(b"123456789") == 0x906E
    assert crc16_kermit(b"123456789") == 0x2189


@pytest.mark.parametrize(
    ("name", "frames", "rest"), [("ttyUSB0.dump", 878, 0), ("ttyUSB0-3.dump", 518, 259)]
)
def test_streams_of_a_real_meter(data, name, frames, rest):
    """Every frame of the Dr. Neuhaus recordings decodes; a cut tail stays waiting."""
    receiver = SmlReceiver()
    found = receiver.receive((data / "sml/smartmeter-obis" / name).read_bytes())
    assert len(found) == frames
    assert all(isinstance(event, SmlFile) for event in found)
    assert len(receiver._buffer) == rest
    last = 0
    for event in found:
        (report,) = reports(decode_messages(event.payload))
        assert report.meter == "0901444e540100002030"
        value = report.values[0]
        assert (str(value.obis), value.unit, value.scaler) == ("1-0:2.8.0*255", 30, -1)
        assert value.value >= last
        last = value.value


def test_damaged_frames_of_the_recordings(data):
    """Lost octets give damage; chunks 1 to 3 give good, bad checksum, good, good."""
    folder = data / "sml/smartmeter-obis"
    for name in ("testLocalFileSmlErrorProtocol_0.bin", "testSerialResponseSmlError_0.bin"):
        assert [type(event) for event in events((folder / name).read_bytes())] == [SmlDamage]
    receiver = SmlReceiver()
    kinds = []
    for number in range(3):
        chunk = (folder / f"testSerialResponseSmlCont2_{number}.bin").read_bytes()
        kinds += [type(event) for event in receiver.receive(chunk)]
    assert kinds == [SmlFile, SmlDamage, SmlFile, SmlFile]


def test_a_meter_with_long_tags(data):
    """The ITRON frame with U32 tags decodes to its registers and status."""
    (event,) = events((data / "sml/sml-rs/sample.bin").read_bytes())
    (report,) = reports(decode_messages(event.payload))
    assert report.meter == "1itr0055113102"
    assert report.status == 0x1C0104


def _smllib(frame: bytes) -> list[tuple[str, object, object, object]]:
    reader = SmlStreamReader()
    reader.add(frame)
    found = reader.get_frame()
    assert found is not None
    return [
        (v.obis, v.value, v.scaler, v.unit) for v in found.parse_frame()[1].message_body.val_list
    ]


def _ours(frame: bytes) -> list[tuple[str, object, object, object]]:
    (event,) = events(frame)
    body = decode_messages(event.payload)[1].body
    return [
        (e.name.hex(), e.value.hex() if isinstance(e.value, bytes) else e.value, e.scaler, e.unit)
        for e in body.entries
    ]


def _comparable(rows):
    return [(obis, value, scaler, unit) for obis, value, scaler, unit in rows if unit is not None]


def test_recorded_frames_mean_the_same_to_smllib(data):
    """Registers, values, scalers and units agree with smllib on every tenth frame."""
    stream = (data / "sml/smartmeter-obis/ttyUSB0.dump").read_bytes()
    for at in range(0, len(stream) - 324, 3240):
        frame = stream[at : at + 324]
        assert _comparable(_ours(frame)) == _comparable(_smllib(frame))


def test_recorded_frames_mean_the_same_to_pysml(data):
    """The transport layer and values agree with pysml."""
    stream = (data / "sml/smartmeter-obis/testLocalFileSml_0.bin").read_bytes()
    theirs = SmlBase.find_frame(stream)[-1]
    values = {str(k): v for k, v in _pysml_values(theirs).items()}
    ours = {
        str(Obis.parse(obis)): value
        for obis, value, scaler, _ in _comparable(_ours(stream))
        if scaler == -1
    }
    assert len(values) == 4
    assert values == ours


def _pysml_values(frame) -> dict[str, int]:
    found = {}
    for message in frame:
        if (
            message["messageBody"].__class__.__name__ == "SmlListResponse"
            or "valList" in message["messageBody"]
        ):
            for entry in message["messageBody"]["valList"]:
                if entry.get("unit") is not None:
                    found[entry["objName"]] = round(entry["value"] * 10)  # it applies the scaler
    return found


@settings(max_examples=30)
@given(st.integers(0, 10**9), st.integers(1, 2**31), st.booleans())
def test_our_virtual_meter_is_understood_by_smllib_and_pysml(seed, second, solar):
    """Two decoders we did not write read the counters our meter counted."""
    meter = ElectricityMeter("1EMU0000000001", WorldTime(0), seed=seed, solar=solar)
    frame = meter.frame(WorldTime(min(second, 10**6) * SECOND))
    theirs = {obis: (value, scaler, unit) for obis, value, scaler, unit in _smllib(frame)}
    assert theirs["0100010800ff"] == (meter.import_reading, -1, 30)
    assert theirs["0100020800ff"] == (meter.export_reading, -1, 30)
    values = _pysml_values(SmlBase.find_frame(frame)[-1])
    assert values["1-0:1.8.0*255"] == meter.import_reading
    assert values["1-0:2.8.0*255"] == meter.export_reading


entries = st.lists(
    st.builds(
        ListEntry,
        st.binary(min_size=6, max_size=6),
        st.integers(-(2**63), 2**63 - 1),
        st.just(30),
        st.integers(-5, 5),
    ),
    min_size=1,
    max_size=6,
)


@given(entries, st.integers(0, 2**32 - 1))
def test_what_our_encoder_writes_smllib_reads(items, second):
    """Values of every size and sign, and octets that must be escaped, arrive at smllib."""
    clock = Time(1, second)
    bodies = (
        OpenResponse(None, None, b"\x1b\x1b\x1b\x1b", b"\x1b" * 9, clock),
        GetListResponse(None, b"\x1b" * 9, None, clock, tuple(items)),
        CloseResponse(),
    )
    frame = encode_frame(
        encode_messages([Message(bytes((number,)), body) for number, body in enumerate(bodies)])
    )
    expected = [(item.name.hex(), item.value, item.scaler, item.unit) for item in items]
    assert _smllib(frame) == expected
