"""The security module as a card: APDUs in, APDUs out.

Theory of operation. TR-03109-2, which defines the real command set, is not public to us; the subset
and the object references here follow ``crypto.md`` 4.2 and are our own where it says so [I].

* **Life cycle**: manufacturing -> integration (the PIN is set) -> pre-personalised (delivered, seal
  keys inside) -> operational -> end of life, one step per ACTIVATE; TERMINATE wipes all keys from
  any state. :data:`ALLOWED` says which instruction each state knows.
* **Access**: before a PACE channel stands only PACE itself, GET CHALLENGE and, in manufacturing,
  the first PIN and ACTIVATE are answered; everything else is 6982. Inside the channel a command
  without secure messaging is 6987 and ends the channel, as a wrong MAC (6988) does.
* **PIN**: a wrong PIN shows at the token step; the try is counted *before* the token is compared
  and given back after, so cutting power gains nothing. No tries left: 6983 for ever.
* **References** are slot names in data objects: 84 private key, 83 public key. The name "EPHEMERAL"
  in Set KAT makes GENERAL AUTHENTICATE draw an ephemeral pair inside the module (figures F28, F30).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from hsm_sim import pace
from hsm_sim.apdu import Command, Ins, Refused, Response, Status, decode_command
from hsm_sim.card_pace import MAX_TRIES, PaceResponder
from hsm_sim.curves import (
    CURVE_BY_OID,
    CURVE_OIDS,
    DIGESTS,
    Curve,
    SecurityModuleError,
    curve_of,
    point_octets,
    public_key,
)
from hsm_sim.memory import MAX_FILE, Memory
from hsm_sim.randomness import Randomness, new_key
from hsm_sim.secure_messaging import Channel, SecureMessagingError
from hsm_sim.templates import data_objects, template
from smgw_emu.core.der import oid, tlv
from smgw_emu.core.errors import RemoteProtocolError

EPHEMERAL = "EPHEMERAL"
MAX_RANDOM = 1024
_CHAINING = 0x10


class LifeCycle(StrEnum):
    """States of the module (crypto.md 4.2) [I]."""

    MANUFACTURING = "manufacturing"
    INTEGRATION = "integration"
    PRE_PERSONALISED = "pre-personalised"
    OPERATIONAL = "operational"
    END_OF_LIFE = "end-of-life"


_ORDER = tuple(LifeCycle)
_USE = frozenset(
    {
        Ins.GET_CHALLENGE,
        Ins.MANAGE_SECURITY_ENVIRONMENT,
        Ins.GENERAL_AUTHENTICATE,
        Ins.PERFORM_SECURITY_OPERATION,
        Ins.GENERATE_KEY_PAIR,
        Ins.CHANGE_REFERENCE_DATA,
        Ins.SELECT,
        Ins.READ_BINARY,
        Ins.UPDATE_BINARY,
        Ins.GET_DATA,
        Ins.ACTIVATE,
        Ins.TERMINATE,
    }
)
ALLOWED: dict[LifeCycle, frozenset[Ins]] = {
    LifeCycle.MANUFACTURING: frozenset(
        {Ins.GET_CHALLENGE, Ins.CHANGE_REFERENCE_DATA, Ins.ACTIVATE, Ins.GET_DATA}
    ),
    LifeCycle.INTEGRATION: _USE,
    LifeCycle.PRE_PERSONALISED: _USE,
    # keys are replaced, so deleted, only in operation
    LifeCycle.OPERATIONAL: (_USE - {Ins.ACTIVATE}) | {Ins.DELETE},
    LifeCycle.END_OF_LIFE: frozenset({Ins.GET_DATA}),
}
# Without a channel: the way to get one, and what tells nobody anything.
_OPEN = frozenset({Ins.GET_CHALLENGE, Ins.GET_DATA})


class Card:
    """The module behind its APDU interface.

    Args:
        memory: what survives power loss.
        randomness: generator of random numbers and keys.
    """

    def __init__(self, memory: Memory, randomness: Randomness) -> None:
        self._memory = memory
        self._random = randomness
        self._channel: Channel | None = None
        self._pace = PaceResponder(memory, randomness)
        self._references: dict[str, str] = {}
        self._selected = ""
        self._public_keys: dict[str, ec.EllipticCurvePublicKey] = {}
        self._handlers: dict[int, Callable[[Command], bytes]] = {
            Ins.GET_CHALLENGE: self._get_challenge,
            Ins.GET_DATA: self._get_data,
            Ins.MANAGE_SECURITY_ENVIRONMENT: self._mse,
            Ins.GENERAL_AUTHENTICATE: self._general_authenticate,
            Ins.PERFORM_SECURITY_OPERATION: self._pso,
            Ins.GENERATE_KEY_PAIR: self._generate,
            Ins.CHANGE_REFERENCE_DATA: self._change_pin,
            Ins.SELECT: self._select,
            Ins.READ_BINARY: self._read,
            Ins.UPDATE_BINARY: self._update,
            Ins.DELETE: self._delete,
            Ins.ACTIVATE: self._activate,
            Ins.TERMINATE: self._terminate,
        }

    @property
    def life_cycle(self) -> LifeCycle:
        """The present state."""
        return LifeCycle(self._memory.state.life_cycle)

    def reset(self) -> None:
        """Power the card down and up: channel and security environment are gone."""
        self._channel = None
        self._pace.restart()
        self._references.clear()
        self._selected = ""

    def process(self, octets: bytes) -> bytes:
        """Answer a command APDU; any octets give a defined answer."""
        try:
            command = decode_command(octets)
        except RemoteProtocolError:
            return Response(Status.WRONG_LENGTH).encode()
        if self._channel is None:
            return self._run(command, secured=False).encode()
        if command.cla & 0x0C != 0x0C:
            self.reset()
            return Response(Status.SM_MISSING).encode()
        try:
            plain = self._channel.unwrap(command)
        except SecureMessagingError:
            self.reset()
            return Response(Status.SM_WRONG).encode()
        channel = self._channel
        return channel.wrap_response(self._run(plain, secured=True)).encode()

    def _run(self, command: Command, *, secured: bool) -> Response:
        try:
            if command.cla & ~_CHAINING:
                raise Refused(Status.UNKNOWN_CLASS)
            handler = self._handlers.get(command.ins)
            if handler is None:
                raise Refused(Status.UNKNOWN_INSTRUCTION)
            if command.ins not in ALLOWED[self.life_cycle]:
                raise Refused(Status.CONDITIONS)
            if not secured and not self._open_to_all(command):
                raise Refused(Status.SECURITY_STATUS)
            return Response(Status.OK, handler(command))
        except Refused as refused:
            return Response(refused.status)
        except SecurityModuleError:
            return Response(Status.MEMORY)
        except RemoteProtocolError:
            return Response(Status.WRONG_DATA)
        except OSError:
            return Response(Status.MEMORY)

    def _open_to_all(self, command: Command) -> bool:
        if command.ins in _OPEN or self.life_cycle is LifeCycle.MANUFACTURING:
            return True
        if command.ins == Ins.MANAGE_SECURITY_ENVIRONMENT:
            return (command.p1, command.p2) == (0xC1, 0xA4)
        return command.ins == Ins.GENERAL_AUTHENTICATE and self._references.keys() == {"AT"}

    # -- random numbers, information ---------------------------------------------------------

    def _get_challenge(self, command: Command) -> bytes:
        count = command.expected or 0
        if not 1 <= count <= MAX_RANDOM:
            raise Refused(Status.WRONG_LENGTH)
        return self._random.octets(count)

    def _get_data(self, command: Command) -> bytes:
        """00 01: life cycle and PIN tries; 00 02: key slots; 00 03: files."""
        which = (command.p1, command.p2)
        if which == (0, 1):
            state = self._memory.state
            return f"{state.life_cycle},{state.tries}".encode()
        if self._channel is None:
            raise Refused(Status.SECURITY_STATUS)
        if which == (0, 2):
            return ",".join(self._memory.key_names()).encode()
        if which == (0, 3):
            return ",".join(self._memory.file_names()).encode()
        raise Refused(Status.REFERENCE_NOT_FOUND)

    # -- security environment ----------------------------------------------------------------

    def _mse(self, command: Command) -> bytes:
        templates = {
            (0xC1, 0xA4): ("AT", 0x83),
            (0x41, 0xB6): ("SIGN", 0x84),
            (0x81, 0xB6): ("VERIFY", 0x83),
            (0x41, 0xA6): ("KAT", 0x84),
        }
        try:
            kind, tag = templates[command.p1, command.p2]
        except KeyError:
            raise Refused(Status.WRONG_PARAMETERS) from None
        objects = data_objects(command.data)
        if kind == "AT":
            if objects.get(0x80, b"") != oid(pace.OID)[2:] or objects.get(0x83) != b"\x03":
                raise Refused(Status.WRONG_DATA)
            if self._memory.state.tries < 1:
                raise Refused(Status.PIN_BLOCKED)
            self._references = {"AT": "PIN"}
            self._pace.restart()
            return b""
        name = objects.get(tag, b"").decode("ascii", "replace")
        private = kind in {"SIGN", "KAT"} and name != EPHEMERAL
        if private and not self._memory.has_key(name):
            raise Refused(Status.REFERENCE_NOT_FOUND)
        if kind == "VERIFY" and self._memory.read_file(name) is None:
            raise Refused(Status.REFERENCE_NOT_FOUND)
        self._references.pop("AT", None)
        self._references[kind] = name
        return b""

    def _reference(self, kind: str) -> str:
        try:
            return self._references[kind]
        except KeyError:
            raise Refused(Status.CONDITIONS) from None

    # -- PACE and key agreement --------------------------------------------------------------

    def _general_authenticate(self, command: Command) -> bytes:
        if "AT" not in self._references:
            return self._agree(command)
        try:
            answer, channel = self._pace.command(command)
        except (Refused, RemoteProtocolError):
            self._references.clear()
            raise
        if channel is not None:
            self._channel = channel
            self._references.clear()
        return answer

    def _agree(self, command: Command) -> bytes:
        """ECKA: 7C {85 peer's point [, 06 curve]} -> 7C {86 x-coordinate [, 85 own point]}."""
        name = self._reference("KAT")
        fields = template(command.data, 0x7C)
        if name != EPHEMERAL:
            if "_ENC_" not in name:
                raise Refused(Status.CONDITIONS)
            key = self._memory.key(name)
            peer = public_key(curve_of(key), fields.get(0x85, b""))
            return tlv(0x7C, tlv(0x86, key.exchange(ec.ECDH(), peer)))
        curve = _curve(fields.get(0x06, b""))
        peer = public_key(curve, fields.get(0x85, b""))
        key = new_key(self._random, curve)
        own = point_octets(key.public_key())
        return tlv(0x7C, tlv(0x85, own), tlv(0x86, key.exchange(ec.ECDH(), peer)))

    # -- keys --------------------------------------------------------------------------------

    def _generate(self, command: Command) -> bytes:
        """P1 80: make a pair; P1 81: read the public key. Data: 84 name [, 06 curve]."""
        objects = data_objects(command.data)
        name = objects.get(0x84, b"").decode("ascii", "replace")
        if command.p1 == 0x81:
            if not self._memory.has_key(name):
                raise Refused(Status.REFERENCE_NOT_FOUND)
            return _public_template(self._memory.key(name).public_key())
        if command.p1 != 0x80:
            raise Refused(Status.WRONG_PARAMETERS)
        if name == EPHEMERAL or self._memory.has_key(name):
            raise Refused(Status.EXISTS)
        key = new_key(self._random, _curve(objects.get(0x06, b"")))
        self._memory.store_key(name, key)
        return _public_template(key.public_key())

    def _pso(self, command: Command) -> bytes:
        operation = (command.p1, command.p2)
        if operation == (0x9E, 0x9A):
            return self._sign(command.data)
        if operation == (0x00, 0xA8):
            return self._verify(command.data)
        if operation == (0x00, 0xAE):
            return self._import(command.data)
        raise Refused(Status.WRONG_PARAMETERS)

    def _sign(self, digest: bytes) -> bytes:
        algorithm = DIGESTS.get(len(digest))
        if algorithm is None:
            raise Refused(Status.WRONG_LENGTH)
        key = self._memory.key(self._reference("SIGN"))
        if self._random.deterministic:
            return key.sign(digest, ec.ECDSA(Prehashed(algorithm), deterministic_signing=True))
        return key.sign(digest, ec.ECDSA(Prehashed(algorithm)))

    def _verify(self, data: bytes) -> bytes:
        """Data: 9A digest, 9E DER signature; the key was set by Set DST."""
        name = self._reference("VERIFY")
        objects = data_objects(data)
        digest = objects.get(0x9A, b"")
        algorithm = DIGESTS.get(len(digest))
        if algorithm is None:
            raise Refused(Status.WRONG_LENGTH)
        key = self._public(name)
        try:
            key.verify(objects.get(0x9E, b""), digest, ec.ECDSA(Prehashed(algorithm)))
        except InvalidSignature:
            raise Refused(Status.FAILED) from None
        return b""

    def _import(self, data: bytes) -> bytes:
        """Data: 83 name, 06 curve, 86 point: a public key for Set DST."""
        objects = data_objects(data)
        name = objects.get(0x83, b"").decode("ascii", "replace")
        key = public_key(_curve(objects.get(0x06, b"")), objects.get(0x86, b""))
        self._memory.write_file(name, _public_template(key))
        self._public_keys.pop(name, None)
        return b""

    def _public(self, name: str) -> ec.EllipticCurvePublicKey:
        key = self._public_keys.get(name)
        if key is None:
            objects = template(self._memory.read_file(name) or b"", 0x7F49)
            key = public_key(_curve(objects.get(0x06, b"")), objects.get(0x86, b""))
            self._public_keys[name] = key
        return key

    # -- files -------------------------------------------------------------------------------

    def _select(self, command: Command) -> bytes:
        self._selected = command.data.decode("ascii", "replace")
        return b""

    def _read(self, command: Command) -> bytes:  # noqa: ARG002  # whole files only
        data = self._memory.read_file(self._selected)
        if data is None:
            raise Refused(Status.FILE_NOT_FOUND)
        return data

    def _update(self, command: Command) -> bytes:
        if not self._selected:
            raise Refused(Status.CONDITIONS)
        if len(command.data) > MAX_FILE:
            raise Refused(Status.WRONG_LENGTH)
        self._memory.write_file(self._selected, command.data)
        self._public_keys.pop(self._selected, None)
        return b""

    def _delete(self, command: Command) -> bytes:
        name = command.data.decode("ascii", "replace")
        self._public_keys.pop(name, None)
        if not self._memory.delete(name):
            raise Refused(Status.REFERENCE_NOT_FOUND)
        return b""

    # -- PIN and life cycle ------------------------------------------------------------------

    def _change_pin(self, command: Command) -> bytes:
        pin = command.data.decode("ascii", "replace")
        self._memory.change_state(pin_key=pace.pin_key(pin).hex(), tries=MAX_TRIES)
        return b""

    def _activate(self, command: Command) -> bytes:  # noqa: ARG002
        state = self.life_cycle
        if state is LifeCycle.MANUFACTURING and not self._memory.state.pin_key:
            raise Refused(Status.CONDITIONS)
        self._memory.change_state(life_cycle=_ORDER[_ORDER.index(state) + 1].value)
        return b""

    def _terminate(self, command: Command) -> bytes:  # noqa: ARG002
        # first the state: a power cut in between leaves a module that does nothing any more
        self._memory.change_state(life_cycle=LifeCycle.END_OF_LIFE.value, pin_key="", tries=0)
        self._memory.wipe()
        self._public_keys.clear()
        return b""


def _curve(content: bytes) -> Curve:
    for text, curve in CURVE_BY_OID.items():
        if oid(text)[2:] == content:
            return curve
    raise Refused(Status.WRONG_DATA)


def _public_template(key: ec.EllipticCurvePublicKey) -> bytes:
    """7F49 {06 curve, 86 point} (TR-03110-3 D.3.4 in short form)."""
    content = oid(CURVE_OIDS[curve_of(key)]) + tlv(0x86, point_octets(key))
    return b"\x7f" + tlv(0x49, content)
