"""The security module: it owns every private key (HSM-01)."""

from hsm_sim.module import Curve, SecurityModule, SecurityModuleError

__all__ = ["Curve", "SecurityModule", "SecurityModuleError"]
