"""What words say about the model that they come from."""

from __future__ import annotations

import random
import re
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from drivers.modbus import driver
from drivers.modbus.model import meter_models
from drivers.modbus.recognise import _IDENTITY_BITS, Fit, _fixed_bits, fit, verdict
from drivers.modbus.settings import BusSettings
from gateway.core.units import Scaled
from gateway.ports.field import Device, ScanOrder
from simulators.modbus import Device as Answerer
from simulators.modbus import Line, Unit, layouts_of_models, refusal

if TYPE_CHECKING:
    from drivers.modbus.model import ModbusRegister

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


def one(name: str, values: dict[str, int], *, bits: float, missing: tuple[str, ...] = (), identity: str = "") -> Fit:
    scaled = {key: Scaled(value, 0) for key, value in values.items()}
    return Fit(name=name, values=scaled, missing=missing, identity=identity, bits=bits, told="so much")


def test_of_models_that_fit_equally_that_of_most_registers_is_proposed_and_the_others_are_named() -> None:
    few, more = one("few", {"import": 7}, bits=8), one("more", {"import": 7, "export": 0}, bits=8)
    less = one("less", {"import": 7}, bits=8, missing=("export",))

    for fits in ([few, more, less], [less, more, few]):
        judged = verdict(fits)
        assert (judged.model, judged.sure, set(judged.alike)) == ("more", "likely", {"few", "less"})
    assert (verdict([less, few]).model, verdict([less, few]).alike) == ("few", ("less",))


@pytest.mark.parametrize(
    ("first", "second", "is_alike"),
    [("7712.34", "7712.61", True), ("7712.34", "7719.34", False), ("0.35", "0.035", False), ("0", "0.2", False)],
)
def test_a_counter_may_have_gone_on_between_the_reads_of_two_models(first: str, second: str, *, is_alike: bool) -> None:
    fits = [
        replace(one(name, {}, bits=8), values={"import": Scaled.parse(index)})
        for name, index in (("a", first), ("b", second))
    ]

    assert (verdict(fits).model is not None) == is_alike


def test_a_likelier_model_with_fewer_registers_is_proposed_alone() -> None:
    judged = verdict([one("likely", {"import": 7}, bits=8), one("chance", {"import": 7, "export": 0}, bits=5)])

    assert (judged.model, judged.alike) == ("likely", ())


def test_no_fingerprint_is_certain_and_the_makers_words_beat_any() -> None:
    by_chance = one("by-chance", {"import": 7, "export": 8}, bits=99)

    assert verdict([by_chance]).sure == "likely"
    judged = verdict([by_chance, one("named", {"import": 70}, bits=20, identity="type is B23")])
    assert (judged.model, judged.sure) == ("named", "certain")


def test_models_of_which_too_little_is_seen_are_all_named() -> None:
    judged = verdict([one("a", {"import": 0}, bits=0), one("b", {"import": 0}, bits=0)])

    assert (judged.model, judged.sure) == (None, "possible")
    assert judged.why.startswith("fits a, b, but says too little to tell")


KINDS = layouts_of_models()
CERTAIN = {name for name, model in MODELS.items() if sum(map(_fixed_bits, model.identify)) >= _IDENTITY_BITS}


class Away(Answerer):
    """What a gateway says for a unit that is not there."""

    def answer(self, request: bytes) -> bytes:
        return refusal(request[0], 11)


async def proposed(kind: str, counts: dict[str, int]) -> Device:
    """What a search says of a meter of this kind."""
    line = Line([Unit(address=1, layout=KINDS[kind], counts=counts), Away(address=247)])
    bus = BusSettings(host="127.0.0.1", port=await line.start())
    async with aclosing(driver.scan(bus, ScanOrder(units=(1,)))) as found:
        device = await anext(found)
    await line.close()
    assert isinstance(device, Device)
    return device


def some_counts(kind: str, seed: int) -> dict[str, int]:
    """A few years' worth; tariffs add up to their total, which is the first counter of theirs."""
    chance = random.Random(f"{kind} {seed}")
    counts = {key: chance.randrange(50_000, 2_000_000) for key in KINDS[kind].counters}
    sums = {total: sum(counts[key] for key in counts if key.startswith(f"{total}-t")) for total in counts}
    return {key: sums[key] or count for key, count in counts.items()}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_every_model_is_proposed_or_named_for_its_own_meter_and_certain_by_its_maker_s_words(
    kind: str, seed: int
) -> None:
    device = await proposed(kind, some_counts(kind, seed))

    facts = device.facts
    named = f"{facts['model']}, {facts['alike']}".split(", ")
    in_words = re.findall(r"[a-z0-9-]+", str(facts["why"]))
    assert kind in (named if facts["model"] else in_words)
    assert (facts["sure"] == "certain") == (kind in CERTAIN)
    assert device.wiring.get("model") == facts["model"]
    if facts["model"] is not None:
        assert {_form(each) for each in MODELS[str(facts["model"])].registers} >= {
            _form(each) for each in MODELS[kind].registers
        }, "what it reads differently is no proposal"


def _form(register: ModbusRegister) -> tuple[object, ...]:
    return register.span, register.order, register.type, register.scale
