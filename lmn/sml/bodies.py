"""The bodies of SML messages as plain typed records; element order as on the wire.

Octet strings are ``bytes``; optional elements are ``None`` when absent. Layouts and types are in
:mod:`lmn.sml.messages`; meanings in ``lmn-wired.md`` 2.3.
"""

from __future__ import annotations

import msgspec

Value = bytes | bool | int | None
"""SML_Value: octet string, boolean or number; None where a meter sent an empty element."""


class Time(msgspec.Struct, frozen=True):
    """SML_Time: ``kind`` 1 seconds index, 2 UTC timestamp, 3 local timestamp with offsets (min)."""

    kind: int
    seconds: int
    local_offset: int | None = None
    season_offset: int | None = None


class ListEntry(msgspec.Struct, frozen=True):
    """One register: OBIS name, status word, time, DLMS unit, scaler exponent, value, signature."""

    name: bytes
    value: Value
    unit: int | None = None
    scaler: int | None = None
    status: int | None = None
    time: Time | None = None
    signature: bytes | None = None


class PeriodEntry(msgspec.Struct, frozen=True):
    """SML_PeriodEntry of a profile: name, unit, scaler, value, signature."""

    name: bytes
    unit: int
    scaler: int
    value: Value
    signature: bytes | None = None


class TupleEntry(msgspec.Struct, frozen=True):
    """SML_TupelEntry: its 23 elements in wire order (quadrant registers with signatures)."""

    elements: tuple[Value | Time, ...]


class Tree(msgspec.Struct, frozen=True):
    """SML_Tree: a parameter with its value and children."""

    name: bytes
    value: Value | Time | PeriodEntry | TupleEntry | ListEntry = None
    children: tuple[Tree, ...] | None = None


class PackHeader(msgspec.Struct, frozen=True):
    """Column of a profile pack."""

    name: bytes
    unit: int
    scaler: int


class PackValue(msgspec.Struct, frozen=True):
    """Cell of a profile pack."""

    value: Value
    signature: bytes | None = None


class PackPeriod(msgspec.Struct, frozen=True):
    """Row of a profile pack."""

    val_time: Time
    status: int
    values: tuple[PackValue, ...]
    signature: bytes | None = None


class OpenRequest(msgspec.Struct, frozen=True):
    """SML_PublicOpen.Req, tag 0100."""

    codepage: bytes | None
    client_id: bytes
    file_id: bytes
    server_id: bytes | None = None
    username: bytes | None = None
    password: bytes | None = None
    version: int | None = None


class OpenResponse(msgspec.Struct, frozen=True):
    """SML_PublicOpen.Res, tag 0101."""

    codepage: bytes | None
    client_id: bytes | None
    file_id: bytes
    server_id: bytes
    ref_time: Time | None = None
    version: int | None = None


class CloseRequest(msgspec.Struct, frozen=True):
    """SML_PublicClose.Req, tag 0200."""

    signature: bytes | None = None


class CloseResponse(msgspec.Struct, frozen=True):
    """SML_PublicClose.Res, tag 0201."""

    signature: bytes | None = None


class GetListRequest(msgspec.Struct, frozen=True):
    """SML_GetList.Req, tag 0700."""

    client_id: bytes
    server_id: bytes | None = None
    username: bytes | None = None
    password: bytes | None = None
    list_name: bytes | None = None


class GetListResponse(msgspec.Struct, frozen=True):
    """SML_GetList.Res, tag 0701."""

    client_id: bytes | None
    server_id: bytes
    list_name: bytes | None
    sensor_time: Time | None
    entries: tuple[ListEntry, ...]
    signature: bytes | None = None
    gateway_time: Time | None = None


class _ProfileRequest(msgspec.Struct, frozen=True):
    server_id: bytes | None
    username: bytes | None
    password: bytes | None
    with_raw_data: bool | None
    begin_time: Time | None
    end_time: Time | None
    tree_path: tuple[bytes, ...]
    object_list: tuple[bytes, ...] | None = None
    das_details: Tree | None = None


class GetProfilePackRequest(_ProfileRequest, frozen=True):
    """SML_GetProfilePack.Req, tag 0300."""


class GetProfileListRequest(_ProfileRequest, frozen=True):
    """SML_GetProfileList.Req, tag 0400."""


class GetProfilePackResponse(msgspec.Struct, frozen=True):
    """SML_GetProfilePack.Res, tag 0301."""

    server_id: bytes
    act_time: Time
    period_s: int
    tree_path: tuple[bytes, ...]
    headers: tuple[PackHeader, ...]
    periods: tuple[PackPeriod, ...]
    raw_data: bytes | None = None
    signature: bytes | None = None


class GetProfileListResponse(msgspec.Struct, frozen=True):
    """SML_GetProfileList.Res, tag 0401."""

    server_id: bytes
    act_time: Time
    period_s: int
    tree_path: tuple[bytes, ...]
    val_time: Time
    status: int
    entries: tuple[PeriodEntry, ...]
    raw_data: bytes | None = None
    signature: bytes | None = None


class GetProcParameterRequest(msgspec.Struct, frozen=True):
    """SML_GetProcParameter.Req, tag 0500."""

    server_id: bytes | None
    username: bytes | None
    password: bytes | None
    tree_path: tuple[bytes, ...]
    attribute: bytes | None = None


class GetProcParameterResponse(msgspec.Struct, frozen=True):
    """SML_GetProcParameter.Res, tag 0501."""

    server_id: bytes
    tree_path: tuple[bytes, ...]
    tree: Tree


class SetProcParameterRequest(msgspec.Struct, frozen=True):
    """SML_SetProcParameter.Req, tag 0600."""

    server_id: bytes | None
    username: bytes | None
    password: bytes | None
    tree_path: tuple[bytes, ...]
    tree: Tree


class AttentionResponse(msgspec.Struct, frozen=True):
    """SML_Attention.Res, tag FF01; numbers 8181C7C7xxyy."""

    server_id: bytes
    number: bytes
    message: bytes | None = None
    details: Tree | None = None


class UnknownBody(msgspec.Struct, frozen=True):
    """A body without known layout: ``raw`` is the encoded list of tag and content."""

    tag: int
    raw: bytes


Body = (
    OpenRequest
    | OpenResponse
    | CloseRequest
    | CloseResponse
    | GetListRequest
    | GetListResponse
    | GetProfilePackRequest
    | GetProfilePackResponse
    | GetProfileListRequest
    | GetProfileListResponse
    | GetProcParameterRequest
    | GetProcParameterResponse
    | SetProcParameterRequest
    | AttentionResponse
    | UnknownBody
)
