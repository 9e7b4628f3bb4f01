"""The Steuerbox and the coordination function against naive models."""

from __future__ import annotations

import msgspec
import pytest
from fuzz import fuzz
from hypothesis import given
from hypothesis import strategies as st

from smgw_emu.bench.cls.box import RELAYS, Box, Settings, State
from smgw_emu.bench.cls.coordination import Light, Plant, Request
from smgw_emu.bench.cls.words import (
    Answer,
    LineReader,
    Order,
    Step,
    read_answer,
    read_order,
    write,
)
from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.instants import SECOND, WorldTime

T0 = WorldTime(1_800_000_000 * SECOND)
watts = st.integers(0, 30_000)
orders = st.one_of(
    st.builds(lambda w, s: ("limit", w, s), watts, st.sampled_from([0, 30, 300, 8000])),
    st.just(("release", 0, 0)),
    st.just(("heartbeat", 0, 0)),
)
lives = st.lists(st.tuples(st.integers(0, 9000), orders), max_size=25)


def at(seconds):
    return T0 + seconds * SECOND


def naive(life, settings, moment):
    """The limit at a moment in seconds: walk second by second through what was said."""
    state, ordered, until, beat, failsafe = "init", None, None, 0, 0
    told, second = list(life), 0
    while second <= moment:
        if until is not None and second == until:
            state, until = "unlimited", None
        if state in {"init", "unlimited", "limited"} and second == beat + settings.lost_s:
            state, failsafe, until = "failsafe", second, None
        if state == "failsafe" and second == failsafe + settings.failsafe_s:
            state = "autonomous"
        while told and told[0][0] == second:
            _, (what, power, seconds) = told.pop(0)
            beat = second
            if state in {"init", "autonomous"}:
                state = "unlimited"
            if what == "limit":
                state, ordered, until = "limited", power, second + seconds if seconds else None
            elif what == "release":
                state, until = "unlimited", None
        second += 1
    return {"failsafe": settings.failsafe_w, "limited": ordered}.get(state), state


@given(lives, st.integers(0, 3000))
@pytest.mark.req("HAN-61", "K09")
def test_a_life_second_by_second(life, after):
    """Orders, heartbeats, silence: limit and state are those of the walk through every second."""
    settings, seconds = Settings(failsafe_s=1000, lost_s=120), 0
    walk = []
    for pause, order in life:
        seconds += pause % 1500
        walk.append((seconds, order))
    box = Box(settings, T0)
    for number, (second, (what, power, lasts)) in enumerate(walk):
        answer = box.take(Order(number, what, watts=power, seconds=lasts), at(second))
        assert answer.ok
        assert (answer.limit, answer.state) == (box.limit, box.state)
    end = seconds + after
    box.on_deadline(at(end))
    assert (box.limit, str(box.state)) == naive(walk, settings, end)
    moments = [moment for moment, *_ in box.history]
    assert moments == sorted(moments)
    assert all(a[1:] != b[1:] for a, b in zip(box.history, box.history[1:], strict=False))


def test_the_defaults_are_those_of_the_law():
    """4.2 kW (paragraph 14a EnWG), two hours at least, then the plant is free again."""
    box = Box(Settings(), T0)
    box.take(Order(1, "limit", watts=1000), at(0))
    box.on_deadline(at(119))
    assert (box.state, box.limit) == (State.LIMITED, 1000)
    box.on_deadline(at(120))
    assert (box.state, box.limit) == (State.FAILSAFE, 4200)
    box.on_deadline(at(120 + 7199))
    assert box.state is State.FAILSAFE
    box.on_deadline(at(120 + 7200))
    assert (box.state, box.limit) == (State.AUTONOMOUS, None)


@given(st.lists(st.tuples(st.integers(0, 100), st.none() | watts), min_size=1, max_size=8), watts)
@pytest.mark.req("WAN-74")
def test_a_schedule(steps, probe):
    """From each step on its limit holds; None frees the plant."""
    moment = probe % 110
    box = Box(Settings(), T0)
    box.take(Order(1, "schedule", steps=tuple(Step(*step) for step in steps)), T0)
    box.on_deadline(at(moment))
    past = [step for step in sorted(steps, key=lambda step: step[0]) if step[0] <= moment]
    assert box.limit == (past[-1][1] if past else None)


