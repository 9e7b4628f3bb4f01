"""XML of configuration profiles."""

from wan.profiles.taf import taf_profile_xml

__all__ = ["taf_profile_xml"]
