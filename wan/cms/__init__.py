"""Content data security (TR-03109-1 v1.0 3.2.4.4; Detailspezifikation v2.0 chapter 5)."""

from wan.cms.signed import sign

__all__ = ["sign"]
