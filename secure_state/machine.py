"""The secure states of the device (consumer manual, chapter D; SEC-01 to SEC-51).

Theory of operation. What goes wrong is a *cause*; each cause belongs to one state of the manual,
has one way out and forbids *functions*. Causes are independent of each other: a device without
valid time can at the same time have its WAN and HAN bridged. The state that is shown is the
gravest one, and forbidden is what any cause forbids. So the manual's states stay exactly what they
are when one cause holds, and nothing a state forbids is served when several do.

Ways out:

* *terminal*: none is documented (SEC-08); the manufacturer's workbench writes the device anew;
* *restart*: the next start looks again (cyclic restart, SEC-40);
* *self-test*: the next self-test that finds the fault gone (SEC-33);
* *administrator*: his action, not the end of the fault (SEC-14, A6; a profile may say
  ``automatic``);
* *automatic*: as soon as the fault is gone (SEC-23).

The table is data; a firmware line changes single rules (:func:`rules_of`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from smgw_emu.core.instants import WorldTime
from smgw_emu.core.leds import SecureState
from smgw_emu.profiles import SecureStates as Settings

HISTORY = 1000  # transitions kept for the lab (own choice)


class Cause(StrEnum):
    """What the device has found."""

    IMAGE = "image"
    LOG_STORAGE = "log-storage"
    STALE_PARTITION = "stale-partition"
    VERSION = "version"
    BOOT_CHECK = "boot-check"
    VALUE_STORAGE = "value-storage"
    TIME_DEVIATION = "time-deviation"
    TIME_SILENCE = "time-silence"
    SEPARATION = "separation"
    TIME_INVALID = "time-invalid"


class Exit(StrEnum):
    """How a cause ends."""

    TERMINAL = "terminal"
    RESTART = "restart"
    SELF_TEST = "self-test"
    ADMINISTRATOR = "administrator"
    AUTOMATIC = "automatic"


class Function(StrEnum):
    """What a state can forbid."""

    WAN = "wan"
    LMN = "lmn"
    HAN = "han"
    CLS = "cls"
    DELIVERY = "delivery"
    METERING = "metering"
    UNMARKED = "unmarked-values"


EVERYTHING = frozenset(Function) - {Function.UNMARKED}
_ADMINISTRATIVE_ONLY = frozenset({Function.HAN, Function.CLS, Function.DELIVERY})


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table.

    Attributes:
        state: the manual's state.
        exit: how it ends.
        forbids: functions that are not served.
        trigger: what the manual says.
        source: where.
    """

    state: SecureState
    exit: Exit
    forbids: frozenset[Function]
    trigger: str
    source: str


TABLE: Mapping[Cause, Rule] = MappingProxyType(
    {
        Cause.IMAGE: Rule(
            SecureState.BOOT,
            Exit.TERMINAL,
            EVERYTHING,
            "kernel image or rootfs missing or corrupt at boot",
            "D-2.1, SEC-02",
        ),
        Cause.LOG_STORAGE: Rule(
            SecureState.BOOT,
            Exit.TERMINAL,
            EVERYTHING,
            "storage for logs at its critical limit",
            "D-2.1, SEC-03",
        ),
        Cause.STALE_PARTITION: Rule(
            SecureState.BOOT,
            Exit.TERMINAL,
            EVERYTHING,
            "inactive partition faulty for 30 days",
            "D-2.1, SEC-04",
        ),
        Cause.VERSION: Rule(
            SecureState.BOOT,
            Exit.TERMINAL,
            EVERYTHING,
            "active software version is not the expected one",
            "D-2.1, SEC-05",
        ),
        Cause.BOOT_CHECK: Rule(
            SecureState.CYCLIC_RESTART,
            Exit.RESTART,
            EVERYTHING,
            "security checks fail during boot",
            "D-2.5, SEC-40",
        ),
        Cause.VALUE_STORAGE: Rule(
            SecureState.APPLICATION,
            Exit.ADMINISTRATOR,
            _ADMINISTRATIVE_ONLY | {Function.METERING},
            "storage for values at the limit the administrator has set",
            "D-2.2, SEC-10",
        ),
        Cause.TIME_DEVIATION: Rule(
            SecureState.APPLICATION,
            Exit.ADMINISTRATOR,
            _ADMINISTRATIVE_ONLY | {Function.UNMARKED},
            "clock deviates by more than 3 % of the smallest registration period",
            "D-2.2, SEC-11",
        ),
        Cause.TIME_SILENCE: Rule(
            SecureState.APPLICATION,
            Exit.ADMINISTRATOR,
            _ADMINISTRATIVE_ONLY | {Function.UNMARKED},
            "no synchronisation for 36 h, in firmware lines that have this rule",
            "D-2.2 of AGD-LV 2.7.1, GW-N11",
        ),
        Cause.SEPARATION: Rule(
            SecureState.CONNECTIVITY,
            Exit.SELF_TEST,
            frozenset({Function.HAN, Function.CLS}),
            "self-test finds WAN and HAN not separated",
            "D-2.3, SEC-30",
        ),
        Cause.TIME_INVALID: Rule(
            SecureState.MEASUREMENT,
            Exit.AUTOMATIC,
            frozenset({Function.UNMARKED}),
            "the device takes its time for invalid",
            "D-2.4, SEC-20",
        ),
    }
)

