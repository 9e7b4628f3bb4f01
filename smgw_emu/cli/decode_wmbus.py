"""``smgw decode wmbus``: radio telegrams layer by layer."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from lmn.mbus.obis import load_obis_map, registers, status_word
from lmn.mbus.profiles import base_time, expand
from lmn.mbus.records import Application, Record, decode_records
from lmn.mbus.wired import decode_long_frame
from lmn.wmbus.afl import Afl
from lmn.wmbus.ell import NAMES, Ell
from lmn.wmbus.link import Address, LinkFrame, control_name, parse_link, strip_checksums
from lmn.wmbus.telegram import Telegram, open_message, parse_telegram, whole
from lmn.wmbus.tpl import CI_ONLY_LONG, CI_ONLY_SHORT, MODE_B, MODE_D, Tpl, status_text
from smgw_emu.cli import EXIT_FAILED
from smgw_emu.cli.common import is_file
from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.status import word_hex
from smgw_emu.core.values import scaled

_HEX = re.compile(r"(?:0x)?([0-9a-fA-F]{2})+")
_FUNCTIONS = ("instantaneous", "maximum", "minimum", "error")
_SECURITY_PROFILES = {0: "", 5: "profile A", 7: "profile B", 10: "profile D", 13: "profile C (TLS)"}


def _address(address: Address) -> dict[str, Any]:
    return {
        "manufacturer": address.manufacturer,
        "number": address.number,
        "version": f"{address.version:02x}",
        "type": address.type_name,
        "device_id": address.device_id.upper(),
        "octets": address.octets.hex(),
    }


def _ell(ell: Ell) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "ell": NAMES[ell.ci],
        "cc": f"{ell.cc:02x}",
        "flags": ell.flags,
        "access": ell.access,
    }
    if ell.partner is not None:
        shown["partner"] = _address(ell.partner)
    if ell.session:
        shown["session"] = ell.session[::-1].hex()
        shown["encryption"] = "AES-128-CTR" if ell.encryption == 1 else ell.encryption
    return shown


def _afl(afl: Afl) -> dict[str, Any]:
    shown: dict[str, Any] = {"fragment": afl.fragment, "more": afl.more}
    if afl.mcl is not None:
        shown["mcl"] = f"{afl.mcl:02x}"
    shown |= {"counter": afl.counter} if afl.mcr else {}
    for name in ("ki", "mac", "ml"):
        value = getattr(afl, name)
        if value:
            shown[name] = value.hex()
    return shown


def _tpl(tpl: Tpl) -> dict[str, Any]:
    shown: dict[str, Any] = {"ci": f"{tpl.ci:02x}"}
    if not tpl.has_header:
        return shown
    if tpl.address is not None:
        shown["meter"] = _address(tpl.address)
    shown |= {
        "access": tpl.access,
        "status": f"{tpl.status:02x}",
        "status_text": status_text(tpl.status),
        "security_mode": tpl.mode,
        "profile": _SECURITY_PROFILES.get(tpl.mode, "unknown"),
    }
    if tpl.mode in {5, MODE_B}:
        shown["encrypted_blocks"] = tpl.blocks
    if tpl.mode == MODE_D:
        shown |= {"encrypted_octets": tpl.encrypted, "tag_octets": tpl.tag_length}
    shown |= {"key_derivation": tpl.kdf, "key": tpl.key_id} if tpl.cfe else {}
    shown |= {"counter": int.from_bytes(tpl.counter, "little")} if tpl.counter else {}
    return shown


def _number(value: Decimal) -> str:
    return format(value, "f")


def _record(record: Record) -> dict[str, Any]:
    header = record.header
    shown: dict[str, Any] = {"header": header.octets.hex(), "quantity": header.quantity.name}
    number = record.number
    if number is not None:
        shown |= {"value": _number(number), "unit": header.quantity.unit}
    elif isinstance(record.value, bytes):
        shown["octets"] = record.value.hex()
    else:
        shown["value"] = None if record.value is None else str(record.value)
    if header.function:
        shown["function"] = _FUNCTIONS[header.function]
    places = {"storage": header.storage, "tariff": header.tariff, "subunit": header.subunit}
    shown |= {name: number for name, number in places.items() if number}
    shown |= {"modifiers": list(header.modifiers)} if header.modifiers else {}
    shown |= {"profile": header.profile} if header.profile else {}
    shown |= {"record_error": header.error} if header.error else {}
    return shown


def _profiles(application: Application) -> list[dict[str, Any]]:
    found = []
    for profile in expand(application):
        exponent = profile.record.header.quantity.exponent
        base = base_time(profile, application)
        found.append(
            {
                "quantity": profile.record.header.quantity.name,
                "kind": "inverse" if profile.inverse else "forward",
                "spacing": (
                    f"{profile.spacing.half_months / 2:g} month"
                    if profile.spacing.half_months
                    else f"{profile.spacing.seconds} s"
                ),
                "base_time": None if base is None else str(base),
                "values": [
                    None if value is None else _number(scaled(value, exponent))
                    for value in profile.values
                ],
            }
        )
    return found


def _content(application: Application, device_type: int, status: int | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"records": [_record(record) for record in application.records]}
    profiles = _profiles(application)
    shown |= {"profiles": profiles} if profiles else {}
    if application.manufacturer or application.more:
        shown["manufacturer_block"] = application.manufacturer.hex()
        shown["more_follows"] = application.more
    shown["registers"] = [
        {"obis": str(value.obis), "value": _number(scaled(value.value, value.scaler)),
         "dlms_unit": value.unit}
        for value in registers(application, device_type, load_obis_map())
    ]  # fmt: skip
    if status is not None:
        shown["meter_word"] = word_hex(status_word(application, status, device_type))
    return shown


def explain(data: bytes, key: bytes | None) -> dict[str, Any]:
    """Return every layer of a frame by name; what cannot be read is told in ``error``."""
    shown: dict[str, Any] = {"octets": len(data)}
    try:
        if data[:1] == b"\x68" and data[-1:] == b"\x16":
            frame = decode_long_frame(data)
            shown["wired"] = {
                "control": control_name(frame.control), "address": frame.address,
            }  # fmt: skip
            # a wired frame does not name its sender: the long header does
            link = LinkFrame(frame.control, Address(bytes(8)), frame.payload)
            return shown | _open(whole(link, None, None, frame.payload), key)
        bare, form = strip_checksums(data)
        shown["format"] = form or "without checksums"
        link = parse_link(bare)
        shown["link"] = {"control": control_name(link.control), **_address(link.address)}
        telegram = parse_telegram(bare, key)
    except RemoteProtocolError as error:
        return shown | {"error": str(error)}
    shown |= {"ell": _ell(telegram.ell)} if telegram.ell is not None else {}
    shown |= {"afl": _afl(telegram.afl)} if telegram.afl is not None else {}
    return shown | _open(telegram, key)


def _open(telegram: Telegram, key: bytes | None) -> dict[str, Any]:
    tpl = telegram.tpl
    if tpl is None:
        return {"fragment": telegram.message.hex()}
    shown: dict[str, Any] = {"tpl": _tpl(tpl)}
    if tpl.ci in {CI_ONLY_SHORT, CI_ONLY_LONG}:
        return shown
    try:
        plain = open_message(telegram, key)
        if telegram.mode in {MODE_B, MODE_D}:
            shown["mac"] = "good"
        shown["plain"] = plain.hex()
        status = tpl.status if tpl.has_header else None
        shown |= _content(decode_records(plain), telegram.address.device_type, status)
    except RemoteProtocolError as error:
        shown["error"] = str(error)
    return shown


def _frames(source: str) -> Iterator[bytes]:
    """Yield frames of a command line argument, of a file or of standard input."""
    if source == "-":
        lines = sys.stdin.read().splitlines()
    elif is_file(source):
        lines = Path(source).read_text("ascii", "replace").splitlines()
    else:
        lines = [source]
    for line in lines:
        text = line.split("#")[0].strip()
        if ";" in text:
            text = text.rsplit(";", 1)[1]  # a line of rtl_wmbus
        text = "".join(text.split()).removeprefix("0x")
        if not text:
            continue
        if not _HEX.fullmatch(text):
            raise click.UsageError(f"neither a file nor hex digits: {line[:60]!r}")
        yield bytes.fromhex(text)


def _text(shown: dict[str, Any], depth: int = 0) -> Iterator[str]:
    """Yield the same as indented lines."""
    pad = "  " * depth
    for name, value in shown.items():
        if isinstance(value, dict):
            yield f"{pad}{name}"
            yield from _text(value, depth + 1)
        elif name == "records":
            yield f"{pad}records"
            for row in value:
                yield f"{pad}  {_record_text(row)}"
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield f"{pad}{name}"
            for row in value:
                yield f"{pad}  " + ", ".join(f"{key} {item}" for key, item in row.items())
        elif value not in ("", []):
            shown_value = ", ".join(map(str, value)) if isinstance(value, list) else value
            yield f"{pad}{name.replace('_', ' '):18} {shown_value}"


def _record_text(row: dict[str, Any]) -> str:
    value = row.get("value", row.get("octets"))
    text = f"{row['header']:14} {row['quantity']}: {'-' if value is None else value}"
    text += f" {row['unit']}" if row.get("unit") else ""
    extra = [
        f"{name} {row[name]}"
        for name in ("function", "storage", "tariff", "subunit")
        if name in row
    ]
    extra += row.get("modifiers", []) + ([f"{row['profile']} profile"] if "profile" in row else [])
    extra += [row["record_error"]] if "record_error" in row else []
    return text + (f"  ({', '.join(extra)})" if extra else "")


def _key(_context: object, _parameter: object, value: str) -> bytes | None:
    if not value:
        return None
    try:
        key = bytes.fromhex(value)
    except ValueError as error:
        raise click.BadParameter("hex digits expected") from error
    if len(key) != 16:
        raise click.BadParameter("a key has 16 octets, 32 hex digits")
    return key


_OUT: dict[bool, Callable[[dict[str, Any]], str]] = {
    True: lambda shown: "\n".join(_text(shown)) + "\n",
    False: lambda shown: json.dumps(shown, ensure_ascii=False),
}


@click.command("wmbus")
@click.argument("source", metavar="HEX|FILE|-")
@click.option("--key", default="", callback=_key, help="The meter's key, 32 hex digits.")
@click.option("--text", is_flag=True, help="To read rather than to process.")
def wmbus(source: str, key: bytes | None, text: bool) -> int:
    """Decode wM-Bus telegrams, every layer explained, one JSON object per telegram.

    SOURCE is a frame in hex, a file of such lines or of rtl_wmbus lines, or - for standard input;
    with checksums (format A or B) or without; a wired M-Bus long frame (68 ... 16) will do too.
    What cannot be read is told in "error"; the exit code is 1 if no telegram could be read to its
    end.
    """
    good = 0
    for frame in _frames(source):
        shown = explain(frame, key)
        good += "error" not in shown
        sys.stdout.write(_OUT[text](shown) + "\n")
    sys.stdout.flush()
    if not good:
        click.echo("smgw: no telegram could be read to its end", err=True)
        return EXIT_FAILED
    return 0
