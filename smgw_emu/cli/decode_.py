"""``smgw decode``: recorded bytes as JSON lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import click
import msgspec

from lmn.sml import SmlDamage, SmlReceiver, decode_messages
from lmn.sml.messages import Message
from smgw_emu.cli import EXIT_FAILED
from smgw_emu.cli.decode_hdlc import hdlc
from smgw_emu.cli.decode_wan import cms, ntp, request, wakeup
from smgw_emu.cli.decode_wmbus import wmbus
from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.obis import Obis
from smgw_emu.core.values import scaled

_CHUNK = 65_536


@click.group("decode")
def command() -> None:
    """Explain recorded bytes as JSON."""


for _other in (hdlc, wmbus, cms, wakeup, ntp, request):
    command.add_command(_other)


def _plain(value: Any) -> Any:
    """Turn a record into JSON types; octets become hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    return value


def _explain(message: Message) -> dict[str, Any]:
    line = {
        "type": type(message.body).__name__,
        "transaction": message.transaction.hex(),
        "group": message.group,
        "abort_on_error": message.abort_on_error,
        "body": _plain(message.body),
    }
    for entry, shown in zip(getattr(message.body, "entries", ()), line["body"].get("entries", ()),
                            strict=False):  # fmt: skip
        if len(entry.name) == 6:
            shown["obis"] = str(Obis(entry.name))
        if type(entry.value) is int and entry.unit is not None:
            shown["scaled"] = format(scaled(entry.value, entry.scaler or 0), "f")
    return line


def _lines(file: BinaryIO) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield (line, good) for every message and every damaged frame."""
    receiver = SmlReceiver()
    frame = 0
    while data := file.read(_CHUNK):
        for event in receiver.receive(data):
            frame += 1
            if isinstance(event, SmlDamage):
                yield {"frame": frame, "error": event.reason, "octets": event.octets}, False
                continue
            try:
                messages = decode_messages(event.payload)
            except RemoteProtocolError as error:
                yield {"frame": frame, "error": str(error), "payload": event.payload.hex()}, False
                continue
            for message in messages:
                yield {"frame": frame, "crc": event.crc, **_explain(message)}, True


@command.command("sml")
@click.argument("file", type=click.File("rb"))
@click.option("--hex", "as_hex", is_flag=True, help="FILE holds hex digits (blanks ignored).")
def sml(file: BinaryIO, as_hex: bool) -> int:
    """Decode SML frames from FILE, or from standard input (-), one JSON object per message.

    Damaged frames give a line with "error"; the exit code is 1 if there was no good frame.
    """
    source: BinaryIO = file
    if as_hex:
        import io

        text = b"".join(file.read().split())
        try:
            source = io.BytesIO(bytes.fromhex(text.decode("ascii")))
        except (ValueError, UnicodeDecodeError) as error:
            raise click.UsageError(f"not hex digits: {error}") from error
    good = 0
    for line, is_good in _lines(source):
        good += is_good
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    sys.stdout.flush()
    if not good:
        click.echo("smgw: no SML frame found", err=True)
        return EXIT_FAILED
    return 0
