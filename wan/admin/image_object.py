"""Firmware images: load, verify, activate as separate services (TR-03109-1 v1.0 3.2.2 WAF1)."""

from __future__ import annotations

from collections.abc import Callable

from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.instants import parse_device_time
from wan.admin.base import DONE, Plain
from wan.cosem.data import Data, array, octets, structure, text, unsigned32
from wan.cosem.documents import MethodResponse
from wan.cosem.errors import CosemError
from wan.cosem.service import Reply

IMAGES = "00002c0000ff"


class ImageObject(Plain):
    """Firmware images: state, verification, activation (WAF1)."""

    class_id, name = 18, IMAGES

    def attributes(self) -> dict[int, Callable[[], Data]]:
        """Return what the class table names."""
        images, status = self.facilities.images, self.facilities.firmware.status
        return {
            2: lambda: unsigned32(65_536),
            3: lambda: Data("bit-string", ""),
            4: lambda: unsigned32(0),
            5: lambda: Data("boolean", True),
            6: lambda: Data("enum", status),
            7: lambda: array(
                *(
                    structure(
                        unsigned32(size), octets(name.encode()), octets(bytes.fromhex(digest))
                    )
                    for name, size, digest in images.complete()
                )
            ),
        }

    def call(
        self,
        index: int,
        data: Data | None,
        reply: Reply | None,  # noqa: ARG002
    ) -> MethodResponse | None:
        """Run a method of the class table."""
        parts = data.value if data is not None and isinstance(data.value, tuple) else ()
        values: list[object] = [part.value for part in parts]
        if index == 3:
            return self._verify(values)
        if index == 4:
            return self._activate(values)
        raise (
            CosemError(501, "images are put to /smgw/firmware/NAME")
            if index in {1, 2}
            else (CosemError(404, "no such method"))
        )

    def _verify(self, values: list[object]) -> MethodResponse:
        """``{UTF8 name, octet-string SHA-256}``: signature, version, then into the partition."""
        match values:
            case [str(name), bytes(wanted)]:
                pass
            case _:
                raise CosemError(422, "structure of name and SHA-256 expected", "image_verify")
        reason = self.facilities.firmware.verify(name, wanted, self.facilities.now())
        return DONE if not reason else MethodResponse(250, text(reason))

    def _activate(self, values: list[object]) -> MethodResponse:
        """``{UTF8 name, UTF8 moment or ""}``; only a verified image."""
        match values:
            case [str(name), str(moment)]:
                pass
            case _:
                raise CosemError(422, "structure of name and moment expected", "image_activate")
        try:
            when = parse_device_time(moment) if moment else None
        except RemoteProtocolError as error:
            raise CosemError(422, str(error), "image_activate") from error
        f = self.facilities
        reason = f.firmware.activate(name, when, f.now())
        f.deadlines_moved()
        return DONE if not reason else MethodResponse(250, text(reason))
