"""Modbus meters: entry point `modbus` of `submeter.drivers`."""

from drivers.modbus.driver import driver

__all__ = ["driver"]
