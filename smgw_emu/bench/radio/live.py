"""A virtual receiver behind a real way in: pty, TCP, socket pair."""

from __future__ import annotations

from lmn.wmbus.link import Format
from smgw_emu.bench.bus.live import Wire
from smgw_emu.bench.radio.sticks import DEFAULT_RSSI, VirtualStick


class LiveStick:
    """Connects a receiver to its host.

    Args:
        stick: the receiver.
        wire: to the host.
    """

    def __init__(self, stick: VirtualStick, wire: Wire) -> None:
        self.stick = stick
        self.wire = wire

    def start(self) -> None:
        """Begin to answer the host."""
        self.wire.start(self._on_data)

    def _on_data(self, data: bytes) -> None:
        answer = self.stick.receive(data)
        if answer:
            self.wire.write(answer)

    def hear(self, bare: bytes, mode: str, form: Format = "A", rssi: int = DEFAULT_RSSI) -> None:
        """Hear a frame on the air."""
        report = self.stick.hear(bare, mode, form, rssi)
        if report:
            self.wire.write(report)

    def stop(self) -> None:
        """Pull it out."""
        self.wire.close()
