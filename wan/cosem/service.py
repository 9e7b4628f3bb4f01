"""Answering requests on the resource tree: the gateway's side of WKS1 (Anlage II 7 and 8).

Checks in this order: verb (501), host (403), path (404), headers (411, 415), body (413, 422), then
the resource itself. What a resource means is the tree's business; a :class:`CosemError` of the tree
becomes its status with the reason in the body, and :attr:`CosemService.refused` hears of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from xml.etree.ElementTree import Element

from smgw_emu.core.images import ImageError
from smgw_emu.transport.http import Request, Response
from wan.cosem import documents
from wan.cosem.address import Address, Query, Resource, parse_path, parse_query
from wan.cosem.data import Data, structure, text
from wan.cosem.documents import Container, CosemObject, MethodResponse
from wan.cosem.errors import CosemError, XmlError
from wan.cosem.media import OCTETS, SEALED, XML, Protection, accepts, open_body
from wan.cosem.selection import window
from wan.cosem.transfer import Transfers, parse_content_range, parse_range
from wan.cosem.xml import write

_VERBS = ("GET", "PUT", "POST", "DELETE")
_CID = re.compile(
    r"uuid:\s?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    re.ASCII | re.IGNORECASE,
)
# COSEM action results for the body of an error: read-write-denied, object-undefined, ...
_RESULTS = {403: 3, 404: 4, 408: 2, 409: 9, 422: 12}
_OTHER_REASON = 250


@dataclass(frozen=True, slots=True)
class Reply:
    """Where an asynchronous answer goes: correlation id and path (None: the default one)."""

    cid: str
    contact: str


class Tree(Protocol):
    """The resources a connection exposes; everything may raise :class:`CosemError`."""

    def ldevs(self) -> list[str]:
        """Logical devices, the management one first."""

    def objects(self, ldev: str) -> list[tuple[int, str]]:
        """(class id, logical name) of a device's objects; 404 without such a device."""

    def skeleton(self, ldev: str, class_id: int, name: str) -> CosemObject:
        """An object with no values: version, readable attributes (null) and methods."""

    def read(self, ldev: str, class_id: int, name: str, index: int, query: Query) -> Data:
        """The value of an attribute, cut as the query asks."""

    def write(self, ldev: str, class_id: int, name: str, values: dict[int, Data]) -> None:
        """Set attributes, all or none."""

    def call(
        self, ldev: str, class_id: int, name: str, index: int, data: Data | None,
        reply: Reply | None,
    ) -> MethodResponse | None:  # fmt: skip
        """Run a method; None: the answer comes later at ``reply``."""

    def containers(self, ldev: str) -> list[tuple[int, str]]:
        """(class id or -1, name) of a device's containers; "" for those of the whole device."""

    def container(self, ldev: str, name: str) -> bytes:
        """A container's document, byte for byte."""

    def put_container(self, ldev: str, name: str, body: bytes) -> bool:
        """Store and apply a container; returns whether it is new."""

    def delete_container(self, ldev: str, name: str) -> None:
        """Remove a container and what it configured."""

    def delete_ldev(self, ldev: str) -> None:
        """Remove a logical device with its containers."""


class Files(Protocol):
    """Non-COSEM resources below the point of contact: firmware images."""

    def state(self, name: str) -> int:
        """Octets of an image that are here; 404 without one."""

    def put(self, name: str, first: int, octets: bytes, total: int) -> bool:
        """Add a block; returns whether the image is complete."""

    def delete(self, name: str) -> None:
        """Drop an image."""


