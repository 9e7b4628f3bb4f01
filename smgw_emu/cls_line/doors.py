"""The two listeners of the CLS port, perhaps bound to a real interface."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from smgw_emu.cls_line.leg import Leg
from smgw_emu.core.config import ClsPort
from smgw_emu.core.errors import SmgwError


class Doors:
    """Both listeners.

    Args:
        visit: makes the leg of a connection on ``socks`` or ``tls``.

    Attributes:
        addresses: where they listen, by name; empty while they are closed.
    """

    def __init__(self, visit: Callable[[str], Leg]) -> None:
        self._visit = visit
        self._servers: list[asyncio.Server] = []
        self.addresses: dict[str, tuple[str, int]] = {}

    async def open(self, place: ClsPort) -> None:
        """Listen on both ports.

        Raises:
            SmgwError: an address is in use, or the interface is not ours to bind to.
        """
        try:
            for name, port in (("socks", place.socks), ("tls", place.tls)):
                await self._bind(name, place.host, port, place.interface)
        except OSError as error:
            self.close()
            where = f"{place.host}:{port}" + (f" on {place.interface}" if place.interface else "")
            raise SmgwError(f"CLS proxy cannot listen on {where}: {error.strerror}") from error

    async def _bind(self, name: str, host: str, port: int, interface: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # asyncio switches Nagle off only where it sees TCP named
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if interface:
                option = interface.encode("ascii") + b"\0"
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, option)
            listener.bind((host, port))
        except OSError:
            listener.close()
            raise
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: self._visit(name), sock=listener)
        self._servers.append(server)
        bound = server.sockets[0].getsockname()
        self.addresses[name] = (bound[0], bound[1])

    def close(self) -> None:
        """Listen no more."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        self.addresses.clear()
