"""What words say about the model that they come from."""

from __future__ import annotations

import pytest

from drivers.modbus.model import meter_models
from drivers.modbus.recognise import Fit, fit, verdict

MODELS = meter_models()


def words(model: str, **values: tuple[int, ...]) -> dict:  # type: ignore[type-arg]
    """Of each register; what is not named holds nothing."""
    spans = {register.key: register.span for register in MODELS[model].registers}
    return {span: values.get(key.replace("-", "_"), (0,) * span.words) for key, span in spans.items()}


def fitted(model: str, first: tuple[int, ...], second: tuple[int, ...] | None = None) -> Fit | None:
    return fit(model, MODELS[model], words(model, **{"import": first}), words(model, **{"import": second or first}))


def test_a_counter_that_goes_on_fits() -> None:
    found = fitted("carlo-gavazzi-em340", (1000, 2), (1001, 2))

    assert found is not None
    assert str(found.values["import"]) == "13207.2"


@pytest.mark.parametrize(
    ("model", "first", "second"),
    [
        ("carlo-gavazzi-em340", (1000, 2), (999, 2)),  # falls
        ("carlo-gavazzi-em340", (1000, 2), (2001, 2)),  # 100.1 kWh within seconds
        ("carlo-gavazzi-em340", (0, 0x04D2), None),  # 8 million kWh, and nothing in the low word
        ("carlo-gavazzi-em340", (0xFFFF, 0xFFFF), None),  # -0.1 kWh
        ("carlo-gavazzi-em340", (1, 0x2000), None),  # 54 million kWh
        ("eastron-sdm630", (0x0000, 0x449A), None),  # 1234 in the other order: 2.5e-41
        ("eastron-sdm630", (0x7FC0, 0x0000), None),  # not a number
    ],
)
def test_what_no_counter_says_fits_nothing(model: str, first: tuple[int, ...], second: tuple[int, ...] | None) -> None:
    assert fitted(model, first, second) is None


def test_a_register_without_value_is_said_and_leaves_doubt() -> None:
    nothing = (0xFFFF, 0x7FFF)
    first = words("carlo-gavazzi-em340", **{"import": (1000, 2), "export": nothing})
    found = fit("carlo-gavazzi-em340", MODELS["carlo-gavazzi-em340"], first, first)
    assert found is not None

    judged = verdict([found])

    assert (judged.model, judged.sure) == (None, "possible")
    assert "no value in export" in judged.why


def test_two_models_that_read_it_differently_leave_it_open() -> None:
    one, other = fitted("carlo-gavazzi-em340", (1000, 2)), fitted("carlo-gavazzi-em340", (2000, 2))
    assert one is not None
    assert other is not None

    judged = verdict([one, other])

    assert (judged.model, judged.sure) == (None, "possible")
    assert "read it differently" in judged.why


def test_tariffs_that_add_up_to_their_total_make_it_likely() -> None:
    told = {"import": (0x42C8, 0), "import_t1": (0x4248, 0), "import_t2": (0x4248, 0)}  # 100 = 50 + 50
    adds_up, does_not = words("inepro-pro380", **told), words("inepro-pro380", **{**told, "import_t2": (0x4240, 0)})
    model = MODELS["inepro-pro380"]
    whole, part = fit("inepro-pro380", model, adds_up, adds_up), fit("inepro-pro380", model, does_not, does_not)

    assert whole is not None
    assert part is not None
    assert whole.bits > part.bits + 7
