"""Documents of the REST structure (cor-1, Anlage II 8.2) as values, read and written.

Where the printed schema and the printed examples differ, the examples count: the data element
stands directly in ``attribute``; a container holds ``object`` elements directly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement

from wan.cosem.data import Data, parse_data, parse_simple, write_data
from wan.cosem.errors import XmlError
from wan.cosem.xml import COR, attributes, local, no_text, parse, write

_OBIS = re.compile(r"[0-9a-fA-F]{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class CosemObject:
    """An instance of a COSEM class.

    Attributes:
        class_id: 0..65535.
        version: of the class.
        name: logical name, 12 hex digits in lower case.
        attributes: by index, -128..127 without 0.
        methods: indexes.
    """

    class_id: int
    version: int
    name: str
    attributes: dict[int, Data]
    methods: tuple[int, ...] = ()

    @property
    def resource(self) -> str:
        """Its id in a URI: ``3-0100010800ff``."""
        return f"{self.class_id}-{self.name}"


@dataclass(frozen=True, slots=True)
class Container:
    """Objects that are read and written as one (Anlage II 7.9).

    Attributes:
        name: 12 hex digits in lower case.
        objects: what is in it.
    """

    name: str
    objects: tuple[CosemObject, ...]


@dataclass(frozen=True, slots=True)
class MethodResponse:
    """Result of a method; status 0 is success."""

    status: int
    data: Data | None = None


def _tag(name: str) -> str:
    return f"{{{COR}}}{name}"


def _number(content: str, kind: str, where: str) -> int:
    value = parse_simple(kind, content, where).value
    assert isinstance(value, int)
    return value


def _expect(element: Element, name: str, where: str) -> None:
    found = local(element, COR)
    if found != name:
        raise XmlError(f"<{name}> expected, not <{found[:40]}>", where)
    no_text(element, where)


def _list(element: Element, name: str, item: str, where: str) -> list[Element]:
    """Return the items of a list resource; ``count``, if given, must be true."""
    _expect(element, name, where)
    given = attributes(element, {"count": False}, where).get("count")
    items = list(element)
    for child in items:
        if local(child, COR) != item:
            raise XmlError(f"<{item}> expected, not <{local(child, COR)[:40]}>", where)
    if given is not None and _number(given, "double-long-unsigned", where) != len(items):
        raise XmlError(f"count is {given[:12]}, there are {len(items)}", where)
    return items


# -- reading ---------------------------------------------------------------------------------


def read_object(element: Element) -> CosemObject:
    """Read ``<object>``.

    Raises:
        XmlError: not of the schema.
    """
    _expect(element, "object", "object")
    named = attributes(element, {"class-id": True, "version": True, "id": True}, "object")
    if not _OBIS.fullmatch(named["id"]):
        raise XmlError("id is not 12 hex digits", "object")
    name = named["id"].lower()
    where = f"object {name}"
    class_id = _number(named["class-id"], "long-unsigned", where)
    version = _number(named["version"], "unsigned", where)
    found: dict[int, Data] = {}
    methods: list[int] = []
    for child in element:
        if local(child, COR) == "attributes":
            for item in _list(child, "attributes", "attribute", where):
                index, data = read_attribute(item, where)
                if index in found:
                    raise XmlError(f"attribute {index} stands twice", where)
                found[index] = data
        else:
            items = _list(child, "methods", "method", where)
            methods.extend(_index(item, where) for item in items)
    return CosemObject(class_id, version, name, found, tuple(methods))


def _index(element: Element, where: str) -> int:
    text = attributes(element, {"id": True}, where)["id"]
    index = _number(text, "integer", where)
    if index == 0:
        raise XmlError("index 0 is reserved", where)
    return index


def read_attribute(element: Element, where: str = "") -> tuple[int, Data]:
    """Read ``<attribute>``: index and value.

    Raises:
        XmlError: not of the schema.
    """
    _expect(element, "attribute", where)
    index = _index(element, where)
    if len(element) != 1:
        raise XmlError("an attribute holds one value", f"{where}/{index}")
    return index, parse_data(element[0], f"{where}/{index}")


def read_container(data: bytes) -> Container:
    """Read a body with one ``<container>``, bare or in a ``<containers>`` list (8.2.14).

    Raises:
        XmlError: not of the schema.
    """
    root = parse(data)
    if local(root, COR) == "containers":
        items = _list(root, "containers", "container", "containers")
        if len(items) != 1:
            raise XmlError(f"one container expected, not {len(items)}", "containers")
        root = items[0]
    _expect(root, "container", "container")
    name = attributes(root, {"id": True}, "container")["id"]
    if not _OBIS.fullmatch(name):
        raise XmlError("id is not 12 hex digits", "container")
    return Container(name.lower(), tuple(read_object(child) for child in root))


def read_request(data: bytes) -> Data:
    """Read ``<methodRequestParameter>``.

    Raises:
        XmlError: not of the schema.
    """
    root = parse(data)
    _expect(root, "methodRequestParameter", "methodRequestParameter")
    if root.attrib or len(root) != 1:
        raise XmlError("one value expected", "methodRequestParameter")
    return parse_data(root[0], "methodRequestParameter")


def read_response(data: bytes) -> MethodResponse:
    """Read ``<methodResponse>``.

    Raises:
        XmlError: not of the schema.
    """
    root = parse(data)
    _expect(root, "methodResponse", "methodResponse")
    status, value = 0, None
    for child in root:
        if local(child, COR) == "methodResponseStatus":
            status = _number(child.text or "", "unsigned", "methodResponse")
        else:
            _expect(child, "methodResponseData", "methodResponse")
            if len(child) != 1:
                raise XmlError("one value expected", "methodResponseData")
            value = parse_data(child[0], "methodResponseData")
    return MethodResponse(status, value)


# -- writing ---------------------------------------------------------------------------------


def attribute_element(index: int, data: Data) -> Element:
    """Return ``<attribute>``."""
    element = Element(_tag("attribute"), {"id": str(index)})
    write_data(element, data)
    return element


def object_element(item: CosemObject, *, depth: int | None = None) -> Element:
    """Return ``<object>``; ``depth`` 0 leaves its parts out."""
    names = {"class-id": str(item.class_id), "version": str(item.version), "id": item.name}
    element = Element(_tag("object"), names)
    if depth is not None and depth <= 0:
        return element
    below = None if depth is None else depth - 1
    element.append(attributes_element(item, depth=below))
    if item.methods:
        element.append(methods_element(item, depth=below))
    return element


def attributes_element(item: CosemObject, *, depth: int | None = None) -> Element:
    """Return ``<attributes>``."""
    rows = [attribute_element(index, value) for index, value in sorted(item.attributes.items())]
    return list_element("attributes", rows, depth)


def methods_element(item: CosemObject, *, depth: int | None = None) -> Element:
    """Return ``<methods>``."""
    rows = [Element(_tag("method"), {"id": str(index)}) for index in item.methods]
    return list_element("methods", rows, depth)


def list_element(name: str, items: Iterable[Element], depth: int | None = None) -> Element:
    """Return a list element with its ``count`` of delivered items; depth 0 is the bare list."""
    children = [] if depth == 0 else list(items)
    element = Element(_tag(name), {"count": str(len(children))})
    element.extend(children)
    return element


def ldev_element(name: str, objects: Element, containers: Element | None) -> Element:
    """Return ``<ldev>``."""
    element = Element(_tag("ldev"), {"id": name.encode().hex()})
    element.append(objects)
    if containers is not None:
        element.append(containers)
    return element


def container_element(container: Container, *, depth: int | None = None) -> Element:
    """Return ``<container>``."""
    element = Element(_tag("container"), {"id": container.name})
    if depth is None or depth > 0:
        below = None if depth is None else depth - 1
        element.extend(object_element(item, depth=below) for item in container.objects)
    return element


def container_reference(name: str) -> Element:
    """Return ``<container>`` without content."""
    return Element(_tag("container"), {"id": name})


def cosem_element(ldevs: Element, containers: Element | None) -> Element:
    """Return ``<cosem>``, the root of the tree."""
    element = Element(_tag("cosem"))
    element.append(ldevs)
    if containers is not None:
        element.append(containers)
    return element


def write_container(container: Container) -> bytes:
    """Return a container as a document."""
    return write(container_element(container))


def write_request(data: Data) -> bytes:
    """Return ``<methodRequestParameter>``."""
    root = Element(_tag("methodRequestParameter"))
    write_data(root, data)
    return write(root)


def write_response(response: MethodResponse) -> bytes:
    """Return ``<methodResponse>``."""
    root = Element(_tag("methodResponse"))
    SubElement(root, _tag("methodResponseStatus")).text = str(response.status)
    if response.data is not None:
        write_data(SubElement(root, _tag("methodResponseData")), response.data)
    return write(root)


def write_attribute(index: int, data: Data) -> bytes:
    """Return one attribute as a document."""
    return write(attribute_element(index, data))


def read_object_document(data: bytes) -> CosemObject:
    """Read a document of one object.

    Raises:
        XmlError: not of the schema.
    """
    return read_object(parse(data))


def read_attribute_document(data: bytes) -> tuple[int, Data]:
    """Read a document of one attribute.

    Raises:
        XmlError: not of the schema.
    """
    return read_attribute(parse(data), "attribute")
