"""Model files to complete, as a driver makes them of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gateway.cli.exits import Refused
from gateway.clock import SystemClock

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.ports.field import Inspector


def write_model(driver: Inspector, raw: bytes, place: str, file: Path) -> None:
    """Write the model file of an answer, taken today at `place`, into a file that is not there yet.

    OrderRefusedError where the driver makes none of it; Refused where the file cannot be written.
    """
    _write_new(file, driver.model_file(raw, f"{place}, {SystemClock().now():%Y-%m-%d}"))
    click.echo(f"{file} is written: what is left to do stands in its first lines", err=True)


def _write_new(file: Path, text: str) -> None:
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError as error:
        message = f"{file} is there already and is left as it is; name another file"
        raise Refused(message) from error
    except OSError as error:
        message = f"{file} cannot be written ({error.strerror}); name a file in a folder of yours"
        raise Refused(message) from error
