"""The security module: it owns every private key (HSM-01)."""

from hsm_sim.curves import Curve, SecurityModuleError
from hsm_sim.link import PinError
from hsm_sim.module import SecurityModule
from hsm_sim.slots import Purpose

__all__ = ["Curve", "PinError", "Purpose", "SecurityModule", "SecurityModuleError"]
