"""One wired meter as a node of a bus: HDLC, SYM, TLS, SML, and the faults a lab wants.

Theory of operation. Frames for this meter go to its place on the bus and its link; what the link
brings goes to SYM or TLS by the protocol it is connected to. Unpaired, the meter accepts SYM only;
paired, TLS and SYM (for the crypto reset), never plaintext SML (``lmn-wired.md`` 1.2). What
survives a loss of power is :class:`lmn.sym.PairingMemory` and the counters.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from lmn.bus import Participant
from lmn.bus.participant import Reply
from lmn.hdlc import Frame, HdlcReceiver, SecondaryLink, encode_frame
from lmn.hdlc.primary import Arrived, Closed, Opened
from lmn.hdlc.receiver import Received
from lmn.sml import SmlFile, SmlReceiver
from lmn.sym import MeterPairing, PairingMemory, Quirk, SymCodec
from smgw_emu.bench.meters.wired.registers import MeterRegisters
from smgw_emu.bench.meters.wired.sml_server import SmlServer
from smgw_emu.core.errors import SmgwError
from smgw_emu.core.instants import MILLISECOND, WorldTime
from smgw_emu.profiles import Profile
from smgw_emu.transport.presets import TlsIdentity, client_context, server_context
from smgw_emu.transport.tls import Data, Ended, Established, TlsConnection, TlsEvent
from smgw_emu.wired_line.records import RecordPacker

_HASHES: dict[int, HashAlgorithm] = {32: SHA256(), 48: SHA384(), 64: SHA512()}
_NOISE_PAUSE = (60, 200)  # ms


@dataclass(slots=True)
class MeterFaults:
    """What is wrong with a meter.

    Attributes:
        silent: it answers nothing.
        fixed_address: it takes this address whatever the list says.
        late_slots: it answers broadcasts so many slots late.
        bad_fcs: its answers have a wrong checksum.
        ignores_list: it answers allocations although it is listed.
        flood: octets of noise it sends about every 130 ms, whoever speaks.
        foreign_source: it answers under this address.
        latency_ms: from a request to its answer.
        turnaround_us: from a command's end to the answer's begin.
    """

    silent: bool = False
    fixed_address: int = 0
    late_slots: int = 0
    bad_fcs: bool = False
    ignores_list: bool = False
    flood: int = 0
    foreign_source: int = 0
    latency_ms: int = 0
    turnaround_us: int = 200


class WiredMeter:
    """A meter on a bus.

    Args:
        registers: what it measures.
        master_key: MK0.
        profile: the table of the bus, TLS limits.
        seed: of addresses and slots.
        memory: what a former life has left.
        tls_role: its part in the handshake.
        faults: what is wrong with it.
    """

    def __init__(
        self,
        registers: MeterRegisters,
        master_key: bytes,
        profile: Profile,
        seed: int = 1,
        memory: PairingMemory | None = None,
        tls_role: str = "server",
        faults: MeterFaults | None = None,
    ) -> None:
        self.registers = registers
        self.id = registers.meter.id
        self.memory = memory or PairingMemory()
        self.faults = faults or MeterFaults()
        self.powered = True
        self._profile = profile
        self._rules = profile.lmn_bus
        self._role = tls_role
        self._chance = random.Random(f"{seed}:{self.id}")  # noqa: S311  # addresses, no secrets
        server_id = self.id.server_id
        quirk = Quirk(registers.model.quirk)
        self._sym = MeterPairing(SymCodec(master_key, server_id, quirk, padded=False), self.memory)
        self.server = SmlServer(server_id, registers, self.memory)
        self._receiver = HdlcReceiver(self._rules)
        self.link = SecondaryLink(self._rules, self._accepts)
        self.place = Participant(
            server_id, server_id, self._rules, self.link, self._chance, self.faults.fixed_address
        )
        self._tls: TlsConnection | None = None
        self._packer = RecordPacker(1, packed=False)
        self._sml = SmlReceiver()
        self._out: list[tuple[WorldTime, bytes]] = []
        self._later: list[tuple[WorldTime, bytes]] = []
        self._noise_at = WorldTime(0)
        self.tls_sessions = 0

    def _accepts(self, sap: int) -> bool:
        rules = self._rules
        return sap == rules.sap_sym or (sap == rules.sap_tls and self.memory.paired)

    # -- power -----------------------------------------------------------------------------

    def power_off(self) -> None:
        """Lose everything volatile."""
        self.powered = False
        self.place.power_off()
        self._tls = None
        self._out.clear()
        self._later.clear()
        self._receiver = HdlcReceiver(self._rules)

    def power_on(self) -> None:
        """Start again, without address."""
        self.powered = True

    # -- the node --------------------------------------------------------------------------

    def receive(self, data: bytes, now: WorldTime) -> None:
        """Hear octets."""
        if not self.powered or self.faults.silent:
            return
        for item in self._receiver.receive(data, now):
            if isinstance(item, Received):
                self._frame(item.frame, item.at, now)

    def next_deadline(self) -> WorldTime | None:
        """Return when a late answer is ready, or noise is due."""
        times = [at for at, _ in self._later]
        if self.faults.flood and self.powered:
            times.append(self._noise_at)
        return min(times, default=None)

    def on_deadline(self, now: WorldTime) -> None:
        """Hand answers that are ready to the link."""
        if self.faults.flood and now >= self._noise_at:
            self._noise_at = now + self._chance.randrange(*_NOISE_PAUSE) * MILLISECOND
            noise = bytes(self._chance.randrange(256) for _ in range(self.faults.flood))
            self._out.append((now, noise))
        ready = [data for at, data in self._later if at <= now]
        self._later = [(at, data) for at, data in self._later if at > now]
        for data in ready:
            self.link.send(data)

    def output(self) -> list[tuple[WorldTime, bytes]]:
        """Return and forget what is to be sent."""
        out, self._out = self._out, []
        return out

    def _frame(self, frame: Frame, at: WorldTime, now: WorldTime) -> None:
        if self.faults.ignores_list and frame.destination == self._rules.broadcast_address:
            frame = frame._replace(information=b"")
        for event in self.place.receive(frame, at, now):
            match event:
                case Opened(sap):
                    self._opened(sap, now)
                case Arrived(data):
                    self._arrived(data, now)
                case Closed():
                    self._tls = None
                    self._later.clear()
        self._reply(self.place.reply(frame, now), now)

    def _reply(self, reply: Reply | None, now: WorldTime) -> None:
        if reply is None:
            return
        faults, frame = self.faults, reply.frame
        if faults.foreign_source:
            frame = frame._replace(source=faults.foreign_source)
        data = encode_frame(frame, sap_first=self._rules.sap_first)
        if faults.bad_fcs:
            data = data[:-2] + bytes((data[-2] ^ 0xFF,)) + data[-1:]
        delay = faults.late_slots * self._rules.slot_ms * MILLISECOND if reply.at > now else 0
        self._out.append((reply.at + (faults.turnaround_us * 1000 + delay), data))

    # -- protocols -------------------------------------------------------------------------

    def _opened(self, sap: int, now: WorldTime) -> None:
        self._tls = None
        self._later.clear()
        if sap != self._rules.sap_tls:
            return
        try:
            self._tls = self._connection(now)
        except SmgwError:
            self.link.reset()  # unusable credentials: as if not paired
            return
        self._packer = RecordPacker(self._rules.send_information, packed=self._rules.records_packed)
        self._sml = SmlReceiver()
        if self._role == "client":
            self._take(self._tls.start(now), now)

    def _connection(self, now: WorldTime) -> TlsConnection:
        key = serialization.load_der_private_key(self.memory.key, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)

        def sign(digest: bytes) -> bytes:
            return key.sign(digest, ec.ECDSA(Prehashed(_HASHES[len(digest)])))

        def pem() -> bytes:
            return key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )

        identity = TlsIdentity(self.memory.certificate, sign, pem)
        limits = self._profile.lmn_tls
        peers = list(self.memory.gateway_certificates)
        server = self._role == "server"
        made = (
            server_context(limits.preset, identity, peers=peers)
            if server
            else client_context(limits.preset, identity, peers, fragment_code=3)
        )
        return TlsConnection(made.context, limits, now, server_side=server)

    def _arrived(self, data: bytes, now: WorldTime) -> None:
        if self.link.sap == self._rules.sap_sym:
            answer = self._sym.receive(data)
            if answer is not None:
                self._queue(answer, now)
        elif self._tls is not None:
            self._take(self._tls.receive(data, now), now)

    def _take(self, events: list[TlsEvent], now: WorldTime) -> None:
        self._flush(now)
        for event in events:
            match event:
                case Established():
                    self.tls_sessions += 1
                case Data(data):
                    for item in self._sml.receive(data):
                        if isinstance(item, SmlFile):
                            self._answer(self.server.answer(item.payload, now), now)
                case Ended():
                    self._flush(now)
                    self._tls = None

    def _answer(self, data: bytes, now: WorldTime) -> None:
        tls, size = self._tls, self._profile.lmn_wired.plaintext
        if tls is None:
            return
        for start in range(0, len(data), size):
            if tls.send(data[start : start + size], now):
                break
        self._flush(now)

    def _flush(self, now: WorldTime) -> None:
        if self._tls is not None:
            for piece in self._packer.pack(self._tls.output()):
                self._queue(piece, now)

    def _queue(self, data: bytes, now: WorldTime) -> None:
        """Say something, now or after the meter's latency."""
        if self.faults.latency_ms:
            self._later.append((now + self.faults.latency_ms * MILLISECOND, data))
        else:
            self.link.send(data)
