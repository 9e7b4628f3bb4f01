"""Captures of the wired LMN, read by scapy: link type 147, every field of the frame."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import rdpcap
from support import run_virtual, world
from wired_lab import WiredLab, rack_of, wired_gateway

from lmn.hdlc import Frame, Kind, decode_frame, encode_frame
from smgw_emu.core.instants import WorldTime
from smgw_emu.lab.capture.hdlc import LmnHdlc, bind
from smgw_emu.lab.capture.pcapng import LmnCapture, PcapngWriter, split_frames

_FILE = Path(os.environ.get("SMGW_DATA", "")) / "hdlc" / "vectors.json"
VECTORS = json.loads(_FILE.read_text())["hdlc"] if _FILE.is_file() else []


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_scapy_reads_and_builds_every_vector(vector):
    """A second description of the frame, with scapy's own fields."""
    octets, said = bytes.fromhex(vector["hex"]), vector["decoded"]
    packet = LmnHdlc(octets)
    assert bytes(packet) == octets
    assert packet.length == said["length"]
    assert (packet.destination, packet.destination_sap) == (said["dst_address"], said["dst_sap"])
    assert (packet.source, packet.source_sap) == (said["src_address"], said["src_sap"])
    assert f"{packet.hcs:04X}" == said["hcs"]
    if said["fcs"]:
        assert f"{packet.fcs:04X}" == said["fcs"]
    for record, shown in zip(packet.records or [], said.get("records", []), strict=False):
        assert record.address == shown["hdlc_address"]
        assert record.slot == shown["slot"]


def test_a_running_gateway_is_captured(tmp_path):
    """Broadcasts, answers, SNRM, UA, I frames: in order, with direction and time."""
    path = tmp_path / "lmn.pcapng"

    async def main(clock):
        meters = rack_of(2, clock.now())
        home = wired_gateway(tmp_path / "gateway", meters)
        capture = LmnCapture(path, clock)
        lab = WiredLab(home, clock, meters)
        lab.gateway.lmn_capture = capture.note
        async with lab:
            await lab.seconds(70)
        capture.close()

    run_virtual(main)
    bind()
    packets = rdpcap(str(path))
    frames = [decode_frame(bytes(packet)) for packet in packets]
    assert [bytes(LmnHdlc(bytes(p))) for p in packets] == [encode_frame(f) for f in frames]
    kinds = {frame.kind for frame in frames}
    assert {Kind.UI, Kind.SNRM, Kind.UA, Kind.I, Kind.DISC} <= kinds
    times = [float(packet.time) for packet in packets]
    assert times == sorted(times)
    assert abs(times[0] - world("2026-03-31T10:00:00Z").ns / 1e9) < 1
    secrets = path.read_bytes()
    for meter in rack_of(2, WorldTime(0)):
        from smgw_emu.bench.meters.keys import master_key

        assert master_key(1, str(meter.id)) not in secrets


@given(
    st.lists(
        st.binary(max_size=40) | st.just(encode_frame(Frame(1, 1, 3, 1, 0x73, b"x"))), max_size=8
    )
)
def test_nothing_is_lost_or_added_when_octets_are_cut_into_packets(pieces):
    data = b"".join(pieces)
    found, rest = split_frames(data)
    assert b"".join(found) + rest == data
    assert all(found)


def test_direction_and_interface_are_those_of_the_draft(tmp_path):
    """Blocks as the pcapng draft lays them out: read back octet by octet."""
    path = tmp_path / "x.pcapng"
    with path.open("wb") as file:
        writer = PcapngWriter(file, "wired LMN")
        writer.write(b"~abc~", WorldTime((1 << 32) + 5), sent=True)
        writer.write(b"~x~", WorldTime(7), sent=False)
    data = path.read_bytes()
    blocks, position = [], 0
    while position < len(data):
        kind = int.from_bytes(data[position : position + 4], "little")
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        assert data[position + length - 4 : position + length] == data[position + 4 : position + 8]
        assert length % 4 == 0
        blocks.append((kind, data[position + 8 : position + length - 4]))
        position += length
    assert [kind for kind, _ in blocks] == [0x0A0D0D0A, 1, 6, 6]
    assert int.from_bytes(blocks[1][1][:2], "little") == 147
    assert int.from_bytes(blocks[2][1][4:8], "little") == 1
    assert int.from_bytes(blocks[2][1][8:12], "little") == 5
    assert blocks[2][1].endswith(b"\x02\0\x04\0\x02\0\0\0\0\0\0\0")
    assert blocks[3][1].endswith(b"\x02\0\x04\0\x01\0\0\0\0\0\0\0")
