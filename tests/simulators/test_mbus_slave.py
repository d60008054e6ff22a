"""One slave, frame by frame."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from Crypto.Cipher import AES

from simulators.mbus import (
    FAULTS,
    Bus,
    Captured,
    Chance,
    Fault,
    Frame,
    Listener,
    Slave,
    captured,
    captured_telegrams,
    long_frame,
    records,
    telegrams_of_models,
)

CONFIRM = b"\xe5"
FIRST, SECOND = 0x7B, 0x5B
KINDS = captured_telegrams()
HEAT, WATER = KINDS["itron-cf-55"], KINDS["itron-bm-plus-m"]
KEY = bytes(range(16))
LONGEST = 237
"""octets that leave room for a check, fillers and an extension"""


def slave(*more: Captured) -> Slave:
    return Slave(address=1, captured=HEAT, serial="11127667", more=more)


def ask(meter: Slave, control: int, data: str = "", address: int = 1) -> bytes:
    return meter.hear(Frame(control, address, bytes.fromhex(data)))


def sign(telegram: bytes) -> int:
    """The DIF behind the last record: 0F, or 1F where another telegram follows."""
    return records.split(telegram[19:-2])[1][0]


def test_an_answer_of_two_telegrams_follows_the_fcb_and_starts_over_after_the_last() -> None:
    meter = slave(WATER)
    ask(meter, 0x40)
    one, again, two, over = (ask(meter, control) for control in (FIRST, FIRST, SECOND, FIRST))
    assert again == one
    assert (sign(one), sign(two)) == (0x1F, 0x0F)
    assert two[15] == one[15] + 1
    assert records.split(over[19:-2]) == records.split(one[19:-2])


def test_a_reset_leads_back_to_the_first_telegram_whatever_the_fcb() -> None:
    meter = slave(WATER)
    one = ask(meter, FIRST)
    ask(meter, 0x40)
    assert ask(meter, SECOND)[19:-2] == one[19:-2]


def test_the_selected_address_and_orders_have_fcb_images_of_their_own() -> None:
    meter = slave(WATER)
    one = ask(meter, FIRST)
    ask(meter, 0x53, "51 01fd0801")
    assert ask(meter, FIRST) == one
    meter.hear(Frame(0x53, 253, b"\x52" + meter.secondary()))
    assert sign(ask(meter, FIRST, address=253)) == 0x1F
    assert ask(meter, FIRST) == one


def test_an_order_with_the_same_fcb_is_confirmed_and_not_done_again() -> None:
    meter = slave()
    assert ask(meter, 0x73, "51 017a05") == CONFIRM
    assert meter.address == 5
    assert ask(meter, 0x73, "51 017a06", address=5) == CONFIRM
    assert meter.address == 5
    assert ask(meter, 0x53, "51 017a06", address=5) == CONFIRM
    assert meter.address == 6


def test_a_master_without_fcb_always_gets_the_first_telegram_anew() -> None:
    meter = slave(WATER)
    assert sign(ask(meter, 0x4B)) == sign(ask(meter, 0x4B)) == 0x1F
    assert sign(ask(meter, FIRST)) == 0x0F


def test_clock_and_number_are_set() -> None:
    meter = slave()
    assert ask(meter, 0x43, "51 046d2f0b9811 0c7978563412") == CONFIRM
    assert meter.at == datetime(2012, 1, 24, 11, 47, tzinfo=UTC)
    assert ask(meter, FIRST)[7:11] == bytes.fromhex("78563412")


def test_a_readout_selection_leaves_the_chosen_records_until_a_reset() -> None:
    meter = slave()
    whole = ask(meter, FIRST)
    ask(meter, 0x43, "51 0816")
    chosen = ask(meter, SECOND)
    assert [record.vib for record in records.split(chosen[19:-2])[0]] == [b"\x16"]
    ask(meter, 0x43, "50")
    assert len(ask(meter, FIRST)) == len(whole)
    ask(meter, 0x43, "51 0816")
    ask(meter, 0x43, "51 7f")
    assert len(ask(meter, SECOND)) == len(whole)


def test_an_application_reset_chooses_the_telegrams_by_its_sub_code() -> None:
    meter = slave(WATER)
    meter.readouts = {2: (WATER,)}
    assert ask(meter, 0x43, "50 20") == CONFIRM
    assert len(ask(meter, FIRST)) == len(WATER.raw)
    ask(meter, 0x43, "50 02")
    assert sign(ask(meter, FIRST)) == 0x0F
    ask(meter, 0x43, "50")
    assert sign(ask(meter, FIRST)) == 0x1F


def test_class_1_data_are_an_alarm_or_none() -> None:
    meter = slave()
    assert ask(meter, 0x7A) == CONFIRM
    meter.alarm = 4
    assert ask(meter, 0x5A) == long_frame(0x08, 1, bytes.fromhex("7104"))


def test_what_no_master_sends_is_not_answered() -> None:
    assert ask(slave(), 0x08, "72") == ask(slave(), 0x44) == b""


@pytest.mark.parametrize("mode", [5, 7])
@pytest.mark.parametrize("kind", [name for name, kind in telegrams_of_models().items() if len(kind.raw) <= LONGEST])
def test_an_encrypted_answer_holds_the_records_under_its_key(mode: int, kind: str) -> None:
    plain = Slave(address=1, captured=telegrams_of_models()[kind], serial="12345678")
    hidden = Slave(address=1, captured=plain.captured, serial="12345678", key=KEY, mode=5 if mode == 5 else 7)
    clear, told = ask(plain, FIRST), ask(hidden, FIRST)
    assert told[7:17] == clear[7:17]
    assert (told[18], told[17] & 0x0F) == (mode, 0)
    start, size = 19 + (mode == 7), 16 * (told[17] >> 4)
    vector = told[11:13] + told[7:11] + told[13:15] + told[15:16] * 8 if mode == 5 else bytes(16)
    found = AES.new(KEY, AES.MODE_CBC, vector).decrypt(told[start : start + size]) + told[start + size : -2]
    assert found.rstrip(b"\x2f") == (b"\x2f\x2f" + clear[19:-2]).rstrip(b"\x2f")
    assert told[-2] == sum(told[4:-2]) % 256


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_leaves_the_answer_as_it_was(fault: Fault) -> None:
    meter = slave()
    meter.fault = fault
    good = slave()
    spoilt, whole = ask(meter, FIRST), ask(good, FIRST)
    assert (spoilt, meter.delay) != (whole, good.delay)
    meter.fault = None
    assert (ask(meter, FIRST) == whole) == (fault != "more_follows")
    assert meter.delay == 0


def test_a_telegram_of_somebody_else_is_a_good_one() -> None:
    meter, ear = slave(), Listener()
    for fault in ("wrong_address", "wrong_number", "busy", "more_follows"):
        meter.fault = fault
        meter.reset()
        assert [ear.feed(octet) is not None for octet in ask(meter, FIRST)][-1]


def test_every_announced_telegram_is_another_one() -> None:
    meter = slave()
    meter.fault = "more_follows"
    found = [ask(meter, FIRST if turn % 2 else SECOND) for turn in range(20)]
    assert len({each[19:] for each in found}) == 20
    assert all(sign(each) == 0x1F for each in found)


def test_a_late_answer_comes_into_the_next_request() -> None:
    meter = slave()
    bus = Bus([meter])
    meter.fault, meter.late = "late", 1.0
    bus.send(b"\x10\x40\x01\x41\x16", 0.0)
    assert bus.take(0.9) == b""
    assert bus.take(1.2) == CONFIRM


def test_chance_repeats_with_its_seed_and_keeps_to_its_shares() -> None:
    drawn = [Chance(7, {"silence": 0.2, "noise": 0.1}) for _ in range(2)]
    faults = [[chance() for _ in range(2000)] for chance in drawn]
    assert faults[0] == faults[1] == drawn[0].drawn
    assert 300 < faults[0].count("silence") < 500
    assert 100 < faults[0].count("noise") < 300


def test_a_slave_follows_the_draw_of_each_answer() -> None:
    meter = slave()
    meter.chance = Chance(1, {"silence": 0.5})
    answers = [ask(meter, 0x40) for _ in range(50)]
    assert [answer == b"" for answer in answers] == [fault == "silence" for fault in meter.chance.drawn]
    assert len(set(answers)) == 2


def test_every_captured_telegram_splits_into_its_records_without_rest() -> None:
    for kind in telegrams_of_models().values():
        found, rest = records.split(kind.raw[19:-2])
        assert kind.raw[19:-2].strip(b"\x2f") == b"".join(record.octets for record in found) + rest


def test_a_fixed_or_a_missing_header_has_the_secondary_address_that_it_names() -> None:
    fixed = captured(bytes.fromhex("6813136808057378563412 0a00e97e01000000 3501000 03c16".replace(" ", "")))
    meter = Slave(address=5, captured=fixed, serial="12345678")
    assert meter.secondary() == bytes.fromhex("78563412")
    assert meter.hear(Frame(0x53, 253, b"\x52\x78\x56\x34\xf2" + b"\xff" * 4)) == CONFIRM
    assert meter.hear(Frame(0x53, 253, b"\x52\x78\x56\x34\xf2\xff\xff\xff\x02")) == b""
    bare = Slave(address=5, captured=captured(long_frame(8, 5, bytes.fromhex("780413010000 00"))), serial="1")
    assert bare.hear(Frame(0x53, 253, b"\x52" + b"\xff" * 8)) == b""


def test_garbage_before_and_between_requests_is_passed_over() -> None:
    chance, ear = random.Random(3), Listener()
    frames = [b"\x10\x40\x01\x41\x16", long_frame(0x53, 253, b"\x52" + b"\xff" * 8)]
    heard = [
        ear.feed(octet)
        for _ in range(200)
        for octet in bytes(chance.choice((0x00, 0x16, 0xE5, 0xFF)) for _ in range(chance.randrange(9)))
        + chance.choice(frames)
    ]
    assert len([frame for frame in heard if frame is not None]) == 200
