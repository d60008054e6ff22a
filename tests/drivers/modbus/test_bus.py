from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from drivers.modbus import driver
from drivers.modbus.bus import swapped
from drivers.modbus.settings import BusSettings, MeterSettings
from gateway.ports.field import FieldError, LineDownError, NoAnswerError, NoValue, WrongAnswerError
from tests.drivers.modbus.peer import Asked, Last, Peer
from tests.steady_time import LoopClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from gateway.ports.field import Answer, MeterBus

SDM, EM, LAST = 5, 7, 200
METERS = {
    "sdm": MeterSettings(model="eastron-sdm630", address=SDM),
    "em": MeterSettings(model="carlo-gavazzi-em340", address=EM),
    "dead": MeterSettings(model="eastron-sdm630", address=9),
    "em-known": MeterSettings(model="carlo-gavazzi-em340", address=EM, serial="274123S"),
    "swapped": MeterSettings(model="eastron-sdm630", address=SDM, swap=True),
    "last": MeterSettings(model="eastron-sdm630", address=LAST),
}


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    await peer.start()
    for unit, whole in ((SDM, 0x42C8), (LAST, 0x4348)):  # 100.0 and 200.0; export 0.25
        peer.put(unit, 4, 72, whole, 0x0000, 0x3E80, 0x0000)
    peer.put(EM, 3, 0x34, 0xE240, 0x0001)
    peer.put(EM, 3, 0x4E, 0x0046, 0x0000)
    peer.put(EM, 3, 0x5000, *b"274123S")
    yield peer
    await peer.stop()


@pytest.fixture
async def bus(peer: Peer) -> AsyncIterator[MeterBus]:
    bus = driver.open(BusSettings(host="127.0.0.1", port=peer.port, timeout=0.2), METERS, LoopClock())
    yield bus
    await bus.close()


def indexes(answer: Answer) -> dict[str, str]:
    return {value.register: str(value.index) for value in answer.values}


async def test_both_models_are_read_over_the_wire(peer: Peer, bus: MeterBus) -> None:
    answer = await bus.read("sdm")
    assert (answer.meter, answer.serial, answer.status) == ("sdm", "", 0)
    assert indexes(answer) == {"import": "100.00", "export": "0.25"}
    assert [(value.unit, value.obis) for value in answer.values] == [("kWh", "1-0:1.8.0"), ("kWh", "1-0:2.8.0")]
    assert indexes(await bus.read("em")) == {"import": "12345.6", "export": "7.0"}
    assert [(a.unit, a.function, a.address, a.count) for a in peer.asked] == [
        (SDM, 4, 72, 4),
        (EM, 3, 0x5000, 7),
        (EM, 3, 0x34, 2),
        (EM, 3, 0x4E, 2),
    ]
    assert peer.connections == 1


async def test_a_meter_wired_the_other_way_round_gives_import_for_export_under_the_codes_of_its_display(
    bus: MeterBus,
) -> None:
    answer = await bus.read("swapped")
    assert indexes(answer) == {"import": "0.25", "export": "100.00"}
    assert {value.register: value.obis for value in answer.values} == {"import": "1-0:2.8.0", "export": "1-0:1.8.0"}


async def test_a_register_without_a_value_is_told_by_its_name_and_the_other_one_is_read(
    peer: Peer, bus: MeterBus
) -> None:
    peer.put(EM, 3, 0x4E, 0xFFFF, 0x7FFF)
    answer = await bus.read("em")
    assert indexes(answer) == {"import": "12345.6"}
    assert answer.without == (NoValue(register="export", why="not available (0x7fffffff)"),)

    peer.put(SDM, 4, 74, 0x7FC0, 0x0000)
    answer = await bus.read("swapped")
    assert indexes(answer) == {"export": "100.00"}
    assert answer.without == (NoValue(register="import", why="not a number (NaN)"),)


async def test_a_meter_with_the_whole_numbers_of_another_map_is_refused_though_a_register_is_0(
    peer: Peer, bus: MeterBus
) -> None:
    peer.put(SDM, 4, 72, 0x0001, 0xE240, 0x0000, 0x0000)
    with pytest.raises(WrongAnswerError, match=r"unit 5 gives no value for register import: .*another model may be"):
        await bus.read("sdm")


def test_the_tariffs_are_swapped_with_their_totals_and_what_has_no_other_direction_is_refused() -> None:
    assert [swapped(key) for key in ("import", "export-t2", "volume")] == ["export", "import-t2", "volume"]
    with pytest.raises(ValidationError, match="swap needs each import and its export; remove it"):
        MeterSettings(model="itron-cf-echo-2", address=1, swap=True)


async def test_the_raw_answer_can_be_read_again_by_itself(peer: Peer, bus: MeterBus) -> None:
    raw = (await bus.read("sdm")).raw
    assert raw == bytes.fromhex("0001 0000 0006 05 04 0048 0004") + peer.asked[0].answer


