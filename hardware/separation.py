"""The look at the separation of WAN and HAN (manual D-2.3, SEC-30; GW-67).

Theory of operation. Both networks meet only in the gateway, which forwards nothing. Whoever joins
them outside (a cable between two switches, a router on both) breaks that; the gateway notices in
its self-test. Three independent looks, each enough to fail:

* **route**: the host forwards IP between the two interfaces (``/proc/sys/net``);
* **bridge**: both interfaces hang on the same bridge, or are the same (``/sys/class/net``);
* **wire**: a frame with a random number, sent out of the WAN interface when the test starts, has
  come in at the HAN interface when it ends (EtherType 0x88B5, IEEE 802 local experimental; needs
  CAP_NET_RAW). A frame in the other direction too.

:class:`SwitchedProbe` is the laboratory's cable: it is joined when the lab says so.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from pathlib import Path
from typing import Protocol

from smgw_emu.core.errors import SmgwError

ETHER_TYPE = 0x88B5  # IEEE 802-2014 9.2.4: local experimental EtherType 1
MAGIC = b"SMGW separation test"
WAIT_S = 0.1  # own choice: a frame through switches at one place takes far less
_BROADCAST = b"\xff" * 6


class Probe(Protocol):
    """A look at the separation, in two steps around the duration of the self-test."""

    def begin(self) -> None:
        """The test starts."""

    def finding(self) -> str:
        """The test ends: how the two are joined, "" if they are not."""


class SwitchedProbe:
    """The cable a lab puts between both networks.

    Attributes:
        joined: whether it is there.
    """

    def __init__(self) -> None:
        self.joined = False

    def begin(self) -> None:
        """Nothing to prepare."""

    def finding(self) -> str:
        """Return what the lab has done."""
        return "WAN und HAN sind verbunden" if self.joined else ""


class InterfaceProbe:
    """Looks at two real interfaces.

    Args:
        wan, han: names of the interfaces.
        root: where ``/sys`` and ``/proc`` are.
    """

    def __init__(self, wan: str, han: str, root: Path = Path("/")) -> None:
        self._names = (wan, han)
        self._root = root
        self._sockets: list[socket.socket] = []
        self._number = b""

    def begin(self) -> None:
        """Send a frame out of each interface.

        An interface that is down or may not be used raw sends nothing; the other looks stay.
        """
        self._close()
        self._number = os.urandom(16)
        with contextlib.suppress(OSError):
            for name in self._names:
                end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHER_TYPE))
                self._sockets.append(end)
                end.bind((name, ETHER_TYPE))
                end.setblocking(False)
            for number, end in enumerate(self._sockets):
                address = end.getsockname()[4]
                head = _BROADCAST + address + ETHER_TYPE.to_bytes(2, "big")
                end.send(head + MAGIC + self._number + bytes((number,)))

    def finding(self) -> str:
        """Return how they are joined.

        Raises:
            SmgwError: an interface does not exist.
        """
        try:
            for name in self._names:
                if not (self._root / "sys/class/net" / name).exists():
                    raise SmgwError(f"Schnittstelle {name} fehlt")
            return self._bridge() or self._route() or self._wire()
        finally:
            self._close()

    def _bridge(self) -> str:
        masters = []
        for name in self._names:
            with contextlib.suppress(OSError):
                masters.append((self._root / "sys/class/net" / name / "master").resolve(True).name)
        if self._names[0] == self._names[1]:
            return f"WAN und HAN sind dieselbe Schnittstelle {self._names[0]}"
        if len(masters) == 2 and masters[0] == masters[1]:
            return f"WAN und HAN hängen an der Brücke {masters[0]}"
        return ""

    def _route(self) -> str:
        for family in ("ipv4", "ipv6"):
            if all(self._forwards(family, name) for name in self._names):
                return f"{family} wird zwischen WAN und HAN weitergeleitet"
        return ""

    def _forwards(self, family: str, name: str) -> bool:
        path = self._root / "proc/sys/net" / family / "conf" / name / "forwarding"
        try:
            return path.read_text().strip() == "1"
        except OSError:
            return False

    def _wire(self) -> str:
        """Look for the own frame of one interface at the other."""
        if len(self._sockets) < 2:
            return ""
        end = time.monotonic() + WAIT_S
        while (left := end - time.monotonic()) > 0:
            ready, _, _ = select.select(self._sockets, [], [], left)
            for receiver in ready:
                with contextlib.suppress(OSError):
                    frame = receiver.recv(2048)
                    sender = self._sender(frame)
                    if sender is not None and self._sockets[sender] is not receiver:
                        return f"ein Rahmen von {self._names[sender]} kommt am anderen Netz an"
        return ""

    def _sender(self, frame: bytes) -> int | None:
        body = frame[14:]
        marked = MAGIC + self._number
        if not body.startswith(marked) or len(body) <= len(marked):
            return None
        number = body[len(marked)]
        return number if number < len(self._names) else None

    def _close(self) -> None:
        for end in self._sockets:
            end.close()
        self._sockets = []
