"""The way to the card: PACE, secure channel, one command after another.

A channel lives 48 h at most (TR-03116-3 chapter 10), then PACE runs again. What the gateway asks of
its module is :mod:`hsm_sim.module`'s business.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hsm_sim import pace
from hsm_sim.apdu import Command, Ins, Response, Status, decode_response
from hsm_sim.card import Card, LifeCycle
from hsm_sim.curves import SecurityModuleError
from hsm_sim.files import write_private
from hsm_sim.log import ApduLog
from hsm_sim.randomness import SystemRandom
from hsm_sim.secure_messaging import Channel
from smgw_emu.core.der import oid, parse, tlv
from smgw_emu.core.errors import RemoteProtocolError

MAX_SESSION_NS = 48 * 3600 * 1_000_000_000  # TR-03116-3 chapter 10

Clock = Callable[[], int]


class PinError(SecurityModuleError):
    """The module refused the PIN; ``tries`` are left, 0: it is blocked."""

    def __init__(self, tries: int) -> None:
        left = f"{tries} tries left" if tries else "it is blocked"
        super().__init__(f"the security module refused the PIN: {left}")
        self.tries = tries


class CardLink:
    """The gateway's end of the line to its card.

    Args:
        card: the other end.
        pin_file: where the PIN lies; two lines while a change is under way.
        clock: nanoseconds, for the 48 h of a channel.
    """

    def __init__(self, card: Card, pin_file: Path, clock: Clock) -> None:
        self._card = card
        self._pin_file = pin_file
        self._clock = clock
        self._channel: Channel | None = None
        self._channel_since = 0
        self._set: tuple[int, str] | None = None
        self.pin = ""
        self.log = ApduLog()

    # -- PIN ---------------------------------------------------------------------------------

    def read_pin(self) -> None:
        """Take the PIN from its file.

        Raises:
            SecurityModuleError: it cannot be read.
        """
        try:
            self.pin = self._pin_file.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SecurityModuleError("the PIN of the security module cannot be read") from error

    def set_pin(self, pin: str) -> None:
        """Give the card a PIN: noted first where it is read, so no power cut locks anyone out.

        Raises:
            SecurityModuleError: not at least ten decimal digits.
        """
        try:
            pace.pin_key(pin)
        except RemoteProtocolError as error:
            raise SecurityModuleError(str(error)) from error
        both = f"{self.pin}\n{pin}" if self.pin else pin
        write_private(self._pin_file, both.encode())
        self.ask(Command(0, Ins.CHANGE_REFERENCE_DATA, 1, 0, pin.encode()))
        write_private(self._pin_file, pin.encode())
        self.pin = pin

    def pin_tries(self) -> int:
        """Return how many wrong PINs are left."""
        command = Command(0, Ins.GET_DATA, 0, 1, expected=256)
        answer = self._answer(command, secured=self._channel is not None)
        return int(answer.data.decode().partition(",")[2] or 0)

    # -- commands ----------------------------------------------------------------------------

    def ask(self, command: Command, key: str = "") -> bytes:
        """Send a command; returns the data of its answer.

        Raises:
            SecurityModuleError: the card refused, with the reason.
        """
        answer = self.transmit(command, key)
        if answer.status != Status.OK:
            raise self.refusal(command, key, answer.status)
        return answer.data

    def environment(self, parameters: int, tag: int, name: str) -> None:
        """Set the key of the next operation, unless it is set already."""
        if self._set == (parameters, name) and not self._stale():
            return
        p1, p2 = parameters >> 8, parameters & 0xFF
        command = Command(0, Ins.MANAGE_SECURITY_ENVIRONMENT, p1, p2, tlv(tag, name.encode()))
        self.ask(command, name)
        self._set = (parameters, name)

    def forget_environment(self) -> None:
        """Set the key anew before the next operation: it may have changed."""
        self._set = None

    def refusal(self, command: Command, key: str, status: int) -> SecurityModuleError:
        """Return the error a status word stands for."""
        reasons = {
            Status.REFERENCE_NOT_FOUND: f"key slot {key} is empty",
            Status.FILE_NOT_FOUND: f"file {key} is not in the module",
            Status.EXISTS: f"key slot {key} is in use",
            Status.MEMORY: f"key slot {key} is damaged" if key else "its memory is damaged",
            Status.CONDITIONS: "not allowed in life cycle state "
            f"{self._card.life_cycle}, or for {key}",
        }
        reason = reasons.get(Status(status) if status in set(Status) else Status.FAILED)
        name = Ins(command.ins).name.replace("_", " ")
        return SecurityModuleError(reason or f"{name} was refused with {status:04X}")

    def transmit(self, command: Command, key: str) -> Response:
        """Send a command through the channel; opens one first if none stands."""
        if self._card.life_cycle is LifeCycle.MANUFACTURING:
            return self._answer(command, secured=False)
        if self._stale():
            self._open_channel()
        answer = self._answer(command, secured=True)
        self.log.add(command, answer, key)
        return answer

    # -- the channel -------------------------------------------------------------------------

    def power_off(self) -> None:
        """The card loses its power: channel, environment and what else was in its RAM are gone."""
        self._card.reset()
        self._channel, self._set = None, None

    def _stale(self) -> bool:
        if self._channel is None:
            return True
        return self._clock() - self._channel_since >= MAX_SESSION_NS

    def _answer(self, command: Command, *, secured: bool) -> Response:
        channel = self._channel if secured else None
        if channel is None:
            if self._channel is not None:
                raise SecurityModuleError("a channel stands; plain commands would end it")
            return decode_response(self._card.process(command.encode()))
        octets = self._card.process(channel.wrap(command).encode())
        return channel.unwrap_response(decode_response(octets))

    def _open_channel(self) -> None:
        """Run PACE; a PIN change cut short may have left two PINs to try."""
        pins = self.pin.split("\n")
        for number, pin in enumerate(pins):
            self._card.reset()
            self._channel, self._set = None, None
            try:
                self._channel = self._pace(pin)
            except PinError as error:
                if number + 1 == len(pins) or not error.tries:
                    raise
                continue
            self._channel_since = self._clock()
            if len(pins) > 1:
                self.pin = pin
                write_private(self._pin_file, pin.encode())
            return

    def _pace(self, pin: str) -> Channel:
        try:
            key = pace.pin_key(pin)
        except RemoteProtocolError as error:
            raise SecurityModuleError(str(error)) from error
        template = tlv(0x80, oid(pace.OID)[2:]) + tlv(0x83, b"\x03")
        self._pace_command(Command(0, Ins.MANAGE_SECURITY_ENVIRONMENT, 0xC1, 0xA4, template))
        encrypted = self._pace_step(0x10, b"")[0x80]
        exchange = pace.Exchange(pace.decrypt_nonce(key, encrypted), SystemRandom())
        exchange.map(self._pace_step(0x10, tlv(0x81, exchange.mapping_key()))[0x82])
        peer = self._pace_step(0x10, tlv(0x83, exchange.ephemeral_key()))[0x84]
        channel = Channel(*exchange.agree(peer))
        token = self._pace_step(0x00, tlv(0x85, exchange.token()))[0x86]
        if not exchange.check_token(token):
            raise SecurityModuleError("the security module does not know the PIN")
        return channel

    def _pace_step(self, cla: int, content: bytes) -> dict[int, bytes]:
        command = Command(cla, Ins.GENERAL_AUTHENTICATE, 0, 0, tlv(0x7C, content), 256)
        return _template(self._pace_command(command))

    def _pace_command(self, command: Command) -> bytes:
        answer = self._answer(command, secured=False)
        self.log.add(command, answer, "PIN")
        if answer.status == Status.PIN_BLOCKED:
            raise PinError(0)
        if answer.status & 0xFFF0 == Status.WRONG_PIN:
            raise PinError(answer.status & 0x0F)
        if answer.status != Status.OK:
            raise self.refusal(command, "", answer.status)
        return answer.data


def _template(data: bytes) -> dict[int, bytes]:
    return {child.tag: child.content for child in parse(data).children}
