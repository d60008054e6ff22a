"""Badge readers on a serial line that send each badge by themselves: "serial wedges"."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Annotated, Literal, cast

from pydantic import Field

from drivers.badges.frames import Frames
from drivers.model import Strict
from drivers.serial import LineSettings, SerialLine, connect
from gateway.ports.field import LineDownError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from gateway.ports.field import BadgeReader

ACCEPTED, REFUSED = b"\x06", b"\x15"
"""ACK and NAK: green and red on the readers that have lamps; others ignore them"""
SILENCE_S = 3600.0


class ReaderSettings(Strict):
    """Settings of one serial wedge reader: eight bits, no parity."""

    device: Annotated[str, Field(pattern=r"^/", examples=["/dev/serial/by-id/usb-Reader-if00"])]
    baud: Annotated[int, Field(ge=300, le=115200)] = 9600
    order: Literal["as_is", "reversed"] = Field(
        default="as_is", description="reversed: the reader sends the last byte of the identifier first"
    )


class WedgeReader:
    """See `gateway.ports.field.BadgeReader`."""

    def __init__(self, settings: ReaderSettings) -> None:
        self._wiring = LineSettings(device=settings.device, baud=settings.baud, parity="none")
        self._reverse = settings.order == "reversed"
        self._frames = Frames(reverse=self._reverse)
        self._line: SerialLine | None = None
        self._reported: deque[str] = deque()

    async def report(self) -> str:
        """See `BadgeReader.report`."""
        try:
            while not self._reported:
                self._reported.extend(self._frames.feed(await (await self._connected()).receive(SILENCE_S)))
        except LineDownError:
            await self.close()
            raise
        return self._reported.popleft()

    async def show(self, *, accepted: bool) -> None:
        """See `BadgeReader.show`."""
        await (await self._connected()).send(ACCEPTED if accepted else REFUSED)

    async def close(self) -> None:
        """See `BadgeReader.close`."""
        line, self._line = self._line, None
        self._frames = Frames(reverse=self._reverse)
        if line is not None:
            await line.close()

    async def _connected(self) -> SerialLine:
        if self._line is None:
            self._line = await connect(self._wiring)
        return self._line


class WedgeDriver:
    """See `gateway.ports.field.ReaderDriver`."""

    name = "wedge"
    schema: type[BaseModel] = ReaderSettings

    def open(self, settings: BaseModel) -> BadgeReader:
        """A reader that is opened at its first report."""
        return WedgeReader(cast("ReaderSettings", settings))


driver = WedgeDriver()
