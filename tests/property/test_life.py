"""The life cycle's table (GW-20)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.life import TABLE, Life, LifeCycle, LifeInput
from smgw_emu.core.logbook import Logbooks
from smgw_emu.core.store import Store

_ORDER = list(Life)


@given(st.lists(st.sampled_from(LifeInput), max_size=20))
def test_life_only_goes_forward_and_is_remembered(inputs):
    store = Store(":memory:")
    logbooks = Logbooks(store, {})
    now = DeviceTime(0)
    state = Life.PRE_PERSONALISED
    for event in inputs:
        life = LifeCycle(store, logbooks)
        assert life.state is state, "remembered by the store alone"
        changed = life.apply(event, now)
        assert changed == ((state, event) in TABLE)
        assert _ORDER.index(life.state) >= _ORDER.index(state)
        state = life.state
    logged = [e for e in logbooks.last("calibration") if e.event == "EMU.167.1"]
    assert len(logged) <= len(_ORDER) - 1
    assert LifeCycle(store, logbooks).ended == (state in {Life.DECOMMISSIONED, Life.DISPOSED})
    store.close()


def test_disposal_is_the_end():
    assert not [key for key in TABLE if key[0] is Life.DISPOSED]
