"""Wired M-Bus: `driver` is what the entry point `submeter.drivers` names."""

from __future__ import annotations

from drivers.mbus.driver import driver

__all__ = ["driver"]
