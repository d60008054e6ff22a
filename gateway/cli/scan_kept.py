"""Where an interrupted search is kept, to go on from there."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.exits import Refused
from gateway.files import read_text
from gateway.ports.field import Device, ScanTrouble

if TYPE_CHECKING:
    from gateway.cli import Options


@dataclass(slots=True, kw_only=True)
class Result:
    """What a search has found so far, and from where it can go on."""

    asked: str
    """the options that say how it searches"""
    devices: list[Device] = field(default_factory=list)
    troubles: list[ScanTrouble] = field(default_factory=list)
    rest: str = ""
    woken: int = 0
    percent: int = 0
    is_complete: bool = False

    def add(self, device: Device) -> bool:
        """One more device; False for one that was found before the search was interrupted."""
        if any((each.wiring, each.speed) == (device.wiring, device.speed) for each in self.devices):
            return False
        self.devices.append(device)
        return True


def kept_in(options: Options, protocol: str, bus: str) -> Path:
    """The file of a line's search: the user's own state, not beside the settings."""
    home = os.environ.get("XDG_STATE_HOME") or str(Path("~/.local/state").expanduser())
    name = f"{options.config.resolve()} {protocol} {bus}"
    return Path(home, "submeter", f"scan-{hashlib.sha256(name.encode()).hexdigest()[:16]}.json")


def keep(result: Result, file: Path) -> None:
    """Write down from where to go on, whole or not at all; OSError."""
    devices = [{**asdict(replace(each, raw=b"")), "raw": each.raw.hex()} for each in result.devices]
    troubles = [asdict(each) for each in result.troubles]
    text = json.dumps({"asked": result.asked, "rest": result.rest, "devices": devices, "troubles": troubles})
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(file)


def interrupted(file: Path, asked: str) -> Result:
    """The interrupted search of this line; Refused where there is none, or it was one with other options."""
    result = _read(file)
    if result.asked != asked:
        options = result.asked or "none of --by, --baud, --parity, --units, --framing"
        message = (
            f"the interrupted search was one with {options}: it goes on with the same options only; write them, or"
            " search without --continue"
        )
        raise Refused(message)
    return result


def _read(file: Path) -> Result:
    try:
        held = json.loads(read_text(file, "utf-8"))
        devices = [Device(**{**each, "raw": bytes.fromhex(each["raw"])}) for each in held["devices"]]
        troubles = [ScanTrouble(**each) for each in held["troubles"]]
        return Result(asked=held["asked"], devices=devices, troubles=troubles, rest=held["rest"])
    except FileNotFoundError as error:
        message = "no interrupted search of this line is kept; search without --continue"
        raise Refused(message) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{file} holds no interrupted search; search without --continue"
        raise Refused(message) from error
