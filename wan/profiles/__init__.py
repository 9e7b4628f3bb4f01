"""XML of configuration profiles."""

from wan.profiles.evaluation import OwnFormat, ProfileFormat, profile_format

__all__ = ["OwnFormat", "ProfileFormat", "profile_format"]
