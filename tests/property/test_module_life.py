"""The security module against a naive model: slots, files, PIN, life cycle, power cuts."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hsm_sim import Curve, PinError, SecurityModule, SecurityModuleError
from hsm_sim.card import LifeCycle
from hsm_sim.curves import point_octets

SLOTS = st.sampled_from(["GW_WAN_ENC_PRV_0", "GW_WAN_SIG_PRV_0", "A"])
ORDER = list(LifeCycle)


class ModuleLife(RuleBasedStateMachine):
    """What a dictionary remembers, the module must remember; what a table forbids, it refuses."""

    @initialize()
    def start(self):
        self.folder = Path(tempfile.mkdtemp())
        self.module = SecurityModule(self.folder / "hsm")
        self.keys: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self.state = LifeCycle.INTEGRATION
        self.wrong = 0

    @property
    def alive(self) -> bool:
        return self.state is not LifeCycle.END_OF_LIFE and self.wrong < 3

    def refused(self, work) -> bool:
        try:
            work()
        except SecurityModuleError:
            return True
        return False

    def entered(self) -> None:
        """The right PIN was used: the counter is full again."""
        if self.alive:
            self.wrong = 0

    @rule(slot=SLOTS, curve=st.sampled_from([Curve.BRAINPOOL_P256, Curve.P384]))
    def generate(self, slot, curve):
        if not self.alive or slot in self.keys:
            assert self.refused(lambda: self.module.generate(slot, curve))
        else:
            self.keys[slot] = point_octets(self.module.generate(slot, curve))
        self.entered()

    @rule(slot=SLOTS, message=st.binary(max_size=20))
    def sign(self, slot, message):
        if not self.alive or slot not in self.keys:
            assert self.refused(lambda: self.module.sign(slot, message))
        else:
            key = self.module.public_key(slot)
            assert point_octets(key) == self.keys[slot]
            signature = self.module.sign(slot, message)
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
            with pytest.raises(InvalidSignature):
                key.verify(signature, message + b"x", ec.ECDSA(hashes.SHA256()))
        self.entered()

    @rule(name=SLOTS, data=st.binary(min_size=1, max_size=400))
    def write(self, name, data):
        if not self.alive:
            assert self.refused(lambda: self.module.write_file(name, data))
        else:
            self.module.write_file(name, data)
            self.files[name] = data
        self.entered()

    @rule(name=SLOTS)
    def delete(self, name):
        there = name in self.keys or name in self.files
        if self.alive and self.state is LifeCycle.OPERATIONAL and there:
            self.module.delete(name)
            self.keys.pop(name, None)
            self.files.pop(name, None)
        else:
            assert self.refused(lambda: self.module.delete(name))
        self.entered()

    @rule()
    def advance(self):
        if self.alive and self.state in {LifeCycle.INTEGRATION, LifeCycle.PRE_PERSONALISED}:
            self.module.advance()
            self.state = ORDER[ORDER.index(self.state) + 1]
        else:
            assert self.refused(self.module.advance)
        self.entered()

    @rule()
    def power_cycle(self):
        self.module = SecurityModule(self.folder / "hsm")

    @precondition(lambda self: self.wrong < 3)
    @rule()
    def wrong_pin(self):
        intruder = SecurityModule(self.folder / "hsm", pin="0000000000")
        with pytest.raises((PinError, SecurityModuleError)):
            intruder.random(1)
        if self.state is not LifeCycle.END_OF_LIFE:
            self.wrong += 1
        self.power_cycle()  # it is one card: the intruder took the contact

    @rule()
    def change_pin(self):
        if self.alive:
            self.module.change_pin("1234567890")
            self.module = SecurityModule(self.folder / "hsm")
            self.entered()

    @precondition(lambda self: len(self.keys) == 3)
    @rule()
    def terminate(self):
        if self.alive:
            self.module.terminate()
            self.state = LifeCycle.END_OF_LIFE
            self.keys.clear()
            self.files.clear()

    @invariant()
    def remembers(self):
        if not hasattr(self, "folder"):
            return
        module = self.module
        assert module.life_cycle is self.state
        if self.alive:
            assert set(module.slots()) == set(self.keys)
            assert set(module.files()) == set(self.files)
            for name, data in self.files.items():
                assert module.read_file(name) == data
            self.entered()

    def teardown(self):
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


TestModuleLife = ModuleLife.TestCase
TestModuleLife.pytestmark = [pytest.mark.req("HSM-01"), pytest.mark.req("HSM-N05")]
# each step is a durable write: fewer steps, as many lives
TestModuleLife.settings = settings(
    max_examples=min(settings().max_examples, 1500), stateful_step_count=20
)
