"""Whatever the gateway gets wrong in the demo's month, the verdict says it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from simulators import pricing, truth, verdict
from simulators.laundry import CYCLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulators.laundry import Wash

SONNENHOF = truth.load(Path(truth.__file__).parent / "buildings" / "sonnenhof")
OCTOBER, NOVEMBER, DECEMBER = (SONNENHOF.midnight(date(2026, number, 1)) for number in (10, 11, 12))
TAPS = [(wash, wash.lamp) for wash in SONNENHOF.washes]
WASHED = {wash.register for wash in SONNENHOF.washes}
OTHER = {"green": "red", "red": "green"}


def charge(line: pricing.Line) -> dict[str, Any]:
    """What a gateway that makes no mistake sends for a line of a statement."""
    register = line.register.removesuffix(CYCLES)
    units = {counter.register: counter.unit for device in SONNENHOF.devices for counter in device.counters}
    cycle = register != line.register
    return {
        "charge_id": f"{line.place}/{line.register}/{line.start.isoformat()}",
        "period": {"from": line.start.isoformat()},
        "payer": {"id": line.payer},
        "register": register,
        "component": "cycle" if cycle else "energy",
        "quantity": str(Decimal(line.quantity * SONNENHOF.quantum).scaleb(-3)),
        "unit": "cycle" if cycle else units[register],
        "amount": str(Decimal(line.amount).scaleb(-2)),
        "currency": SONNENHOF.currency,
        "session": {"id": line.start.isoformat()} if line.register.removesuffix(CYCLES) in WASHED else None,
    }


@pytest.fixture(scope="module")
def right() -> list[dict[str, Any]]:
    """All charges of October as they must be."""
    return [charge(line) for line in pricing.month(SONNENHOF, OCTOBER, NOVEMBER)]


def differences(charges: Sequence[dict[str, Any]], taps: Sequence[tuple[Wash, str]] = TAPS) -> tuple[str, ...]:
    return verdict.judge(SONNENHOF, OCTOBER, NOVEMBER, charges, taps).differences


def test_a_month_in_which_all_is_right_has_no_differences(right: list[dict[str, Any]]) -> None:
    assert differences(right) == ()


@pytest.mark.parametrize("number", range(len(TAPS)))
def test_a_lamp_that_is_wrong_is_told_even_where_every_charge_is_right(
    right: list[dict[str, Any]], number: int
) -> None:
    wash, lamp = TAPS[number]
    taps = [*TAPS[:number], (wash, OTHER[lamp]), *TAPS[number + 1 :]]
    assert differences(right, taps) == (f"The reader of {wash.machine} showed {OTHER[lamp]} where {lamp} is right.",)


def test_both_lamps_are_right_somewhere_in_the_month() -> None:
    assert {lamp for _, lamp in TAPS} == {"green", "red"}


def test_a_lamp_is_told_in_its_own_month(right: list[dict[str, Any]]) -> None:
    wash, lamp = TAPS[0]
    later = verdict.judge(SONNENHOF, NOVEMBER, DECEMBER, right, [(wash, OTHER[lamp])])
    assert not any("The reader" in each for each in later.differences)


def test_a_missing_charge_a_hundredth_too_much_and_another_currency_are_told(right: list[dict[str, Any]]) -> None:
    first, *rest = right
    payer, dearer = first["payer"]["id"], Decimal(first["amount"]) + Decimal("0.01")
    assert any(each.startswith(f"{payer}, {first['register']}: expected ") for each in differences(rest))
    assert [each.split(":")[0] for each in differences([{**first, "amount": str(dearer)}, *rest])] == [payer]
    assert [each.split(" is in ")[0] for each in differences([{**first, "currency": "EUR"}, *rest])] == [
        f"charge {first['charge_id']}"
    ]


def test_a_month_of_which_only_washes_were_charged_is_not_closed(right: list[dict[str, Any]]) -> None:
    washes = [each for each in right if each["session"] is not None]
    assert washes
    assert not verdict.judge(SONNENHOF, OCTOBER, NOVEMBER, washes, TAPS).closed
    assert verdict.judge(SONNENHOF, OCTOBER, NOVEMBER, right, TAPS).closed


def test_a_revision_and_what_it_takes_back_add_up(right: list[dict[str, Any]]) -> None:
    first = right[0]
    back = {**first, "quantity": str(-Decimal(first["quantity"])), "amount": str(-Decimal(first["amount"]))}
    assert differences([*right, back, first]) == ()
    assert differences([*right, back]) != ()
