"""Badge readers."""

from drivers.badges.wedge import driver

__all__ = ["driver"]
