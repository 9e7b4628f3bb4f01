"""``smgw decode hdlc``: frames of the wired LMN, field by field."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from lmn.bus.records import RECORD_LENGTH, decode_records
from lmn.hdlc import Frame, HdlcDamage, HdlcReceiver, Kind, encode_frame
from lmn.sml.report import meter_key
from smgw_emu.cli import EXIT_FAILED
from smgw_emu.cli.common import is_file
from smgw_emu.core.instants import WorldTime
from smgw_emu.profiles import LmnBus, load

_HEX = re.compile(rb"[0-9a-fA-F\s]*")
_TLS = {20: "change_cipher_spec", 21: "alert", 22: "handshake", 23: "application_data"}
_SAPS = {
    1: "TLS + SML-COSEM",
    2: "TLS",
    3: "SML-COSEM plain",
    4: "SML-EDL plain",
    5: "SML-SYM",
    6: "SYM-HDLC",
    7: "TLS + SML-EDL",
    8: "TLS + SML-SYM",
}  # lmn-wired.md 1.2


def _octets(source: str) -> bytes:
    """Return octets of a file, of standard input, or of hex digits on the command line."""
    if source == "-":
        data = sys.stdin.buffer.read()
    elif is_file(source):
        data = Path(source).read_bytes()
    else:
        data = source.encode()
        if not _HEX.fullmatch(data):
            raise click.UsageError(f"neither a file nor hex digits: {source[:60]!r}")
    text = b"".join(data.split())
    if text and _HEX.fullmatch(text) and len(text) % 2 == 0:
        return bytes.fromhex(text.decode("ascii"))
    return data


def _address(number: int, rules: LmnBus) -> str:
    names = {rules.gateway_address: "gateway", rules.broadcast_address: "all"}
    return names.get(number, f"meter {number}")


def explain(frame: Frame, rules: LmnBus) -> dict[str, Any]:
    """Return every field of a frame by name."""
    kind = frame.kind
    broadcast = kind is Kind.UI
    saps = {rules.sap_allocation: "allocation", rules.sap_check: "check"} if broadcast else _SAPS
    octets = encode_frame(frame, sap_first=rules.sap_first)  # as it came: the checksums were right
    shown: dict[str, Any] = {
        "frame": kind.value,
        "format_type": 3,
        "segmentation": 0,
        "length": len(octets) - 2,
        "hcs": octets[8:10][::-1].hex(),
        "fcs": octets[-3:-1][::-1].hex() if frame.information else None,
        "from": _address(frame.source, rules),
        "to": _address(frame.destination, rules),
        "source": {"address": frame.source, "sap": frame.source_sap},
        "destination": {"address": frame.destination, "sap": frame.destination_sap},
        "protocol": saps.get(frame.destination_sap, "unknown"),
        "control": f"{frame.control:02x}",
        "poll_final": frame.poll_final,
    }
    if kind in {Kind.I, Kind.RR, Kind.RNR, Kind.REJ}:
        shown["nr"] = frame.nr
    if kind is Kind.I:
        shown["ns"] = frame.ns
    if frame.information:
        shown["octets"] = len(frame.information)
        shown["information"] = frame.information.hex()
        shown |= _content(frame, rules, broadcast=broadcast)
    return shown


def _content(frame: Frame, rules: LmnBus, *, broadcast: bool) -> dict[str, Any]:
    """Look into the information field as far as its protocol lets one."""
    information = frame.information
    if broadcast and len(information) % RECORD_LENGTH == 0:
        return {
            "participants": [
                {
                    "address": one.address,
                    "slot": one.slot,
                    "participant": meter_key(one.participant),
                    "sensor": meter_key(one.sensor),
                    "state": one.state.hex(),
                }
                for one in decode_records(information)
            ]
        }
    if frame.destination_sap == rules.sap_sym and len(information) >= 25:
        return {
            "sym": {
                "type": f"{information[0]:02x}",
                "length": int.from_bytes(information[1:5], "big"),
                "counter": int.from_bytes(information[5:9], "big"),
                "ciphertext": information[9:-16].hex(),
                "cmac": information[-16:].hex(),
            }
        }
    return {"tls": records} if (records := _records(information)) else {}


def _records(data: bytes) -> list[dict[str, Any]]:
    """Return the TLS records of a payload, [] if it does not begin with one."""
    found = []
    position = 0
    while position + 5 <= len(data) and data[position] in _TLS and data[position + 1] == 3:
        length = int.from_bytes(data[position + 3 : position + 5], "big")
        found.append({"type": _TLS[data[position]], "octets": length})
        position += 5 + length
    return found


def _lines(data: bytes, rules: LmnBus) -> Iterator[tuple[dict[str, Any], bool]]:
    receiver = HdlcReceiver(rules)
    items = receiver.receive(data, WorldTime(0)) + receiver.reset()
    for item in items:
        if isinstance(item, HdlcDamage):
            yield {"error": item.reason, "octets": item.octets}, False
        else:
            yield explain(item.frame, rules), True


@click.command("hdlc")
@click.argument("source", metavar="FILE|HEX|-")
@click.option("--sap-first", is_flag=True, help="Address octets in the order of DS v2.0 fig. 8.1.")
@click.option("--profile", default="", help="Firmware profile whose table of the line is used.")
def hdlc(source: str, sap_first: bool, profile: str) -> int:
    """Decode HDLC frames of the wired LMN, one JSON object per frame.

    SOURCE is a file of octets or hex digits, hex digits, or - for standard input. Damaged frames
    give a line with "error"; the exit code is 1 if there was no good frame.
    """
    import msgspec

    rules = (load(profile) if profile else load()).lmn_bus
    rules = msgspec.structs.replace(rules, sap_first=sap_first or rules.sap_first)
    good = 0
    for line, is_good in _lines(_octets(source), rules):
        good += is_good
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    sys.stdout.flush()
    if not good:
        click.echo("smgw: no HDLC frame found", err=True)
        return EXIT_FAILED
    return 0
