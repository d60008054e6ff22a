"""The bus without an event loop: who answers, when, and what is left of it when several do."""

from __future__ import annotations

import pytest

from simulators.mbus import Bus, Slave, captured_telegrams, long_frame, short_frame
from simulators.mbus.current_loop import Talk, overlay

CONFIRM = b"\xe5"
BAUD = 2400
BIT = 1 / BAUD
OCTET = 11 * BIT
ANYONE = bytes.fromhex("ffffffffffffffff")
HEAT, WATER = "11127667", "10020380"


def slaves() -> list[Slave]:
    kinds = captured_telegrams()
    heat = Slave(address=1, captured=kinds["itron-cf-55"], serial=HEAT)
    water = Slave(address=2, captured=kinds["itron-cyble-cold-water"], serial=WATER, lag=3.4 * BIT)
    return [heat, water]


class Master:
    """Asks and takes all that comes of it; time is what it says it is."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.now = 100.0

    def ask(self, octets: bytes) -> bytes:
        self.bus.send(octets, self.now)
        self.now += 60
        return self.bus.take(self.now)

    def select(self, mask: bytes, ci: int = 0x52) -> bytes:
        return self.ask(long_frame(0x53, 253, bytes([ci]) + mask))

    def read(self, address: int = 253, *, fcb: bool = True) -> bytes:
        return self.ask(short_frame(0x7B if fcb else 0x5B, address))


@pytest.fixture
def master() -> Master:
    return Master(Bus(slaves(), baud=BAUD))


def test_an_answer_begins_after_the_request_and_the_turnaround_and_comes_octet_by_octet(master: Master) -> None:
    bus = master.bus
    bus.turnaround = 0.1
    bus.send(short_frame(0x40, 1), 7.0)
    due = bus.due(0.0)
    assert due == pytest.approx(7.0 + 5 * OCTET + 0.1 + OCTET)
    assert due is not None
    assert bus.take(due - BIT) == b""
    assert bus.take(due) == CONFIRM
    bus.send(short_frame(0x7B, 1), 8.0)
    for count in range(83):
        due = bus.due(0.0)
        assert due == pytest.approx(8.0 + 5 * OCTET + 0.1 + (count + 1) * OCTET)
        assert due is not None
        assert len(bus.take(due)) == 1
    assert bus.due(0.0) is None


def test_a_request_handed_over_in_parts_goes_out_in_one_stream(master: Master) -> None:
    request = short_frame(0x40, 1)
    master.bus.send(request[:2], 7.0)
    master.bus.send(request[2:], 7.0)
    assert master.bus.due(0.0) == pytest.approx(7.0 + 5 * OCTET + 11 * BIT + OCTET)


def test_octets_that_are_due_within_the_grain_are_one_group(master: Master) -> None:
    master.bus.send(short_frame(0x7B, 1), 0.0)
    first = master.bus.due(0.0)
    assert first is not None
    assert master.bus.due(3.5 * OCTET) == pytest.approx(first + 3 * OCTET)


def test_a_selected_slave_answers_at_253_until_it_is_deselected(master: Master) -> None:
    heat = master.bus.slaves[1]
    assert master.read() == b""
    assert master.select(heat.secondary()) == CONFIRM
    assert master.read()[7:15] == heat.secondary()
    assert master.ask(short_frame(0x40, 253)) == CONFIRM
    assert master.read() == b""


@pytest.mark.parametrize(
    ("mask", "matching"),
    [
        ("ffffff11 ffff ffff", HEAT),
        ("ffffff10 ffff ffff", WATER),
        ("6f7fffff ffff ffff", HEAT),
        ("67761211 ffff ffff", HEAT),
        ("67761212 ffff ffff", None),
        ("ffffffff ffff ff0c", HEAT),
        ("ffffffff ffff ff16", WATER),
        ("ffffffff ffff 14ff", WATER),
        ("ffffff11 7704 ffff", HEAT),
        ("ffffff11 7705 ffff", None),
        ("ffffff11 ff04 ffff", None),
    ],
)
def test_wildcards_stand_for_digits_and_for_whole_fields(master: Master, mask: str, matching: str | None) -> None:
    assert master.select(bytes.fromhex(mask)) == (CONFIRM if matching else b"")
    assert [slave.serial for slave in master.bus.slaves.values() if slave.selected] == [matching] * bool(matching)


def test_a_selection_in_mode_2_has_the_high_bytes_first(master: Master) -> None:
    assert master.select(bytes.fromhex("11127667 0477 0b0c"), 0x56) == CONFIRM
    assert master.read()[7:11] == bytes.fromhex("67761211")


def test_a_fabrication_number_selects_those_that_have_one(master: Master) -> None:
    assert master.select(ANYONE + bytes.fromhex("0c78 800302f0")) == CONFIRM
    assert master.read()[7:11] == bytes.fromhex("80030210")
    assert master.select(ANYONE + bytes.fromhex("0c78 800303f0")) == b""


def test_each_selection_wakes_everybody_and_a_read_only_its_meter(master: Master) -> None:
    heat, water = master.bus.slaves.values()
    master.select(heat.secondary())
    master.read()
    master.read(2)
    master.read(2)
    assert (heat.wakes, water.wakes) == (2, 3)
    assert (heat.heard["selection"], heat.heard["read"]) == (1, 1)


def test_slaves_that_answer_at_once_leave_octets_that_nobody_sent(master: Master) -> None:
    heat, water = master.bus.slaves.values()
    found = master.read(254)
    assert found not in {heat.telegram(), water.telegram()}
    assert len(found) > 10


def test_two_confirmations_within_half_a_bit_are_one_and_else_they_are_none(master: Master) -> None:
    master.bus.slaves[2].lag = 0.3 * BIT
    assert master.select(ANYONE) == CONFIRM
    master.bus.slaves[2].lag = 3.4 * BIT
    assert master.select(ANYONE) != CONFIRM


def test_a_single_talker_is_received_as_it_talks() -> None:
    octets = bytes(range(256))
    talk = Talk(start=5.0, octets=octets, bit=BIT)
    assert [octet for _, octet in overlay([talk], BIT)] == list(octets)
    assert [at for at, _ in overlay([talk], BIT)] == pytest.approx([at for at, _ in talk.arrivals()])


def test_a_space_of_any_talker_is_a_space() -> None:
    one, other = (Talk(start=0.0, octets=octets, bit=BIT) for octets in (b"\x3f", b"\xfc"))
    assert [octet for _, octet in overlay([one, other], BIT)] == [0x3C]


def test_an_octet_with_a_wrong_parity_is_lost() -> None:
    one, other = (Talk(start=0.0, octets=octets, bit=BIT) for octets in (b"\x01", b"\x03"))
    assert overlay([one, other], BIT) == []


def test_who_listens_at_another_speed_hears_nothing_and_a_change_holds_after_the_old_one_was_confirmed(
    master: Master,
) -> None:
    heat = master.bus.slaves[1]
    assert master.ask(long_frame(0x53, 1, b"\xbd")) == CONFIRM
    assert master.read(1) == b""
    master.bus.baud = 9600
    assert master.read(1) == heat.telegram()


def test_nobody_answers_a_broadcast(master: Master) -> None:
    del master.bus.slaves[2]  # two answers would extinguish each other
    assert master.ask(short_frame(0x40, 255)) == b""
    assert master.bus.slaves[1].heard["reset"] == 1


def test_slaves_of_one_address_are_all_there() -> None:
    bus = Bus([Slave(address=0, captured=each.captured, serial=each.serial) for each in slaves()])
    assert [slave.serial for slave in bus.slaves.values()] == [HEAT, WATER]
