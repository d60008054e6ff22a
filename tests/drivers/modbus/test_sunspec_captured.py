"""What real devices answered, as their owners published it, is found and read as SunSpec meters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from drivers.modbus.sunspec import SunSpecMeter
from gateway.ports.field import WrongAnswerError

if TYPE_CHECKING:
    from drivers.modbus.model import RegisterMap
    from drivers.modbus.plan import Request, Span

Image = dict[int, int]
KOSTAL = {
    40070: (0x0067, 0x0032),
    40122: (0x0071, 0x003C),
    40184: (0x0078, 0x001A),
    40212: (0x007B, 0x0018),
    40238: (0x00A0, 0x0044),
    40308: (0x00CB, 0x0069),
    40415: (0x0322, 0x003E),
    40479: (0xFFFF, 0x0000),
}
"""unit 71: github.com/evcc-io/evcc issue 15726, Chris45671, 2024-08-27: each request of two words and its answer"""
SOLAREDGE = (
    "0035000f000d0018ffff5a855a855af85aff0000000000000000fffe1388fffe0005ffe50109ff18000002f10128011d01a80000fd0ffed9"
    "ff99fe9e0000fae6012bded710adfffe00f7cef40064139e006a0b84005657b6016fe348007bd80f0068a73800b80be6"
)
"""the words from 40190 on: github.com/evcc-io/evcc issue 12708, MarkusGH, 2024-03-11; 0000 from 40242 to 40258"""
BEFORE_THE_METER = {40002: (1, 65), 40069: (103, 50), 40121: (1, 65), 40188: (203, 105)}
"""SolarEdge, SunSpec implementation technical note: inverter in 40069, meter in 40188"""
SILENT = {40189: 105} | dict.fromkeys(range(40190, 40226), 0x8000) | dict.fromkeys(range(40226, 40242), 0)
"""an inverter that does not hear its meter: github.com/tjko/sunspec-monitor issue 4, lloydwatkin, 2018-04-16"""


def image(headers: dict[int, tuple[int, int]], **blocks: Image) -> Image:
    """All words by address; the marker stands in 40000."""
    words = {40000: 0x5375, 40001: 0x6E53}
    for address, (number, length) in headers.items():
        words |= {address: number, address + 1: length}
    for block in blocks.values():
        words |= block
    return words


def found(words: Image) -> tuple[RegisterMap, list[tuple[int, int]]]:
    """The meter's map and the addresses and counts that were asked for."""
    walk, asked = SunSpecMeter().walk(), []
    request: Request = next(walk)
    try:
        while True:
            asked.append((request.address, request.count))
            places = range(request.address, request.address + request.count)
            request = walk.send(tuple(words[place] for place in places) if words.keys() >= set(places) else None)
    except StopIteration as end:
        return end.value, asked


def read(map_: RegisterMap, words: Image) -> dict[str, str]:
    spans = [span for register in map_.registers for span in register.spans]
    pieces: dict[Span, tuple[int, ...]] = {
        span: tuple(words[place] for place in range(span.address, span.end)) for span in spans
    }
    return {value.register: f"{value.index} {value.unit}" for value in map_.values(pieces)}


def test_the_walk_over_a_kostal_inverter_asks_what_was_answered_there_and_finds_its_meter() -> None:
    map_, asked = found(image({40002: (1, 66)} | KOSTAL))
    walked = [(40000, 2), (40002, 2), *((address, 2) for address in KOSTAL if address <= 40308)]
    assert asked == [*walked, (40004, 16)], "and then the maker, which that program did not ask for"
    assert {register.key: register.address for register in map_.registers} == {"import": 40354, "export": 40346}


def test_a_meter_behind_a_solaredge_inverter_is_read() -> None:
    octets = bytes.fromhex(SOLAREDGE)
    block = {40190 + n: int.from_bytes(octets[2 * n : 2 * n + 2], "big") for n in range(len(octets) // 2)}
    words = image(BEFORE_THE_METER, block=block, rest={40242: 0})
    map_, _ = found(words)
    assert read(map_, words) == {"import": "24109.896 kWh", "export": "16240.372 kWh"}


def test_an_inverter_that_does_not_hear_its_meter_gives_no_index_0() -> None:
    words = image(BEFORE_THE_METER, block=SILENT, rest={40242: 0x8000})
    map_, _ = found(words)
    with pytest.raises(WrongAnswerError, match="register import: its scale register holds 0x8000"):
        read(map_, words)
