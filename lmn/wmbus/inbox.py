"""What the gateway accepts from the air (REQ.WMBUS.Unidirektional.30 to .72, TR-03116-3 chapter 7).

Theory of operation. A bare frame passes these gates in this order; the first that holds it back
gives the verdict, and nothing behind it is looked at:

1. it is a frame of a function that is listened to (SND-NR, SND-IR; what two-way meters say is named
   and refused: their answers are not public);
2. its layers can be taken apart; fragments wait for the rest, of configured meters and of a few
   radio converters only;
3. its meter is configured (a long transport header names the meter, not the link header), and its
   master key is there;
4. its security mode authenticates the sender: 7, 10. Mode 13 (TLS) is named and refused. Modes 0
   and 5 and encryption in the extended link layer do not; the lab switch lets their values
   through, marked;
5. MAC or tag are right;
6. the message counter is above the last one. The same telegram once more within a short time is
   a repeater or a second receiver and no replay;
7. padding and records are sound.

The counter moves after authentication only, else a stranger could use it up; whoever calls stores
it in the transaction of the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from lmn.mbus.records import Application, decode_records
from lmn.wmbus.afl import Afl, Assembly
from lmn.wmbus.link import Address, LinkFrame, control_name, parse_link
from lmn.wmbus.security import AuthenticationError
from lmn.wmbus.telegram import Telegram, open_message, parse_layers, whole
from lmn.wmbus.tpl import CI_ONLY_LONG, CI_ONLY_SHORT, MODE_CBC_IV, MODE_D, MODE_NONE, MODE_TLS
from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.profiles import LmnWireless

NEVER = -1  # no counter yet: 0 is a counter
_CONVERTERS = frozenset({0x36, 0x37, 0x38})  # radio converters and adapters send for a meter
_MAX_CONVERTERS = 16  # own choice: whose fragments are kept at the same time


class Verdict(StrEnum):
    """What became of a telegram."""

    ACCEPTED = "accepted"
    LAB = "accepted without authentication"
    WAITING = "waits for fragments"
    EMPTY = "no application layer"
    BROKEN = "no frame"
    FUNCTION = "two-way communication"
    UNREADABLE = "not readable"
    UNKNOWN = "unknown meter"
    NO_KEY = "no key"
    UNAUTHENTICATED = "no authentication"
    TLS = "security mode 13"
    SECURITY = "security mode not accepted"
    MAC = "wrong MAC"
    REPLAY = "counter not rising"
    DUPLICATE = "heard twice"
    DAMAGED = "damaged content"


@dataclass(slots=True)
class Meter:
    """A configured meter.

    Attributes:
        name: its id.
        key: master key, None while there is none.
        counter: of the last accepted telegram, :data:`NEVER` without.
    """

    name: str
    key: bytes | None = None
    counter: int = NEVER
    last_message: bytes = b""
    last_at: WorldTime | None = None

    def __repr__(self) -> str:
        return f"Meter({self.name})"


class Result(msgspec.Struct, frozen=True):
    """A verdict with what is known of the telegram.

    Attributes:
        verdict: what became of it.
        reason: in words.
        address: of the meter, None if it could not be read.
        control: C field.
        meter: id of the configured meter, "" without.
        security: security mode, None if it could not be read.
        counter: to be stored; :data:`NEVER`: it has not moved.
        telegram, application: of an accepted one.
    """

    verdict: Verdict
    reason: str
    address: Address | None = None
    control: int = 0
    meter: str = ""
    security: int | None = None
    counter: int = NEVER
    telegram: Telegram | None = None
    application: Application | None = None


class _Refused(Exception):  # noqa: N818  # a verdict, not an error
    def __init__(self, verdict: Verdict, reason: str = "") -> None:
        super().__init__(reason or verdict.value)
        self.verdict = verdict


class Inbox:
    """Judges telegrams.

    Args:
        rules: of the profile.
        meters: configured meters by address octets.
    """

    def __init__(self, rules: LmnWireless, meters: Mapping[bytes, Meter] | None = None) -> None:
        self._rules = rules
        self.meters: dict[bytes, Meter] = dict(meters or {})
        self.verdicts: dict[Verdict, int] = {}
        self._begun: dict[bytes, tuple[Assembly, WorldTime]] = {}

    def take(self, bare: bytes, at: WorldTime) -> Result:
        """Judge a bare frame that arrived at ``at``; never raises for what it holds."""
        result = self._judge(bare, at)
        self.verdicts[result.verdict] = self.verdicts.get(result.verdict, 0) + 1
        return result

    def _judge(self, bare: bytes, at: WorldTime) -> Result:
        try:
            link = parse_link(bare)
        except RemoteProtocolError as error:
            return Result(Verdict.BROKEN, str(error))
        address, meter = link.address, self.meters.get(link.address.octets)
        telegram: Telegram | None = None
        try:
            if link.control not in self._rules.controls:
                raise _Refused(Verdict.FUNCTION, f"{control_name(link.control)} is not listened to")
            telegram = self._parse(link, meter, at)
            address = telegram.address
            meter = self.meters.get(address.octets)
            return self._open(telegram, meter, at)
        except _Refused as refused:
            verdict, reason = refused.verdict, str(refused)
        except AuthenticationError as error:
            verdict, reason = Verdict.MAC, str(error)
        except RemoteProtocolError as error:
            verdict = Verdict.UNREADABLE if telegram is None else Verdict.DAMAGED
            reason = str(error)
        name = "" if meter is None else meter.name
        mode = telegram.mode if telegram is not None and telegram.tpl is not None else None
        return Result(verdict, reason, address, link.control, name, mode)

    def _parse(self, link: LinkFrame, sender: Meter | None, at: WorldTime) -> Telegram:
        """Take the layers apart; put fragments together."""
        lab_key = sender.key if sender is not None and self._rules.unauthenticated else None
        telegram = parse_layers(link, lab_key)
        if telegram.tpl is not None:
            return telegram
        assert telegram.afl is not None
        if sender is None and link.address.device_type not in _CONVERTERS:
            raise _Refused(Verdict.UNKNOWN, "a fragment of an unknown meter")
        found = self._assembly(link.address, telegram.afl, at).add(telegram.afl, telegram.message)
        if found is None:
            raise _Refused(Verdict.WAITING)
        self._begun.pop(link.address.octets, None)
        return whole(telegram.link, telegram.ell, *found)

    def _assembly(self, sender: Address, afl: Afl, at: WorldTime) -> Assembly:
        """Return what a sender has begun, if it is not too old."""
        known = self._begun.get(sender.octets)
        if known is not None:
            assembly, begun = known
            if not 0 <= at - begun <= self._rules.fragment_s * SECOND:
                assembly.drop()
            if afl.fragment == 1:
                self._begun[sender.octets] = assembly, at
            return assembly
        if sender.octets not in self.meters:
            strangers = [octets for octets in self._begun if octets not in self.meters]
            if len(strangers) >= _MAX_CONVERTERS:
                del self._begun[strangers[0]]
        assembly = Assembly()
        self._begun[sender.octets] = assembly, at
        return assembly

    def _open(self, telegram: Telegram, meter: Meter | None, at: WorldTime) -> Result:
        tpl, control = telegram.tpl, telegram.link.control
        assert tpl is not None
        if meter is None:
            raise _Refused(Verdict.UNKNOWN)
        if tpl.ci in {CI_ONLY_SHORT, CI_ONLY_LONG}:
            raise _Refused(Verdict.EMPTY)
        self._check_security(telegram)
        if meter.key is None and telegram.mode != MODE_NONE:
            raise _Refused(Verdict.NO_KEY)
        plain = open_message(telegram, meter.key)
        # from here on the sender is known, whatever the content is worth
        counter = self._count(meter, telegram, at) if telegram.authenticated else NEVER
        verdict = Verdict.ACCEPTED if telegram.authenticated else Verdict.LAB
        reason, application = verdict.value, None
        try:
            application = decode_records(plain)
        except RemoteProtocolError as error:
            verdict, reason = Verdict.DAMAGED, str(error)
        return Result(
            verdict,
            reason,
            telegram.address,
            control,
            meter.name,
            telegram.mode,
            counter,
            telegram,
            application,
        )

    def _check_security(self, telegram: Telegram) -> None:
        mode, rules = telegram.mode, self._rules
        if mode == MODE_TLS:
            raise _Refused(Verdict.TLS, "security mode 13 (TLS) needs two-way radio")
        if mode in {MODE_NONE, MODE_CBC_IV}:
            if not rules.unauthenticated:
                raise _Refused(Verdict.UNAUTHENTICATED, f"security mode {mode} has no MAC")
            return
        if mode not in rules.security:
            raise _Refused(Verdict.SECURITY, f"security mode {mode} is not accepted")
        assert telegram.tpl is not None
        tpl = telegram.tpl
        if mode == MODE_D and tpl.tag_length not in rules.tags:
            raise _Refused(Verdict.SECURITY, f"a tag of {tpl.tag_length} octets")
        if not (tpl.encrypted if mode == MODE_D else tpl.blocks):  # TR-03116-3 7.3: always both
            raise _Refused(Verdict.SECURITY, "authenticated, but not encrypted")

    def _count(self, meter: Meter, telegram: Telegram, at: WorldTime) -> int:
        """Check the counter of an authenticated telegram and move it."""
        counter = telegram.counter
        if counter <= meter.counter:
            pause = self._rules.duplicate_s * SECOND
            again = meter.last_at is not None and 0 <= at - meter.last_at <= pause
            if again and telegram.message == meter.last_message:
                raise _Refused(Verdict.DUPLICATE)
            raise _Refused(
                Verdict.REPLAY, f"counter {counter} is not above the last one, {meter.counter}"
            )
        meter.counter, meter.last_message, meter.last_at = counter, telegram.message, at
        return counter
