"""The settings that say where a line is; both protocols have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from drivers.model import Strict
from drivers.network import canonical

if TYPE_CHECKING:
    from typing import Self


class WireSettings(Strict):
    """A TCP port or a serial device: exactly one of the two."""

    host: Annotated[str, Field(min_length=1, examples=["192.168.1.20"])] | None = Field(
        default=None, description="of a converter or gateway with a TCP port"
    )
    port: Annotated[int, Field(ge=1, le=65535, examples=[10001])] | None = Field(
        default=None, description="TCP port of the host"
    )
    device: Annotated[str, Field(pattern=r"^/", examples=["/dev/serial/by-id/usb-FTDI_A10KXYZ-if00-port0"])] | None = (
        Field(default=None, description="of a serial adapter; the names in /dev/serial/by-id stay after a restart")
    )

    @model_validator(mode="after")
    def _is_one_line(self) -> Self:
        tcp = self.host is not None or self.port is not None
        if tcp == (self.device is not None):
            message = "name either host and port, or the device of a serial line such as /dev/ttyUSB0, and not both"
            raise ValueError(message)
        if tcp and self.host is None:
            message = "host is missing beside port; name the converter or gateway"
            raise ValueError(message)
        return self

    @property
    def usual_port(self) -> int | None:
        """Where port is not named."""
        return None

    @property
    def place(self) -> str:
        """What no two lines have in common: two masters would spoil each other's conversations."""
        return self.device or f"{canonical(self.host or '')}:{self.port or self.usual_port}"