class CosemService:
    """One partner's view.

    Args:
        host: canonical id of the gateway (``ethe0300004261.sm``).
        poc: point of contact, ``/smgw``.
        tree: the resources.
        files: images.
        protection: towards the partner.
        required: whether unprotected bodies are refused and never sent.
        transfers: bodies on their way.
        refused: told (request, status, reason) of every error.
    """

    def __init__(
        self,
        host: str,
        poc: str,
        tree: Tree,
        files: Files,
        protection: Protection | None,
        *,
        required: bool,
        transfers: Transfers,
        refused: Callable[[Request, int, str], None] = lambda *_: None,
    ) -> None:
        self._host = host
        self._poc = poc
        self._tree = tree
        self._files = files
        self._protection = protection
        self._required = required
        self._transfers = transfers
        self._refused = refused

    def handle(self, request: Request) -> Response:
        """Answer a request."""
        try:
            return self._handle(request)
        except CosemError as error:
            refusal = error
        except ImageError as error:
            refusal = CosemError(error.status, str(error), "firmware")
        self._refused(request, refusal.status, str(refusal))
        return self._error(request, refusal)

    def _handle(self, request: Request) -> Response:
        if request.method not in _VERBS:
            raise CosemError(501, f"verb {request.method[:20]} is not implemented")
        host = request.headers.get("host", "").partition(":")[0].rstrip(".").lower()
        if host != self._host and not host.startswith(self._host + "."):
            raise CosemError(403, "wrong host name")
        if request.method in {"PUT", "POST"} and "content-length" not in request.headers:
            raise CosemError(411, "Content-Length is required")
        path, _, query_text = request.target.partition("?")
        below = path.removeprefix(self._poc)
        if not path.startswith(self._poc + "/"):
            raise CosemError(404, "no such resource")
        if below.startswith("/firmware/"):
            return self._file(request, below.removeprefix("/firmware/"))
        address = parse_path(below)
        if request.method == "GET":
            return self._get(request, address, parse_query(query_text))
        if request.method == "DELETE":
            return self._delete(address)
        body = self._body(request)
        if body is None:
            return Response(206)
        if request.method == "PUT":
            return self._put(address, body)
        return self._post(request, address, body)

    # -- bodies ----------------------------------------------------------------------------

    def _body(self, request: Request) -> bytes | None:
        """Return the XML of a request, None while blocks are missing."""
        body, header = request.body, request.headers.get("content-range")
        if header is not None:
            if request.method != "PUT":  # block transfer only for idempotent verbs
                raise CosemError(400, "Content-Range is for GET and PUT only")
            whole = self._transfers.take(
                request.target, parse_content_range(header, len(body)), body
            )
            if whole is None:
                return None
            body = whole
        if not body:
            return b""
        return open_body(body, request.headers, self._protection, required=self._required)

    def _answer(self, request: Request, document: bytes, status: int = 200) -> Response:
        """Return a document in the form the partner accepts."""
        accept = request.headers.get("accept")
        protection = self._protection
        if protection is not None and (self._required or accepts(accept, SEALED)):
            if not accepts(accept, SEALED):
                raise CosemError(406, f"only {SEALED} is served")
            headers = [("content-type", SEALED), ("content-encoding", "deflate")]
            return self._ranged(request, lambda: protection.seal(document), headers, status)
        if not accepts(accept, XML):
            raise CosemError(406, f"only {XML} is served")
        return self._ranged(request, lambda: document, [("content-type", XML)], status)

    def _ranged(
        self,
        request: Request,
        make: Callable[[], bytes],
        headers: list[tuple[str, str]],
        status: int,
    ) -> Response:
        header = request.headers.get("range")
        if header is None or request.method != "GET" or status != 200:
            return Response(status, make(), headers)
        begins = header.replace(" ", "").startswith("bytes=0-")
        body = None if begins else self._transfers.offer(request.target)
        if body is None:
            body = make()
            self._transfers.keep(request.target, body)
        block = parse_range(header, len(body))
        self._transfers.served(request.target, block)
        part = body[block.first : block.last + 1]
        return Response(206, part, [*headers, ("content-range", block.content_range)])

    def _error(self, request: Request, error: CosemError) -> Response:
        headers = [("retry-after", "10")] if error.status == 408 else []
        detail = structure(text(error.reason[:500]), text(error.element[:200]))
        result = _RESULTS.get(error.status, _OTHER_REASON)
        document = documents.write_response(MethodResponse(result, detail))
        try:
            response = self._answer(request, document, error.status)
        except CosemError:
            return Response(error.status, headers=headers)  # no form the partner can read
        return Response(error.status, response.body, [*response.headers, *headers])

    # -- GET -------------------------------------------------------------------------------

    def _get(self, request: Request, address: Address, query: Query) -> Response:
        if address.resource is Resource.METHOD:
            raise CosemError(405, "a method is called with POST")
        if address.resource in {Resource.LDEV_CONTAINER, Resource.CONTAINER}:
            return self._answer(request, self._tree.container(address.ldev, address.name))
        depth = query.depth if query.depth is not None else (1 if address.slash else None)
        return self._answer(request, write(self._element(address, query, depth)))

    def _element(self, address: Address, query: Query, depth: int | None) -> Element:
        tree, ldev = self._tree, address.ldev
        below = None if depth is None else max(0, depth - 1)
        match address.resource:
            case Resource.COSEM:
                ldevs = self._ldevs(Query(), None if depth is None else depth)
                return documents.cosem_element(ldevs, self._containers("", Query(), below))
            case Resource.LDEVS:
                return self._ldevs(query, depth)
            case Resource.LDEV:
                return self._ldev(ldev, depth)
            case Resource.OBJECTS:
                return self._objects(ldev, query, depth)
            case Resource.CONTAINERS:
                return self._containers("", query, depth)
            case Resource.LDEV_CONTAINERS:
                return self._containers(ldev, query, depth)
        item = tree.skeleton(ldev, address.class_id, address.name)
        match address.resource:
            case Resource.METHODS:
                return documents.methods_element(item, depth=depth)
            case Resource.OBJECT:
                return documents.object_element(self._filled(ldev, item, query), depth=depth)
            case Resource.ATTRIBUTES:
                return documents.attributes_element(self._filled(ldev, item, query), depth=depth)
        return self._attribute(address, item, query)

    def _attribute(self, address: Address, item: CosemObject, query: Query) -> Element:
        if address.index == 0:  # reserved: all attributes above 0
            shown = {index: data for index, data in item.attributes.items() if index > 0}
            item = CosemObject(item.class_id, item.version, item.name, shown)
            return documents.attributes_element(self._filled(address.ldev, item, query))
        if address.index not in item.attributes:
            raise CosemError(404, "no such attribute")
        value = self._tree.read(address.ldev, address.class_id, address.name, address.index, query)
        return documents.attribute_element(address.index, value)

    def _filled(self, ldev: str, item: CosemObject, query: Query) -> CosemObject:
        values = {
            index: self._tree.read(ldev, item.class_id, item.name, index, query)
            for index in item.attributes
        }
        return CosemObject(item.class_id, item.version, item.name, values, item.methods)

    def _ldevs(self, query: Query, depth: int | None) -> Element:
        names = window(self._tree.ldevs(), query)
        below = None if depth is None else max(0, depth - 1)
        rows = (self._ldev(name, below) for name in names)
        return documents.list_element("ldevs", rows, depth)

    def _ldev(self, name: str, depth: int | None) -> Element:
        below = None if depth is None else max(0, depth - 1)
        objects = self._objects(name, Query(), below)
        containers = self._containers(name, Query(), below)
        return documents.ldev_element(name, objects, containers if len(containers) else None)

    def _objects(self, ldev: str, query: Query, depth: int | None) -> Element:
        found = window(self._tree.objects(ldev), query)
        below = None if depth is None else max(0, depth - 1)
        rows = (self._object(ldev, class_id, name, query, below) for class_id, name in found)
        return documents.list_element("objects", rows, depth)

    def _object(
        self, ldev: str, class_id: int, name: str, query: Query, depth: int | None
    ) -> Element:
        item = self._tree.skeleton(ldev, class_id, name)
        if depth is None or depth > 1:
            times = Query(begin=query.begin, end=query.end)
            item = self._filled(ldev, item, times)
        return documents.object_element(item, depth=depth)

    def _containers(self, ldev: str, query: Query, depth: int | None) -> Element:
        found = window(self._tree.containers(ldev), query)
        rows = (self._container(ldev, name, depth) for _, name in found)
        return documents.list_element("containers", rows, depth)

    def _container(self, ldev: str, name: str, depth: int | None) -> Element:
        """Return a container's content in a list; one this device cannot read stays a reference."""
        if depth is not None and depth <= 1:
            return documents.container_reference(name)
        try:
            found: Container = documents.read_container(self._tree.container(ldev, name))
        except XmlError:
            return documents.container_reference(name)
        return documents.container_element(found)

    # -- PUT, POST, DELETE -----------------------------------------------------------------

    def _put(self, address: Address, body: bytes) -> Response:
        if not body:
            raise CosemError(400, "a PUT needs a body here")
        match address.resource:
            case Resource.LDEV_CONTAINER | Resource.CONTAINER:
                new = self._tree.put_container(address.ldev, address.name, body)
                return Response(201 if new else 204)
            case Resource.ATTRIBUTE:
                index, value = documents.read_attribute_document(body)
                if index != address.index:
                    raise CosemError(422, f"attribute {index} in the body", "attribute")
                values = {index: value}
            case Resource.OBJECT:
                item = documents.read_object_document(body)
                if (item.class_id, item.name) != (address.class_id, address.name):
                    raise CosemError(422, "another object in the body", "object")
                values = {index: v for index, v in item.attributes.items() if index != 1}
            case _:
                raise CosemError(405, "this resource cannot be put")
        self._tree.write(address.ldev, address.class_id, address.name, values)
        return Response(204)

    def _post(self, request: Request, address: Address, body: bytes) -> Response:
        if address.resource is not Resource.METHOD:
            raise CosemError(405, "POST is for methods")
        data = documents.read_request(body) if body else None
        answer = self._tree.call(
            address.ldev, address.class_id, address.name, address.index, data, _reply(request)
        )
        if answer is None:
            return Response(202)
        if answer.status == 0 and answer.data is None:
            return Response(200)
        status = 200 if answer.status == 0 else 500
        return self._answer(request, documents.write_response(answer), status)

    def _delete(self, address: Address) -> Response:
        match address.resource:
            case Resource.LDEV_CONTAINER | Resource.CONTAINER:
                self._tree.delete_container(address.ldev, address.name)
            case Resource.LDEV:
                self._tree.delete_ldev(address.ldev)
            case _:
                raise CosemError(405, "this resource cannot be deleted")
        return Response(204)

    # -- files -----------------------------------------------------------------------------

    def _file(self, request: Request, name: str) -> Response:
        """Load an image in blocks (WAF1 "load"; wan.md 8.4)."""
        if request.method == "GET":
            return Response(204, headers=[("range", f"bytes=0-{self._files.state(name) - 1}")])
        if request.method == "DELETE":
            self._files.delete(name)
            return Response(204)
        if request.method != "PUT":
            raise CosemError(405, "an image is put")
        if request.headers.get("content-type", "").strip().lower() != OCTETS:
            raise CosemError(415, f"an image is {OCTETS}")
        header = request.headers.get("content-range")
        first, total = 0, len(request.body)
        if header is not None:
            block = parse_content_range(header, len(request.body))
            first, total = block.first, block.total
        complete = self._files.put(name, first, request.body, total)
        return Response(201 if complete else 206)


def _reply(request: Request) -> Reply | None:
    cid = request.headers.get("x-cid")
    if cid is None:
        return None
    if not _CID.fullmatch(cid.strip()):
        raise CosemError(400, "x-CID is not uuid: and a UUID", "x-cid")
    return Reply(cid.strip(), request.headers.get("x-contacturi", "").strip())