async def test_the_serial_number_is_read_and_compared_when_the_settings_name_it(peer: Peer, bus: MeterBus) -> None:
    assert (await bus.read("em-known")).serial == "274123S"
    peer.put(EM, 3, 0x5000, *b"999999X")
    with pytest.raises(WrongAnswerError, match="unit 7 is meter 999999X, the settings say 274123S"):
        await bus.read("em-known")
    peer.put(EM, 3, 0x5000, *bytes(7))
    with pytest.raises(WrongAnswerError, match=r"unit 7 is meter \(no number\), the settings say 274123S"):
        await bus.read("em-known")


async def test_a_late_answer_is_never_taken_for_another_ones(peer: Peer, bus: MeterBus) -> None:
    peer.script = [lambda _: b"", lambda asked: peer.asked[0].answer + asked.answer]
    with pytest.raises(NoAnswerError, match="unit 5 gives no answer"):
        await bus.read("sdm")
    assert indexes(await bus.read("last"))["import"] == "200.00"  # the late answer of unit 5 came first
    assert indexes(await bus.read("sdm"))["import"] == "100.00"


async def test_a_late_answer_of_the_same_meter_is_not_taken_for_a_new_one(peer: Peer, bus: MeterBus) -> None:
    peer.script = [lambda _: b""]
    with pytest.raises(NoAnswerError):
        await bus.read("sdm")
    peer.put(SDM, 4, 72, 0x42CA)  # 101.0
    await peer.send(peer.asked[0].answer)  # 100.0, while nobody waits
    assert indexes(await bus.read("sdm"))["import"] == "101.00"


async def test_a_lost_answer_is_asked_for_again_and_the_late_one_is_not_the_repeats(peer: Peer) -> None:
    """Of the whole time only a small part may pass before: how much is seen in test_pace.py, on a clock of its own."""
    bus = driver.open(BusSettings(host="127.0.0.1", port=peer.port, timeout=10), METERS, LoopClock())
    await bus.read("sdm")  # now the usual latency is known
    peer.put(SDM, 4, 72, 0x42CA)  # 101.0
    peer.script = [lambda _: b"", lambda asked: peer.asked[0].frame(peer.asked[0].right, transaction=2) + asked.answer]
    assert indexes(await bus.read("sdm"))["import"] == "101.00"
    assert len(peer.asked) == 3
    await bus.close()


async def test_a_cancelled_read_leaves_the_next_ones_right(peer: Peer, bus: MeterBus) -> None:
    peer.script = [lambda _: b"", lambda asked: peer.asked[0].answer + asked.answer]
    read = asyncio.create_task(bus.read("sdm"))
    await peer.until_asked(1)
    read.cancel()
    with pytest.raises(asyncio.CancelledError):
        await read
    assert indexes(await bus.read("last"))["import"] == "200.00"
    assert indexes(await bus.read("sdm"))["import"] == "100.00"
    assert peer.connections == 1


async def test_readers_at_the_same_time_take_turns(peer: Peer, bus: MeterBus) -> None:
    answers = await asyncio.gather(*(bus.read(meter) for meter in ("sdm", "last", "em", "sdm", "last")))
    assert [indexes(answer)["import"] for answer in answers] == ["100.00", "200.00", "12345.6", "100.00", "200.00"]
    assert len(peer.asked) == 7


