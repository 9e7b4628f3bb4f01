"""The card's side of PACE: four GENERAL AUTHENTICATE commands, and the PIN's retry counter.

A wrong PIN shows at the last step only. The try is counted *before* the token is compared and given
back after, so cutting power gains nothing.
"""

from __future__ import annotations

from hsm_sim import pace
from hsm_sim.apdu import Command, Refused, Status
from hsm_sim.memory import Memory
from hsm_sim.randomness import Randomness
from hsm_sim.secure_messaging import Channel
from hsm_sim.templates import template
from smgw_emu.core.der import tlv
from smgw_emu.core.errors import RemoteProtocolError

MAX_TRIES = 3  # [I]: the usual number; TR-03109-2 is not public to us
_CHAINING = 0x10
_LAST_STEP = 3


class PaceResponder:
    """Runs PACE, one command after another.

    Args:
        memory: holds K_pi and the tries left.
        randomness: source of nonce and keys.
    """

    def __init__(self, memory: Memory, randomness: Randomness) -> None:
        self._memory = memory
        self._random = randomness
        self._exchange: pace.Exchange | None = None
        self._step = 0
        self._pending: Channel | None = None

    def restart(self) -> None:
        """Forget a run."""
        self._exchange = self._pending = None
        self._step = 0

    def command(self, command: Command) -> tuple[bytes, Channel | None]:
        """Take the next command; returns the answer's data, and the channel after the last one.

        Raises:
            Refused: wrong order, wrong PIN, or no tries left.
            RemoteProtocolError: not the data object of this step.
        """
        try:
            fields = template(command.data, 0x7C)
            step, self._step = self._step, self._step + 1
            last = not command.cla & _CHAINING
            if step > _LAST_STEP or last != (step == _LAST_STEP):
                raise Refused(Status.CONDITIONS)
            work = (self._nonce, self._map, self._ephemeral, self._token)[step]
            answer = tlv(0x7C, work(fields))
        except (Refused, RemoteProtocolError):
            self.restart()
            raise
        channel = self._pending if last else None
        if last:
            self.restart()
        return answer, channel

    def _nonce(self, fields: dict[int, bytes]) -> bytes:
        if fields:
            raise Refused(Status.WRONG_DATA)
        nonce = self._random.octets(pace.NONCE_OCTETS)
        self._exchange = pace.Exchange(nonce, self._random)
        return tlv(0x80, pace.encrypt_nonce(bytes.fromhex(self._memory.state.pin_key), nonce))

    def _map(self, fields: dict[int, bytes]) -> bytes:
        assert self._exchange is not None
        self._exchange.map(fields.get(0x81, b""))
        return tlv(0x82, self._exchange.mapping_key())

    def _ephemeral(self, fields: dict[int, bytes]) -> bytes:
        assert self._exchange is not None
        own = self._exchange.ephemeral_key()
        self._pending = Channel(*self._exchange.agree(fields.get(0x83, b"")))
        return tlv(0x84, own)

    def _token(self, fields: dict[int, bytes]) -> bytes:
        exchange, memory = self._exchange, self._memory
        assert exchange is not None
        tries = memory.state.tries
        if tries < 1:
            raise Refused(Status.PIN_BLOCKED)
        memory.change_state(tries=tries - 1)
        if not exchange.check_token(fields.get(0x85, b"")):
            raise Refused(Status.WRONG_PIN | tries - 1 if tries > 1 else Status.PIN_BLOCKED)
        memory.change_state(tries=MAX_TRIES)
        return tlv(0x86, exchange.token())