@given(st.integers(-1, 4), st.booleans())
def test_relays(number, on):
    """Two of them; another number is refused with the reason."""
    box = Box(Settings(), T0)
    answer = box.take(Order(1, "relay", number=number, on=on), T0)
    assert answer.ok == (1 <= number <= RELAYS)
    assert bool(answer.reason) != answer.ok
    assert list(answer.relays) == [on and answer.ok and number == i + 1 for i in range(RELAYS)]


# -- words -----------------------------------------------------------------------------------------


@fuzz(b'{"id":1,"do":"limit","watts":4200,"seconds":60}\n', b'{"id":1,"ok":true}\n')
def test_any_octets_on_the_channel(data):
    """A line is an order, an answer, or refused."""
    reader = LineReader()
    for line in reader.receive(data):
        for read in (read_order, read_answer):
            try:
                found = read(line)
            except RemoteProtocolError:
                continue
            assert read(write(found).rstrip(b"\n")) == found


def test_a_line_without_an_end():
    """Bounded memory."""
    reader = LineReader()
    with pytest.raises(RemoteProtocolError, match="too long"):
        for _ in range(100):
            reader.receive(b"x" * 1000)


def test_words_in_pieces():
    """Orders and answers survive any pieces."""
    orders = [Order(n, "schedule", steps=(Step(n, 4200), Step(n + 1))) for n in range(5)]
    data = b"".join(map(write, orders)) + write(Answer(1, True, "limited", 4200, (True, False)))
    reader, found = LineReader(), []
    for octet in data:
        found += reader.receive(bytes((octet,)))
    assert [read_order(line) for line in found[:-1]] == orders
    assert read_answer(found[-1]).limit == 4200
    assert msgspec.json.decode(found[0])["do"] == "schedule"


# -- coordination ----------------------------------------------------------------------------------

requests = st.builds(
    lambda actor, power, begin, span, vnb: Request(
        "vnb" if vnb else actor, power, at(begin), at(begin + span), vnb
    ),
    st.sampled_from(["supplier", "operator"]), watts, st.integers(0, 50), st.integers(1, 50),
    st.booleans(),
)  # fmt: skip


@given(st.lists(requests, max_size=8), st.sampled_from(list(Light)), st.integers(0, 110))
@pytest.mark.req("K08", "WAN-67", "WAN-69", "WAN-73")
def test_the_grid_operator_has_the_last_word(many, light, moment):
    """Never more than the VNB allows; red lets nobody else act; who loses is told once."""
    plant = Plant()
    plant.set_light(light, T0)
    for request in many:
        plant.ask(request, at(moment))
    now = at(moment)
    kept: list[Request] = []
    for request in many:
        kept = [
            r for r in kept
            if r.actor != request.actor or r.begin >= request.end or request.begin >= r.end
        ]  # fmt: skip
        kept.append(request)
    heard = [r for r in kept if r.begin <= now < r.end]
    grid = [r.watts for r in heard if r.vnb]
    found = plant.decide(now)
    if grid:
        assert found is not None
        assert found.watts <= min(grid)
        if light is not Light.GREEN:
            assert found.vnb
    elif light is Light.RED:
        assert found is None
    elif heard:
        assert found is not None
        assert found.watts == min(r.watts for r in heard)
    else:
        assert found is None
    told = [(notice.actor, notice.by) for notice in plant.notices]
    assert len(told) == len(set(told))
    losers = {r.actor for r in heard if not r.vnb and r is not found}
    assert losers <= {actor for actor, _ in told}
    assert "vnb" not in {actor for actor, _ in told}


@given(st.lists(requests, max_size=6), st.sampled_from(list(Light)), st.integers(0, 60))
@pytest.mark.req("WAN-74")
def test_the_plan_is_every_decision_to_come(many, light, moment):
    """The schedule says at each second what would be decided then."""
    plant = Plant(light)
    for request in many:
        plant.ask(request, at(0))
    steps = plant.plan(at(moment))
    assert steps[0][0] == at(moment)
    for second in range(moment, 112):
        holds = plant.decide(at(second))
        past = [watts for begin, watts in steps if begin <= at(second)]
        assert past[-1] == (holds.watts if holds is not None else None)


def test_a_request_without_a_span_is_none():
    """Begin before end, 0 W or more."""
    for wrong in (Request("a", 1, T0, T0), Request("a", -1, T0, at(1))):
        with pytest.raises(ValueError, match="span"):
            Plant().ask(wrong, T0)