LIES: Mapping[str, tuple[Callable[[Asked], bytes], str]] = {
    "another function": (
        lambda asked: asked.frame(b"\x03" + asked.right[1:]),
        "unit 5 answers function 03 to a read with function 04",
    ),
    "another function's exception": (lambda asked: asked.frame(b"\x83\x02"), "unit 5 answers function 83"),
    "too few registers": (lambda asked: asked.frame(b"\x04\x02\x42\xc8"), "answers 2 bytes .* where 8 were asked"),
    "too many registers": (lambda asked: asked.frame(b"\x04\x0a" + bytes(10)), "answers 10 bytes"),
    "a byte count that lies": (lambda asked: asked.frame(b"\x04\x06" + asked.right[2:]), r"it says 06\) where 8"),
    "a byte too much": (lambda asked: asked.frame(asked.right + b"\x00"), "answers 9 bytes"),
    "another unit": (lambda asked: asked.frame(asked.right, unit=6), "unit 5 is answered for by unit 6"),
    "another transaction": (
        lambda asked: asked.frame(asked.right, transaction=asked.transaction + 77),
        "unit 5 answers with transaction number 78, which nobody asked",
    ),
    "half an answer": (lambda asked: asked.answer[:11], "unit 5 breaks off after 11 bytes of its answer"),
    "half a header": (lambda asked: asked.answer[:3], "breaks off after 3 bytes"),
    "another protocol": (lambda asked: b"\x00\x01\x00\x01" + asked.answer[4:], "no Modbus TCP frame: protocol 1"),
    "an impossible length": (lambda asked: asked.answer[:4] + b"\xff\xff" + asked.answer[6:], "length 65535"),
    "octets that slipped in": (
        lambda asked: asked.answer[:9] + bytes(5) + asked.answer[9:],
        "unit 5 answers with 5 bytes more than its frame",
    ),
    "many octets that slipped in": (
        lambda asked: asked.answer[:9] + bytes.fromhex("0102030405060708") + asked.answer[9:],
        "no Modbus TCP frame",
    ),
    "exception 1": (lambda asked: asked.frame(b"\x84\x01"), r"refuses: exception 1 \(illegal function\)"),
    "exception 4": (lambda asked: asked.frame(b"\x84\x04"), r"refuses: exception 4 \(device failure\)"),
    "an exception without a code": (lambda asked: asked.frame(b"\x84"), "an exception of 1 bytes"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_wrong_answer_is_refused_and_the_next_reads_are_right(peer: Peer, bus: MeterBus, lie: str) -> None:
    reaction, text = LIES[lie]
    peer.script = [reaction]
    with pytest.raises(WrongAnswerError, match=text):
        await bus.read("sdm")
    assert indexes(await bus.read("last"))["import"] == "200.00"
    assert indexes(await bus.read("sdm"))["import"] == "100.00"


@pytest.mark.parametrize(
    ("code", "text"),
    [(6, "device busy"), (10, "gateway path unavailable"), (11, "the device behind the gateway does not respond")],
)
async def test_a_device_that_cannot_answer_now_counts_as_silent(
    peer: Peer, bus: MeterBus, code: int, text: str
) -> None:
    peer.script = [lambda asked: asked.frame(bytes([0x84, code]))]
    with pytest.raises(NoAnswerError, match=f"unit 5 refuses: exception {code} \\({text}\\)"):
        await bus.read("sdm")
    assert indexes(await bus.read("sdm"))["import"] == "100.00"


@pytest.mark.parametrize("code", [2, 3])
async def test_a_refused_block_is_read_in_parts_and_that_is_remembered(peer: Peer, bus: MeterBus, code: int) -> None:
    peer.script = [lambda asked: asked.frame(bytes([0x84, code]))]
    assert indexes(await bus.read("sdm")) == {"import": "100.00", "export": "0.25"}
    assert indexes(await bus.read("sdm")) == {"import": "100.00", "export": "0.25"}
    assert indexes(await bus.read("last")) == {"import": "200.00", "export": "0.25"}
    assert [(a.unit, a.address, a.count) for a in peer.asked] == [
        (SDM, 72, 4),
        (SDM, 72, 2),
        (SDM, 74, 2),
        (SDM, 72, 2),
        (SDM, 74, 2),
        (LAST, 72, 4),
    ]


async def test_a_refusal_is_no_part_of_the_raw_answer(peer: Peer, bus: MeterBus) -> None:
    peer.script = [lambda asked: asked.frame(b"\x84\x02")]
    raw = (await bus.read("sdm")).raw
    assert raw.count(b"\x84\x02") == 0
    assert raw.endswith(peer.asked[2].answer)


async def test_a_single_register_that_is_refused_is_a_wrong_answer(peer: Peer, bus: MeterBus) -> None:
    del peer.words[EM, 3, 0x4E]
    with pytest.raises(WrongAnswerError, match=r"unit 7 refuses: exception 2 \(illegal data address\)"):
        await bus.read("em")


async def test_a_meter_without_any_value_has_no_answer(peer: Peer, bus: MeterBus) -> None:
    for address in (0x34, 0x4E):
        peer.put(EM, 3, address, 0xFFFF, 0x7FFF)
    with pytest.raises(WrongAnswerError, match=r"unit 7 gives no value for register import: not available"):
        await bus.read("em")
    peer.put(SDM, 4, 72, 0x7FC0, 0x0000, 0x7FC0, 0x0000)
    with pytest.raises(WrongAnswerError, match=r"unit 5 gives no value for register import: not a number \(NaN\)"):
        await bus.read("sdm")


async def test_a_peer_that_closes_in_mid_request_is_noticed_without_waiting(peer: Peer) -> None:
    bus = driver.open(BusSettings(host="127.0.0.1", port=peer.port, timeout=10), METERS, LoopClock())
    peer.script = [lambda _: None]
    with pytest.raises(LineDownError, match="the connection was lost"):  # a time-out would be a NoAnswerError
        await bus.read("sdm")
    assert indexes(await bus.read("sdm"))["import"] == "100.00"
    assert peer.connections == 2
    await bus.close()


async def test_the_connection_is_made_again_after_the_peer_was_away(peer: Peer, bus: MeterBus) -> None:
    await bus.read("sdm")
    await peer.stop()
    with pytest.raises(LineDownError, match=f"127.0.0.1:{peer.port}: .*"):
        await bus.read("sdm")
    with pytest.raises(LineDownError, match=r"no connection .*; check the address, the cable and the power"):
        await bus.read("sdm")
    await peer.start()
    assert indexes(await bus.read("sdm"))["import"] == "100.00"


async def test_nobody_at_the_address_is_a_line_that_is_down() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        bus = driver.open(BusSettings(host="127.0.0.1", port=unused.getsockname()[1]), METERS, LoopClock())
        with pytest.raises(LineDownError, match=r"no connection \(.*refused.*\)"):
            await bus.read("sdm")
        await bus.close()


@pytest.mark.parametrize("host", ["..", "x" * 300])
async def test_a_host_that_can_be_no_name_is_a_line_that_is_down(host: str) -> None:
    bus = driver.open(BusSettings(host=host), METERS, LoopClock())
    with pytest.raises(LineDownError, match=r"no connection \(.*\); check the address"):
        await bus.read("sdm")
    await bus.close()


async def test_a_dead_unit_leaves_its_neighbours_and_the_connection_alone(peer: Peer, bus: MeterBus) -> None:
    for _ in range(4):
        with pytest.raises(NoAnswerError, match="unit 9 gives no answer; check its address, its wiring and its power"):
            await bus.read("dead")
        assert indexes(await bus.read("sdm"))["import"] == "100.00"
        assert indexes(await bus.read("em"))["import"] == "12345.6"
    assert peer.connections == 1


async def test_a_connection_that_stays_silent_is_made_anew(peer: Peer, bus: MeterBus) -> None:
    for _ in range(4):
        with pytest.raises(NoAnswerError):
            await bus.read("dead")
    assert peer.connections == 2


async def test_a_meter_that_is_always_late_is_silent_and_its_connection_alive(peer: Peer, bus: MeterBus) -> None:
    peer.script = [lambda _: b"", *[lambda _: peer.asked[-2].answer] * 4]
    for _ in range(5):
        with pytest.raises(NoAnswerError, match="unit 5 gives no answer"):
            await bus.read("sdm")
    assert peer.connections == 1
    assert indexes(await bus.read("sdm"))["import"] == "100.00"


async def test_closing_fails_the_readers_at_once(peer: Peer) -> None:
    bus = driver.open(BusSettings(host="127.0.0.1", port=peer.port, timeout=10), METERS, LoopClock())
    peer.script = [lambda _: b""]
    reads = [asyncio.create_task(bus.read(meter)) for meter in ("sdm", "last")]
    await peer.until_asked(1)
    await bus.close()
    outcomes = await asyncio.gather(*reads, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LineDownError, LineDownError]
    assert len(peer.asked) == 1


async def test_every_field_error_is_one_sentence_about_the_unit(peer: Peer, bus: MeterBus) -> None:
    for reaction, _ in LIES.values():
        peer.script = [reaction]
        with pytest.raises(FieldError) as caught:
            await bus.read("sdm")
        assert str(caught.value).startswith("unit 5 ")
        assert "\n" not in str(caught.value)


async def test_a_device_that_reboots_in_mid_answer_is_read_again_without_a_wrong_value(peer: Peer) -> None:
    bus = driver.open(BusSettings(host="127.0.0.1", port=peer.port, timeout=0.2), METERS, LoopClock())

    peer.script = [lambda asked: Last(asked.answer[:11])]
    with pytest.raises(LineDownError, match="the connection was lost"):
        await bus.read("sdm")
    assert indexes(await bus.read("sdm")) == {"import": "100.00", "export": "0.25"}
    await bus.close()


async def test_a_socket_that_accepts_and_says_nothing_is_told_and_asked_over_few_connections() -> None:
    calls: list[asyncio.StreamWriter] = []

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    bus = driver.open(BusSettings(host="127.0.0.1", port=port, timeout=0.1), METERS, LoopClock())
    for _ in range(6):
        with pytest.raises(NoAnswerError, match="unit 5 gives no answer; check its address, its wiring and its power"):
            await bus.read("sdm")
    assert len(calls) == 2  # made anew after each three silences, and one at a time
    await bus.close()
    server.close()
    for writer in calls:
        writer.close()


async def test_a_gateway_that_accepts_one_socket_is_never_asked_for_a_second(peer: Peer, bus: MeterBus) -> None:
    peer.script = [lambda _: b"", lambda _: None, lambda asked: asked.answer[:5]]
    await asyncio.gather(
        *(bus.read(meter) for meter in ("sdm", "em", "last", "dead", "sdm") * 3), return_exceptions=True
    )
    assert peer.most_at_once == 1
