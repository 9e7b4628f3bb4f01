"""The APDU log a laboratory reads, and the command order the norm draws.

One entry per command: what, on which key, how many octets, which status word. Data never: a log
with nonces, tokens or shared secrets would be a key file.

TR-03109-1 v1.0 figures F28 (TLS) and F30 (CMS) draw an order of commands; :func:`follows` tells
whether a log shows it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import msgspec

from hsm_sim.apdu import Command, Response, command_name

MAX_ENTRIES = 10_000


class LogEntry(msgspec.Struct, frozen=True):
    """One command: number since start, name, key reference, octets in and out, status word."""

    number: int
    command: str
    key: str
    sent: int
    received: int
    status: str


class ApduLog:
    """The newest entries, at most ``size`` of them."""

    def __init__(self, size: int = MAX_ENTRIES) -> None:
        self._entries: deque[LogEntry] = deque(maxlen=size)
        self.total = 0

    def add(self, command: Command, response: Response, key: str) -> None:
        """Append one command."""
        self.total += 1
        self._entries.append(
            LogEntry(
                self.total,
                command_name(command),
                key,
                len(command.data),
                len(response.data),
                f"{response.status:04X}",
            )
        )

    def __iter__(self) -> Iterator[LogEntry]:
        return iter(tuple(self._entries))

    def since(self, number: int) -> list[LogEntry]:
        """Return the entries after ``number``."""
        return [entry for entry in self._entries if entry.number > number]


# F28: random A for the ClientHello; ECKA with P_A; signature of CertificateVerify; verification of
# the server's signature. "Order of commands MAY differ": the verification may come before the
# signature.
TLS_HANDSHAKE = (
    "GET CHALLENGE",
    "GENERAL AUTHENTICATE EPHEMERAL",
    ("PSO: COMPUTE DIGITAL SIGNATURE", "PSO: VERIFY DIGITAL SIGNATURE"),
)
# F30: message key(s) drawn in the module, ECKA with the receiver's key, signature.
CMS_SEAL = ("GET CHALLENGE", "GENERAL AUTHENTICATE EPHEMERAL", "PSO: COMPUTE DIGITAL SIGNATURE")

Sequence = tuple[str | tuple[str, ...], ...]


def follows(entries: Iterable[LogEntry], sequence: Sequence) -> bool:
    """Tell whether the successful commands show ``sequence`` in order (others may lie between).

    A tuple inside the sequence is a group whose members may come in any order.
    """
    steps = list(sequence)
    group: set[str] = set()
    for entry in entries:
        if not steps:
            break
        if entry.status != "9000":
            continue
        step = steps[0]
        wanted = group or ({step} if isinstance(step, str) else set(step))
        name = f"{entry.command} EPHEMERAL" if entry.key == "EPHEMERAL" else entry.command
        if name in wanted:
            group = wanted - {name}
            if not group:
                steps.pop(0)
    return not steps
