"""Every fault of the bench, in a smaller number: none gives a wrong value, and the same line fools another client."""

from __future__ import annotations

import pytest

from benches.modbus_probes import FRAMINGS, Framing, wrong

EACH = 60


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("seed", [1, 2])
def test_no_fault_gives_a_wrong_value(framing: Framing, seed: int) -> None:
    wrongs, rights = wrong(framing, EACH, seed=seed)
    assert wrongs == 0
    assert rights >= 2 * EACH  # both registers, wherever nothing happened


@pytest.mark.parametrize("framing", FRAMINGS)
def test_the_faults_are_of_the_kind_that_gives_wrong_values(framing: Framing) -> None:
    wrongs, _ = wrong(framing, EACH, retries=0)
    assert wrongs > EACH / 2
