"""Keeping the device clock by the administrator's time service (WKS5, WKS4)."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from smgw_emu.core.device import Device
from smgw_emu.core.instants import HOUR, SECOND, DeviceTime, WorldTime
from smgw_emu.profiles import Time as Limits
from smgw_emu.transport.clock import Clock, Timer
from smgw_emu.transport.http import Answer, Headers
from smgw_emu.transport.stream import StreamHandler, TlsStream
from smgw_emu.transport.tls import TlsEnd
from smgw_emu.wan_line.channel import ChannelLine
from wan.cosem.media import OCTETS
from wan.ntp.client import Ignored, NtpClient, Sample
from wan.ntp.keeper import TimeEvent, TimeEventKind, TimeKeeper

_log = structlog.get_logger("time")
OverHttps = Callable[[str, Headers, Callable[[], bytes], Callable[[Answer | None], None]], bool]
NTP_PATH = "/ntp"  # own choice below the administrator's point of contact (WKS4 names none)


class TimeLine:
    """Asks for the time by schedule, judges the answers, sets the clock.

    Args:
        device: the core.
        limits: of the device profile.
        clock: world time.
        random: octets of the security module.
        interval_s: pause between synchronisations.
        guard: runs a step that writes.
        adjusted: told after the clock was set or time became invalid.

    Attributes:
        line: the NTP-TLS channel (WKS5).
        https: sends a request on the ADMIN-SERVICE channel (WKS4); None: WKS5.
        on_first: told after the first synchronisation since power-up.
        on_deviation: told once when the clock is found beyond the limit, with the offset.
        on_silence: told when silence has made time invalid.
        on_commanded: told when the administrator's synchronisation is done.
    """

    def __init__(
        self,
        device: Device,
        limits: Limits,
        clock: Clock,
        random: Callable[[int], bytes],
        interval_s: Callable[[], int],
        guard: Callable[[Callable[[], None]], None],
        adjusted: Callable[[], None],
    ) -> None:
        self._device = device
        self._limits = limits
        self._clock = clock
        self._interval_s = interval_s
        self._guard = guard
        self._adjusted = adjusted
        self._client = NtpClient(limits, random)
        self.keeper = TimeKeeper(
            limits, clock.now(), valid=device.clock.valid, since=self._last_sync()
        )
        self.line: ChannelLine | None = None
        self.https: OverHttps | None = None
        self._timer: Timer | None = None
        self._silence: Timer | None = None
        self._answer: Timer | None = None
        self._stream: TlsStream | None = None
        self.last: Sample | None = None
        self.synchronised = False
        self._over = False
        self.on_first: Callable[[], None] = lambda: None
        self.on_deviation: Callable[[str], None] = lambda _text: None
        self.on_silence: Callable[[str], None] = lambda _text: None
        self.on_commanded: Callable[[], None] = lambda: None

    def _last_sync(self) -> WorldTime | None:
        """When the clock was last set by the administrator's service, before power-up."""
        last = self._device.synchronised
        return None if last is None else min(self._device.clock.world_at(last), self._clock.now())

    def start(self) -> None:
        """Ask at once; a first synchronisation comes before everything (3.2.6.3.4)."""
        self._watch_silence()
        self.ask()

    def stop(self) -> None:
        """Forget timers; nothing is asked any more."""
        self._over = True
        for timer in (self._timer, self._silence, self._answer):
            if timer is not None:
                timer.cancel()

    def set_valid(self, *, valid: bool) -> None:
        """The lab has moved the device clock."""
        self.keeper.set_valid(self._clock.now(), valid=valid)
        if self.line is not None or self.https is not None:
            self._watch_silence()

    def resync(self) -> None:
        """The administrator wants the time set now, whatever the deviation (A6, SEC-14)."""
        self.keeper.command()
        self.ask()

    # -- asking ----------------------------------------------------------------------------

    def ask(self) -> None:
        """Synchronise now, and again after the interval (a minute while time is not valid)."""
        if self._over:
            return
        steady = self.keeper.valid and not self.keeper.commanded
        pause = self._interval_s() if steady else self._limits.min_poll_s
        if self._timer is not None:
            self._timer.cancel()
        due = self._clock.now() + max(pause, self._limits.min_poll_s) * SECOND
        self._timer = self._clock.call_at(due, self.ask)
        if self.https is not None:
            self._ask_https()
        elif self.line is not None:
            if self._stream is not None and not self._stream.tls.over:
                self._request(self._stream)
            else:
                self.line.want()

    def _now(self) -> DeviceTime:
        return self._device.now(self._clock.now())

    def _ask_https(self) -> None:
        if self.https is None:
            return

        def make() -> bytes:
            now = self._clock.now()
            return self._client.request(now, self._now()) if self._client.may_request(now) else b""

        def done(answer: Answer | None) -> None:
            if answer is not None and answer.status == 200:
                self._receive(answer.body)

        self.https(NTP_PATH, [("Content-Type", OCTETS)], make, done)

    def handler(self, _line: ChannelLine) -> StreamHandler:
        """Run on a new NTP-TLS connection."""
        return self

    def established(self, stream: TlsStream) -> None:
        """The channel is up before the first request, so its set-up enters no measurement."""
        self._stream = stream
        self._request(stream)

    def _request(self, stream: TlsStream) -> None:
        now = self._clock.now()
        if not self._client.may_request(now):
            return
        stream.write(self._client.request(now, self._now()))
        due = self._client.next_deadline()
        if due is not None:
            self._answer = self._clock.call_at(due, self._give_up)

    def _give_up(self) -> None:
        if self._client.on_deadline(self._clock.now()):
            self._log("time-sample-ignored", outcome="F", reason="no answer")
            self._release()

    def received(self, stream: TlsStream, data: bytes) -> None:  # noqa: ARG002
        """Take octets of the answer."""
        if self._receive(data):
            self._release()

    def ended(self, stream: TlsStream, reason: TlsEnd, detail: str) -> None:  # noqa: ARG002
        """Forget the stream."""
        self._stream = None

    def _release(self) -> None:
        if self._answer is not None:
            self._answer.cancel()
            self._answer = None
        if self.line is not None:
            self.line.release()

    # -- judging ---------------------------------------------------------------------------

    def _receive(self, data: bytes) -> bool:
        """Judge octets; returns whether the answer is complete."""
        synchronised = self.keeper.valid and not self.keeper.commanded
        result = self._client.receive(data, self._now(), synchronised=synchronised)
        if result is None:
            return False
        if isinstance(result, Ignored):
            self._log("time-sample-ignored", outcome="F", reason=result.value)
            return True
        self.last = result
        commanded = self.keeper.commanded
        for event in self.keeper.on_sample(result, self._clock.now()):
            self._apply(event, result)
        self._watch_silence()
        if commanded and not self.keeper.commanded:
            self.on_commanded()
        return True

    def _apply(self, event: TimeEvent, sample: Sample) -> None:
        kind = event.kind
        if kind in {TimeEventKind.ROUND_TRIP_TOO_LONG, TimeEventKind.UNCERTAIN}:
            self._log("time-sample-ignored", outcome="F", reason=kind.value)
        elif kind is TimeEventKind.DEVIATION_TOO_LARGE:
            self._log("time-deviation", outcome="F", offset=_seconds(sample.offset))
            self.on_deviation(f"Abweichung {_seconds(sample.offset)} s")
        elif kind in {TimeEventKind.SET, TimeEventKind.CORRECTED}:
            self._set(event.step, sample)

    def _set(self, step: int, sample: Sample) -> None:
        device, world = self._device, self._clock.now()
        first = not self.synchronised
        method = "NTP-HTTPS" if self.https is not None else "NTP-TLS"

        def work() -> None:
            shown = device.now(world) + step
            with device.store.transaction():
                device.synchronise(world, shown)
                device.store.set_meta("synchronised", shown.iso())
                if first or abs(step) >= SECOND:
                    device.logbooks.write(
                        "time-synchronised",
                        shown,
                        method=method,
                        offset=_seconds(sample.offset),
                        rtt=_seconds(sample.round_trip),
                    )

        self._guard(work)
        self.synchronised = True
        self._adjusted()
        if first:
            self.on_first()

    # -- silence ---------------------------------------------------------------------------

    def _watch_silence(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        due = self.keeper.next_deadline()
        if due is not None and not self._over:
            self._silence = self._clock.call_at(due, self._silent)

    def _silent(self) -> None:
        now = self._clock.now()
        for event in self.keeper.on_deadline(now):
            if event.kind is TimeEventKind.ALARM:
                self._log("time-alarm", outcome="F", hours=self.keeper.alarm_time // HOUR)
            elif event.kind is TimeEventKind.INVALID:
                self._guard(lambda: self._device.lose_time(now))
                self.synchronised = False
                self._adjusted()
                self.on_silence(f"keine Synchronisation seit {self.keeper.invalid_time // HOUR} h")
        self._watch_silence()

    def _log(self, name: str, **parameters: object) -> None:
        outcome = parameters.pop("outcome", "S")
        self._guard(
            lambda: self._device.logbooks.write(name, self._now(), outcome=outcome, **parameters)  # type: ignore[arg-type]
        )


def _seconds(nanoseconds: int) -> str:
    return f"{nanoseconds / SECOND:+.3f}"
