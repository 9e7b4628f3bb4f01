"""What an administrator can do (TR-03109-1 v1.0 3.2.2 WAF1): the gateway's resource tree."""

from wan.admin.facilities import Facilities
from wan.admin.keys import KeyRing
from wan.admin.tree import GatewayTree

__all__ = ["Facilities", "GatewayTree", "KeyRing"]