# gravest first: what is shown while several causes hold (own order, from what each forbids)
SEVERITY = (
    SecureState.BOOT,
    SecureState.CYCLIC_RESTART,
    SecureState.APPLICATION,
    SecureState.CONNECTIVITY,
    SecureState.MEASUREMENT,
    SecureState.NORMAL,
)
# what the lamps say (manual B-3 no. 7 to 10, D-2); how they do it is smgw_emu.core.leds
SIGNAL: Mapping[SecureState, str] = MappingProxyType(
    {
        SecureState.NORMAL: "PWR steady",
        SecureState.BOOT: "PWR, TLS, LMC, wMT blink with 50 ms",
        SecureState.CYCLIC_RESTART: "PWR never steady, all else dark",
        SecureState.APPLICATION: "PWR blinks with 50 ms, port LEDs of HAN and [HAN]CLS dark",
        SecureState.CONNECTIVITY: "port LEDs of HAN and [HAN]CLS dark, front unchanged",
        SecureState.MEASUREMENT: "none on the front",
    }
)
LATCHED = tuple(cause for cause, rule in TABLE.items() if rule.exit is Exit.TERMINAL)


def rules_of(settings: Settings) -> dict[Cause, Rule]:
    """Return the table as a firmware line has it."""
    rules = dict(TABLE)
    if settings.application_exit == "automatic":
        for cause, rule in rules.items():
            if rule.exit is Exit.ADMINISTRATOR:
                rules[cause] = replace(rule, exit=Exit.AUTOMATIC)
    if not settings.boot_latched:
        for cause in LATCHED:
            if cause is not Cause.LOG_STORAGE:
                rules[cause] = replace(rules[cause], exit=Exit.RESTART)
    return rules


@dataclass(frozen=True, slots=True)
class Held:
    """A cause that holds: since when, and what was found."""

    since: WorldTime
    text: str


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of the shown state, for the lab (SEC-51)."""

    at: WorldTime
    before: SecureState
    after: SecureState
    cause: Cause
    entered: bool
    text: str


class SecureStates:
    """Which causes hold.

    Args:
        settings: of the firmware line.

    Attributes:
        held: causes that hold.
        history: last changes, oldest first; it belongs to the lab and survives power cuts.
    """

    def __init__(self, settings: Settings) -> None:
        self.rules = rules_of(settings)
        self.held: dict[Cause, Held] = {}
        self.history: deque[Transition] = deque(maxlen=HISTORY)

    def configure(self, settings: Settings) -> None:
        """Take the rules of another firmware line."""
        self.rules = rules_of(settings)

    @property
    def state(self) -> SecureState:
        """The gravest state of all causes that hold."""
        states = {self.rules[cause].state for cause in self.held}
        return next((state for state in SEVERITY if state in states), SecureState.NORMAL)

    @property
    def since(self) -> WorldTime | None:
        """Since when the shown state holds; None in normal operation."""
        state = self.state
        times = [
            held.since for cause, held in self.held.items() if self.rules[cause].state is state
        ]
        return min(times, default=None)

    @property
    def text(self) -> str:
        """What was found, gravest state first."""
        order = sorted(self.held, key=lambda cause: SEVERITY.index(self.rules[cause].state))
        return "; ".join(self.held[cause].text for cause in order)

    @property
    def forbidden(self) -> frozenset[Function]:
        """What must not be served."""
        return frozenset().union(*(self.rules[cause].forbids for cause in self.held))

    def allows(self, function: Function) -> bool:
        """Tell whether a function may be served."""
        return function not in self.forbidden

    def enter(self, cause: Cause, now: WorldTime, text: str) -> bool:
        """A cause holds from now on; returns False if it does already."""
        if cause in self.held:
            return False
        before = self.state
        self.held[cause] = Held(now, text)
        self.history.append(Transition(now, before, self.state, cause, entered=True, text=text))
        return True

    def leave(self, cause: Cause, now: WorldTime, by: Exit) -> bool:
        """The fault is gone, or somebody acts; returns whether the cause ends with that.

        ``by`` is what happened. An administrator's action ends what would end by itself too; the
        end of the fault alone ends nothing that waits for him.
        """
        if cause not in self.held:
            return False
        needed = self.rules[cause].exit
        if needed is not by and not (needed is Exit.AUTOMATIC and by is Exit.ADMINISTRATOR):
            return False
        before = self.state
        del self.held[cause]
        self.history.append(Transition(now, before, self.state, cause, entered=False, text=by))
        return True

    def power_off(self) -> None:
        """Forget what only a running device knows; what lasts is remembered elsewhere."""
        self.held.clear()
