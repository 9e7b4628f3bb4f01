"""URIs of the resource tree (Anlage II chapters 5.2 and 6) and their query (7.8)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote_to_bytes

from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.instants import DeviceTime, parse_device_time
from wan.cosem.errors import CosemError

_OBJECT = re.compile(r"(\d{1,5})-([0-9a-f]{12})", re.ASCII)
# F6 of TR-03109-1 writes x00005E310002, the examples of Anlage II 12 bare digits
_CONTAINER = re.compile(r"(?:(\d{1,5})-|x)?([0-9a-fA-F]{12})", re.ASCII)
_INDEX = re.compile(r"-?\d{1,3}", re.ASCII)
_NUMBER = re.compile(r"(?:x[0-9a-fA-F]{1,8}|\d{1,9})", re.ASCII)
MAX_LDEV = 80  # own choice; a canonical id has at most 63 characters and a suffix


class Resource(StrEnum):
    """Kinds of resources."""

    COSEM = "cosem"
    LDEVS = "ldevs"
    LDEV = "ldev"
    OBJECTS = "objects"
    OBJECT = "object"
    ATTRIBUTES = "attributes"
    ATTRIBUTE = "attribute"
    METHODS = "methods"
    METHOD = "method"
    LDEV_CONTAINERS = "ldev-containers"
    LDEV_CONTAINER = "ldev-container"
    CONTAINERS = "containers"
    CONTAINER = "container"


@dataclass(frozen=True, slots=True)
class Address:
    """What a path names.

    Attributes:
        resource: kind of the resource.
        ldev: logical device, "" above it.
        class_id: of the object, -1 without one.
        name: logical name of object or container, 12 hex digits in lower case.
        index: of attribute or method.
        slash: the path ended in "/" (default depth 1).
    """

    resource: Resource
    ldev: str = ""
    class_id: int = -1
    name: str = ""
    index: int = 0
    slash: bool = False


_NOT_FOUND = CosemError(404, "no such resource")


def parse_path(path: str) -> Address:
    """Read the path below the point of contact, beginning with ``/cosem``.

    Raises:
        CosemError: 404, the path names nothing.
    """
    slash = path.endswith("/") and path != "/"
    parts = path.strip("/").split("/")
    if parts[0] != "cosem":
        raise _NOT_FOUND
    address = _below_cosem(parts[1:])
    return Address(
        address.resource, address.ldev, address.class_id, address.name, address.index, slash
    )


def _below_cosem(parts: list[str]) -> Address:
    match parts:
        case []:
            return Address(Resource.COSEM)
        case ["ldevs"]:
            return Address(Resource.LDEVS)
        case ["containers"]:
            return Address(Resource.CONTAINERS)
        case ["containers", name]:
            return Address(Resource.CONTAINER, "", *_container(name))
        case ["ldevs", ldev, *rest]:
            return _below_ldev(_ldev(ldev), rest)
    raise _NOT_FOUND


def _below_ldev(ldev: str, parts: list[str]) -> Address:
    match parts:
        case []:
            return Address(Resource.LDEV, ldev)
        case ["objects"]:
            return Address(Resource.OBJECTS, ldev)
        case ["containers"]:
            return Address(Resource.LDEV_CONTAINERS, ldev)
        case ["containers", name]:
            return Address(Resource.LDEV_CONTAINER, ldev, *_container(name))
        case ["objects", name, *rest]:
            match = _OBJECT.fullmatch(name)
            if match is None or int(match[1]) > 0xFFFF:
                raise _NOT_FOUND
            return _below_object(ldev, int(match[1]), match[2], rest)
    raise _NOT_FOUND


def _below_object(ldev: str, class_id: int, name: str, parts: list[str]) -> Address:
    match parts:
        case []:
            return Address(Resource.OBJECT, ldev, class_id, name)
        case ["attributes"]:
            return Address(Resource.ATTRIBUTES, ldev, class_id, name)
        case ["methods"]:
            return Address(Resource.METHODS, ldev, class_id, name)
        case ["attributes", index]:
            return Address(Resource.ATTRIBUTE, ldev, class_id, name, _index(index))
        case ["methods", index]:
            return Address(Resource.METHOD, ldev, class_id, name, _index(index))
    raise _NOT_FOUND


def _ldev(text: str) -> str:
    try:
        name = unquote_to_bytes(text).decode("ascii").lower()
    except UnicodeDecodeError:
        raise _NOT_FOUND from None
    if not 0 < len(name) <= MAX_LDEV or not name.isprintable():
        raise _NOT_FOUND
    return name


def _container(text: str) -> tuple[int, str]:
    match = _CONTAINER.fullmatch(text)
    if match is None:
        raise _NOT_FOUND
    return (int(match[1]) if match[1] else -1, match[2].lower())


def _index(text: str) -> int:
    if not _INDEX.fullmatch(text) or not -128 <= int(text) <= 127:
        raise _NOT_FOUND
    return int(text)


# -- query -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Query:
    """Filters of a GET (tables 14 and 15); what is None was not given.

    Attributes:
        first, count, last: 1-based window of a list or array.
        depth: nesting of the answer.
        begin, end: moments (``q.fromtime``, ``q.totime``).
        first_column, last_column: 1-based columns of a buffer.
        columns, filter_column, least, most: selective access by literals, unparsed.
    """

    first: int | None = None
    count: int | None = None
    last: int | None = None
    depth: int | None = None
    begin: DeviceTime | None = None
    end: DeviceTime | None = None
    first_column: int | None = None
    last_column: int | None = None
    columns: str = ""
    filter_column: str = ""
    least: str = ""
    most: str = ""


def parse_query(text: str) -> Query:
    """Read a query; the first of equal names counts, unknown names do not.

    Raises:
        CosemError: 400, a value has another form.
    """
    given: dict[str, str] = {}
    for pair in text.split("&") if text else ():
        name, _, raw = pair.partition("=")
        value = unquote_to_bytes(raw).decode("latin-1")
        if len(name) <= 50 and len(value) <= 255:  # DS2 table 6.5
            given.setdefault(name, value)

    def number(*names: str) -> int | None:
        for name in names:
            value = given.get(name, "")
            if value:
                if not _NUMBER.fullmatch(value):
                    raise CosemError(400, f"{value[:20]!r} is no number", name)
                return int(value[1:], 16) if value.startswith("x") else int(value)
        return None

    def moment(name: str) -> DeviceTime | None:
        value = given.get(name, "")
        if not value:
            return None
        try:
            return parse_device_time(value)
        except RemoteProtocolError as error:
            raise CosemError(400, str(error), name) from error

    return Query(
        first=number("sa.fromidx", "q.fromidx"),
        count=number("sa.count", "q.count"),
        last=number("sa.toidx"),
        depth=number("q.depth"),
        begin=moment("q.fromtime"),
        end=moment("q.totime"),
        first_column=number("sa.fromcol"),
        last_column=number("sa.tocol"),
        columns=given.get("sa.retrievecolumns", ""),
        filter_column=given.get("sa.filtercolumn", ""),
        least=given.get("sa.fromtype", ""),
        most=given.get("sa.totype", ""),
    )
