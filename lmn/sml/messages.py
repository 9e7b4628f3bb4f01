"""Typed SML messages and their encoding (``lmn-wired.md`` 2.3).

Message: ``76 | transactionId | groupNo U8 | abortOnError U8 | 72 tag body | crc16 U16 | 00``.
The CRC covers ``76`` up to the end of the body and is stored low octet first; a low octet of 00
may be left out (``62 HH``). Body layouts are tables of fields (:data:`LAYOUTS`), one per tag;
a tag without layout (COSEM services, future ones) is kept verbatim as :class:`UnknownBody`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from lmn.crc import crc16_kermit, crc16_x25
from lmn.sml import tlv
from lmn.sml.bodies import (
    AttentionResponse,
    Body,
    CloseRequest,
    CloseResponse,
    GetListRequest,
    GetListResponse,
    GetProcParameterRequest,
    GetProcParameterResponse,
    GetProfileListRequest,
    GetProfileListResponse,
    GetProfilePackRequest,
    GetProfilePackResponse,
    OpenRequest,
    OpenResponse,
    SetProcParameterRequest,
    UnknownBody,
)
from lmn.sml.fields import (
    BOOL,
    INTEGER8,
    LIST_ENTRIES,
    OBJECTS,
    OCTETS,
    PACK_HEADERS,
    PACK_PERIODS,
    PROFILE_ENTRIES,
    TIME,
    TREE,
    UNSIGNED8,
    UNSIGNED32,
    UNSIGNED64,
    Field,
    FieldType,
    decode_fields,
    encode_fields,
    opt,
    read_list_entries,
    read_optional_time,
    req,
)
from smgw_emu.core.errors import RemoteProtocolError

MAX_MESSAGES = 1024  # own choice: bounds one frame, real ones hold three
_MESSAGE = 0x76  # a list of six elements


class Message(msgspec.Struct, frozen=True):
    """One message: transaction id, group number, reaction to errors, body."""

    transaction: bytes
    body: Body
    group: int = 0
    abort_on_error: int = 0


class Layout(NamedTuple):
    """Tag, class and fields of a message body."""

    tag: int
    body: type[Any]
    fields: tuple[Field, ...]


_PROFILE_REQUEST = (
    opt("server_id", OCTETS),
    opt("username", OCTETS),
    opt("password", OCTETS),
    opt("with_raw_data", BOOL),
    opt("begin_time", TIME),
    opt("end_time", TIME),
    req("tree_path", OBJECTS),
    opt("object_list", OBJECTS),
    opt("das_details", TREE),
)
_PROC_ACCESS = (
    opt("server_id", OCTETS),
    opt("username", OCTETS),
    opt("password", OCTETS),
    req("tree_path", OBJECTS),
)

LAYOUTS: tuple[Layout, ...] = (
    Layout(0x0100, OpenRequest, (
        opt("codepage", OCTETS), req("client_id", OCTETS), req("file_id", OCTETS),
        opt("server_id", OCTETS), opt("username", OCTETS), opt("password", OCTETS),
        opt("version", UNSIGNED8),
    )),
    Layout(0x0101, OpenResponse, (
        opt("codepage", OCTETS), opt("client_id", OCTETS), req("file_id", OCTETS),
        req("server_id", OCTETS), opt("ref_time", TIME), opt("version", UNSIGNED8),
    )),
    Layout(0x0200, CloseRequest, (opt("signature", OCTETS),)),
    Layout(0x0201, CloseResponse, (opt("signature", OCTETS),)),
    Layout(0x0300, GetProfilePackRequest, _PROFILE_REQUEST),
    Layout(0x0301, GetProfilePackResponse, (
        req("server_id", OCTETS), req("act_time", TIME), req("period_s", UNSIGNED32),
        req("tree_path", OBJECTS), req("headers", PACK_HEADERS), req("periods", PACK_PERIODS),
        opt("raw_data", OCTETS), opt("signature", OCTETS),
    )),
    Layout(0x0400, GetProfileListRequest, _PROFILE_REQUEST),
    Layout(0x0401, GetProfileListResponse, (
        req("server_id", OCTETS), req("act_time", TIME), req("period_s", UNSIGNED32),
        req("tree_path", OBJECTS), req("val_time", TIME), req("status", UNSIGNED64),
        req("entries", PROFILE_ENTRIES), opt("raw_data", OCTETS), opt("signature", OCTETS),
    )),
    Layout(0x0500, GetProcParameterRequest, (*_PROC_ACCESS, opt("attribute", OCTETS))),
    Layout(0x0501, GetProcParameterResponse, (
        req("server_id", OCTETS), req("tree_path", OBJECTS), req("tree", TREE),
    )),
    Layout(0x0600, SetProcParameterRequest, (*_PROC_ACCESS, req("tree", TREE))),
    Layout(0x0700, GetListRequest, (
        req("client_id", OCTETS), opt("server_id", OCTETS), opt("username", OCTETS),
        opt("password", OCTETS), opt("list_name", OCTETS),
    )),
    Layout(0x0701, GetListResponse, (
        opt("client_id", OCTETS), req("server_id", OCTETS), opt("list_name", OCTETS),
        opt("sensor_time", TIME), req("entries", LIST_ENTRIES), opt("signature", OCTETS),
        opt("gateway_time", TIME),
    )),
    Layout(0xFF01, AttentionResponse, (
        req("server_id", OCTETS), req("number", OCTETS), opt("message", OCTETS),
        opt("details", TREE),
    )),
)  # fmt: skip
_BY_TAG = {layout.tag: layout for layout in LAYOUTS}
_BY_BODY = {layout.body: layout for layout in LAYOUTS}

__all__ = ["INTEGER8", "LAYOUTS", "FieldType", "Message", "decode_messages", "encode_messages"]


# -- decoding --------------------------------------------------------------------------------


def decode_messages(
    payload: bytes,
    max_depth: int = tlv.DEFAULT_MAX_DEPTH,
    max_elements: int = tlv.DEFAULT_MAX_ELEMENTS,
) -> list[Message]:
    """Decode the payload of a frame.

    Raises:
        RemoteProtocolError: wrong structure, wrong checksum, limits exceeded.
    """
    reader = tlv.Reader(payload, max_depth, max_elements)
    position = 0
    messages: list[Message] = []
    while position < len(payload):
        if len(messages) >= MAX_MESSAGES:
            raise RemoteProtocolError(f"more than {MAX_MESSAGES} messages in one frame")
        message, position = _decode_message(reader, position)
        messages.append(message)
    return messages


def _decode_message(reader: tlv.Reader, start: int) -> tuple[Message, int]:
    data = reader.data
    position = start + 1
    if data[start] != _MESSAGE:
        kind, count, position = tlv.read_header(data, start)
        if kind != 7 or count != 6:
            raise RemoteProtocolError(f"a message is a list of 6 elements (octet {start})")
    (transaction, group, abort, body), end = reader.elements(position, 4, 1)
    transaction = b"" if transaction is None else transaction
    if type(transaction) is not bytes or type(group) is not int or type(abort) is not int:
        raise RemoteProtocolError(f"bad message head at octet {start}")
    following = _check_crc(data, start, end)
    return Message(transaction, _decode_body(body, reader, position, end), group, abort), following


def _check_crc(data: bytes, start: int, position: int) -> int:
    """Check the checksum field at ``position`` and the end mark; returns the next position."""
    field = data[position : position + 4]
    if field[:1] == b"\x63" and len(field) == 4:
        low, high, position = field[1], field[2], position + 3
    elif field[:1] == b"\x62" and len(field) >= 3:
        low, high, position = 0, field[1], position + 2
    else:
        raise RemoteProtocolError(f"no checksum at octet {position}")
    body = data[start : position - len(b"\x63\x00\x00") + (field[0] == 0x62)]
    if crc16_x25(body) != low | high << 8 and crc16_kermit(body) != low << 8 | high:
        raise RemoteProtocolError(f"wrong checksum of the message at octet {start}")
    if position >= len(data) or data[position] != tlv.END_OF_MESSAGE:
        raise RemoteProtocolError(f"no end of message at octet {position}")
    return position + 1


def _decode_body(body: Any, reader: tlv.Reader, head: int, end: int) -> Body:
    if type(body) is not list or len(body) != 2 or type(body[0]) is not int:
        raise RemoteProtocolError("a message body is a list of tag and content")
    tag, content = body
    if tag == 0x0701:
        return _decode_list_response(content)
    layout = _BY_TAG.get(tag)
    if layout is None:
        _, begin = reader.elements(head, 3, 1)  # the body begins behind the three head elements
        return UnknownBody(tag, reader.data[begin:end])
    return layout.body(*decode_fields(content, layout.fields))  # type: ignore[no-any-return]


def _decode_list_response(content: Any) -> GetListResponse:
    """Decode the one body every meter sends all day; same rules as the table, less overhead."""
    if not isinstance(content, list) or len(content) != 7:
        raise RemoteProtocolError("GetList.Res has 7 elements")
    client, server, name, sensor_time, entries, signature, gateway_time = content
    server = b"" if server is None else server
    if not isinstance(server, bytes):
        raise RemoteProtocolError("GetList.Res: server_id is an octet string")
    for value in (client, name, signature):
        if value is not None and not isinstance(value, bytes):
            raise RemoteProtocolError("GetList.Res: octet string expected")
    return GetListResponse(
        client,
        server,
        name,
        read_optional_time(sensor_time),
        read_list_entries(entries),
        signature,
        read_optional_time(gateway_time),
    )


# -- encoding --------------------------------------------------------------------------------


def encode_messages(messages: Iterable[Message], crc: Callable[[bytes], int] = crc16_x25) -> bytes:
    """Encode messages to the payload of a frame (without transport layer).

    Raises:
        LocalProtocolError: a field does not fit its type.
    """
    return b"".join(_encode_message(message, crc) for message in messages)


def _encode_message(message: Message, crc: Callable[[bytes], int]) -> bytes:
    head = b"\x76" + tlv.octet_string(message.transaction)
    head += tlv.unsigned(message.group, 1) + tlv.unsigned(message.abort_on_error, 1)
    if isinstance(message.body, UnknownBody):
        head += message.body.raw
    else:
        layout = _BY_BODY[type(message.body)]
        content = encode_fields(message.body, layout.fields)
        head += tlv.sequence([tlv.unsigned(layout.tag, 2), content])
    order = "little" if crc is crc16_x25 else "big"
    checksum = crc(head).to_bytes(2, order)  # type: ignore[arg-type]
    return head + b"\x63" + checksum + b"\x00"
