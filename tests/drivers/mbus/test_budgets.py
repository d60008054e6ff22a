"""What the meters of a line may be read in a day, by what their models and their addresses say."""

from __future__ import annotations

from datetime import timedelta

import pytest

from drivers.mbus.driver import MBusDriver
from drivers.mbus.settings import MeterSettings
from gateway.service.battery import Battery, Budget, budgets

HEAT, POWER = "sensus-pollustat", "emu-professional-375"
QUARTER, HOUR = timedelta(minutes=15), timedelta(hours=1)
Wiring = dict[str, MeterSettings]


def by_address(name: str, model: str, count: int = 1) -> Wiring:
    return {f"{name}-{no}": MeterSettings(model=model, address=no) for no in range(1, count + 1)}


def selected(name: str, model: str, count: int = 1) -> Wiring:
    return {f"{name}-{no}": MeterSettings(model=model, secondary=f"{no:08}") for no in range(1, count + 1)}


def test_a_meter_with_a_battery_is_read_hourly_and_one_at_the_mains_as_the_line_says() -> None:
    found = budgets(MBusDriver(), QUARTER, by_address("heat", HEAT) | by_address("power", POWER))
    assert found == {"heat-1": Budget(reads=24, bears=300)}
    assert Battery(QUARTER, found["heat-1"]).every == HOUR
    assert Battery(4 * HOUR, budgets(MBusDriver(), 4 * HOUR, by_address("heat", HEAT))["heat-1"]).every == 4 * HOUR


@pytest.mark.parametrize(
    ("meters", "every"),
    [
        (selected("heat", HEAT), {"heat-1": HOUR}),
        (selected("heat", HEAT, 3), dict.fromkeys(("heat-1", "heat-2", "heat-3"), HOUR)),
        (selected("heat", HEAT, 250), {f"heat-{no}": 5 * QUARTER for no in range(1, 251)}),
        (by_address("heat", HEAT) | selected("power", POWER), {"heat-1": HOUR, "power-1": QUARTER}),
        (
            by_address("heat", HEAT) | selected("power", POWER, 60),
            {"heat-1": HOUR} | {f"power-{no}": 2 * QUARTER for no in range(1, 61)},
        ),
        (selected("power", POWER, 60), {}),
    ],
    ids=["one", "three", "a full line", "one at the mains", "sixty at the mains", "no battery"],
)
def test_selections_of_all_meters_together_are_what_the_batteries_of_the_line_bear(
    meters: Wiring, every: dict[str, timedelta]
) -> None:
    found = budgets(MBusDriver(), QUARTER, meters)
    assert {meter: Battery(QUARTER, budget).every for meter, budget in found.items()} == every
    selections = [-(-24 * HOUR // every[meter]) for meter in every if meters[meter].address is None]
    assert sum(selections) <= 90 * 60  # the makers' figure is that of a line of 60
