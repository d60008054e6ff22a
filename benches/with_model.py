"""`python -m benches.with_model ...`: the gateway's own command, which also knows the meter of ten_floats.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, cast

from drivers.modbus.model import ModbusModel, meter_models
from gateway.cli import main

if TYPE_CHECKING:
    from collections.abc import MutableMapping

MODEL = "ten-floats"
_FILE = Path(__file__).with_name("ten_floats.toml")


if __name__ == "__main__":
    known = cast("MutableMapping[str, ModbusModel]", meter_models())
    known[MODEL] = ModbusModel.model_validate(tomllib.loads(_FILE.read_text("utf-8")))
    main()
