"""Modbus meters: entry point `modbus` of `submeter.drivers`."""

from drivers.modbus.wiring import driver

__all__ = ["driver"]
