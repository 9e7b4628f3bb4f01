"""Secure states of a running device: what finds them, what they cut down, what ends them.

The causes themselves are the hardware's (:mod:`secure_state.machine`); here the running device is
cut down to what they allow. Causes that a power cut does not end are remembered in the store.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from secure_state.machine import Cause, Exit, Function
from smgw_emu.cls_line import ClsLine
from smgw_emu.core.device import Device
from smgw_emu.core.instants import MINUTE
from smgw_emu.frame import Frame
from smgw_emu.han_line import HanLine
from smgw_emu.transport.clock import Timer
from smgw_emu.wan_line import WanSide

_LASTING = "secure-causes"
_STORAGE_PAUSE = 15 * MINUTE  # own choice: a registration period
# what a power cut does not end: found again only by an action, or by the next self-test
LASTING = (Cause.VALUE_STORAGE, Cause.TIME_DEVIATION, Cause.TIME_SILENCE, Cause.SEPARATION)


class StateWatch:
    """Watches one running device.

    Args:
        frame: the hardware around it.
        device: its core.
        wan, han, cls: what is cut down.
        guard: runs a step that writes.

    Attributes:
        link: cables that are in.
        over: the device has ended; nothing is served any more.
    """

    def __init__(
        self,
        frame: Frame,
        device: Device,
        wan: WanSide,
        han: HanLine,
        cls: ClsLine,
        guard: Callable[[Callable[[], None]], None],
    ) -> None:
        self._f = frame
        self._device = device
        self._wan = wan
        self._han = han
        self._cls = cls
        self._guard = guard
        self.link = frame.config.link
        self.over = False
        self._storage: Timer | None = None
        device.logbooks.on_full = self._logs_grown
        wan.time.on_deviation = lambda text: frame.enter(Cause.TIME_DEVIATION, text)
        wan.time.on_silence = self._silent
        wan.time.on_commanded = self._commanded

    def stop(self) -> None:
        """The device has ended."""
        self.over = True
        if self._storage is not None:
            self._storage.cancel()

    def remember(self) -> None:
        """Causes that a power cut does not end hold from the start."""
        for name, shown in json.loads(self._device.store.get_meta(_LASTING) or "{}").items():
            self._f.states.enter(Cause(name), self._f.clock.now(), shown)

    def note(self, cause: Cause, shown: str, *, entered: bool) -> None:
        """Log a change of causes, and remember those that last."""
        states, now = self._f.states, self._device.now(self._f.clock.now())
        rule = states.rules[cause]

        def work() -> None:
            with self._device.store.transaction():
                if cause in LASTING:
                    lasting = {c: h.text for c, h in states.held.items() if c in LASTING}
                    self._device.store.set_meta(_LASTING, json.dumps(lasting))
                if entered:
                    self._device.logbooks.write(
                        "secure-state-entered", now, outcome="F",
                        state=rule.state, reason=f"{rule.trigger}: {shown}",
                    )  # fmt: skip
                else:
                    self._device.logbooks.write(
                        "secure-state-left", now, cause=cause, state=states.state
                    )

        self._guard(work)

    async def enforce(self) -> None:
        """Serve what the states allow, and nothing else; a device that has ended serves nothing."""
        if self.over:
            return
        self.restrict()
        await self._han.allow(self._f.states.allows(Function.HAN))
        await self._cls.listen()
        self.show_ports()

    def restrict(self) -> None:
        """The part of :meth:`enforce` that must not wait: what is forbidden ends now."""
        states, now = self._f.states, self._device.now(self._f.clock.now())
        if not states.allows(Function.HAN):
            self._han.stop_listening()
        self._cls.restrict(allowed=states.allows(Function.CLS), reason=str(states.state))
        self._guard(lambda: self._device.switch_metering(now, on=states.allows(Function.METERING)))
        self._device.distrust(on=Cause.TIME_DEVIATION in states.held
                             or Cause.TIME_SILENCE in states.held)  # fmt: skip
        self._wan.allow_delivery(on=states.allows(Function.DELIVERY))
        self.show_ports()
        self._f.armed()

    def show_ports(self) -> None:
        """Light the ports that are switched on, allowed and have a cable."""
        link, states = self.link, self._f.states
        enabled = self._device.config.han_profile.enabled
        self._f.lamps.set(
            han=link.han and enabled and states.allows(Function.HAN),
            cls=link.cls and states.allows(Function.CLS),
        )

    def follow_time(self) -> None:
        """Invalid time is Secure State Measurement, valid time its end (SEC-20, SEC-23)."""
        if not self._device.clock.valid:
            self._f.enter(Cause.TIME_INVALID, "Systemzeit ungültig")
            return
        self.leave(Cause.TIME_INVALID, Exit.AUTOMATIC)
        self.leave(Cause.TIME_SILENCE, Exit.AUTOMATIC)
        if not self._wan.time.keeper.deviating:
            self.leave(Cause.TIME_DEVIATION, Exit.AUTOMATIC)

    def leave(self, cause: Cause, by: Exit) -> None:
        """A fault is gone, or somebody acts; what ends with that is served again."""
        if self._f.states.leave(cause, self._f.clock.now(), by):
            self._f.left(cause)

    def _silent(self, shown: str) -> None:
        if self._f.profile.secure_state.silence == "application":
            self._f.enter(Cause.TIME_SILENCE, shown)

    def _commanded(self) -> None:
        """The administrator's synchronisation is done: time is right by his word (A6)."""
        for cause in (Cause.TIME_DEVIATION, Cause.TIME_SILENCE):
            self.leave(cause, Exit.ADMINISTRATOR)

    def watch_storage(self, *, administrator: bool = False) -> None:
        """Compare the values with their limit, now and every quarter hour.

        ``administrator``: he has just changed the limit.
        """
        if self._storage is not None:
            self._storage.cancel()

        def work() -> None:
            level = self._device.check_storage(self._device.now(self._f.clock.now()))
            if level.critical:
                shown = f"{level.used_kib} von {level.limit_kib} KiB"
                self._f.enter(Cause.VALUE_STORAGE, shown)
            else:
                by = Exit.ADMINISTRATOR if administrator else Exit.AUTOMATIC
                self.leave(Cause.VALUE_STORAGE, by)

        self._guard(work)
        if not self.over:  # the look may have found that the store is gone
            due = self._f.clock.now() + _STORAGE_PAUSE
            self._storage = self._f.clock.call_at(due, self.watch_storage)

    def _logs_grown(self) -> None:
        """Inside a write: look when the transaction is over."""
        asyncio.get_running_loop().call_soon(self.look_at_logs)

    def look_at_logs(self) -> None:
        """Compare the logs with their limit; at it there is no function any more (SEC-03)."""
        if self.over or self._device.store.closed:
            return

        def work() -> None:
            level = self._device.storage.logs(self._device.now(self._f.clock.now()))
            if level.critical:
                shown = f"{level.used_kib} von {level.limit_kib} KiB"
                self._f.enter(Cause.LOG_STORAGE, shown)

        self._guard(work)
