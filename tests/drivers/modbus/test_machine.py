"""A relay on a Modbus line beside its meters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from drivers.modbus import driver
from drivers.modbus.machine import driver as coils
from gateway.clock import SystemClock
from gateway.ports.field import LineDownError, Machine, MeterBus, NoAnswerError, WrongAnswerError
from simulators import modbus
from simulators.relay import Relay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def line() -> AsyncIterator[modbus.Line]:
    meter = modbus.Unit(address=1, layout=modbus.layouts()["eastron-sdm630"], counts={"import": 1234})
    line = modbus.Line([meter, Relay(address=9)])
    yield line
    await line.close()


def relay_of(line: modbus.Line) -> Relay:
    relay = line.units[9]
    assert isinstance(relay, Relay)
    return relay


@pytest.fixture
async def bus(line: modbus.Line) -> AsyncIterator[MeterBus]:
    port = await line.start()
    settings = driver.bus_schema.model_validate({"host": "127.0.0.1", "port": port, "timeout": 0.2})
    meter = driver.meter_schema.model_validate({"model": "eastron-sdm630", "address": 1})
    bus = driver.open(settings, {"m": meter}, SystemClock())
    yield bus
    await bus.close()


def coil(bus: MeterBus, number: int = 0) -> Machine:
    return coils.open(coils.schema.model_validate({"address": 9, "coil": number}), bus)


async def test_the_relay_is_switched_and_read_back_between_reads_of_the_meter(line: modbus.Line, bus: MeterBus) -> None:
    machine = coil(bus)
    assert not await machine.is_on()
    await machine.switch(on=True)
    assert relay_of(line).on
    assert str((await bus.read("m")).values[0].index) == "12.34"
    assert await machine.is_on()
    await machine.switch(on=False)
    assert not await machine.is_on()


async def test_a_relay_that_does_not_move_is_seen(line: modbus.Line, bus: MeterBus) -> None:
    relay_of(line).stuck = True
    machine = coil(bus)
    await machine.switch(on=True)
    assert not await machine.is_on()


async def test_refusal_and_silence_are_told_with_the_unit(line: modbus.Line, bus: MeterBus) -> None:
    with pytest.raises(WrongAnswerError, match="relay unit 9 refuses its coil: exception 02"):
        await coil(bus, 1).switch(on=True)
    relay_of(line).fault = "silence"
    with pytest.raises(NoAnswerError, match="relay unit 9"):
        await coil(bus).is_on()
    await line.close()
    with pytest.raises(LineDownError):
        await coil(bus).is_on()


async def test_an_answer_that_is_no_coil_is_refused(
    line: modbus.Line, bus: MeterBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    for answer in (b"\x01\x01\x02", b"\x01\x02\x00\x00", b"\x02\x01\x01", b"\x01"):
        monkeypatch.setattr(Relay, "answer", lambda _, __, answer=answer: answer)
        with pytest.raises(WrongAnswerError):
            await coil(bus).is_on()
    monkeypatch.setattr(Relay, "answer", lambda _, request: request[:3] + b"\x00\x00")
    with pytest.raises(WrongAnswerError, match="does not repeat"):
        await coil(bus).switch(on=True)
    assert not relay_of(line).on
