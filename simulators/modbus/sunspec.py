"""Meters that describe themselves: SunSpec models 201-204 (integers with a scale factor) and 211-214 (float32).

The chain as in the SunSpec Device Information Model Specification: "SunS", then models with number and length, then
FFFF. Model 1 is the common one with make, type and serial number.
"""

from __future__ import annotations

from simulators.modbus.layouts import Counter, Layout, SerialNumber

INTEGERS, FLOATS = (201, 202, 203, 204), (211, 212, 213, 214)
BASE = 40000
"""the usual one; 50000 and 0 are the others"""
_HOLDING = 3
_COMMON, _COMMON_LENGTH = 1, 66
_SERIAL = 50
"""offset of SN in the common model from its number on: Mn and Md have 16 words, Opt and Vr 8"""
_EXPORT, _IMPORT, _SCALE, _INTEGER_LENGTH = 38, 46, 54, 105
_FLOAT_EXPORT, _FLOAT_IMPORT, _FLOAT_LENGTH = 60, 68, 124
"""offsets of TotWhExp, TotWhImp and TotWh_SF in a meter model from its number on, and its length behind the head"""
_NO_NUMBER, _NO_FLOAT, _END = 0x8000, (0x7FC0, 0x0000), 0xFFFF


def sunspec(*models: int, base: int = BASE, scale: int = 0) -> Layout:
    """A meter with these meter models, counters `import` and `export`, of the second `import-2` and so on.

    A count is 10**`scale` Wh (`scale` is TotWh_SF), of the float models 1 Wh. Change `image` for what no meter should
    say: a length, the end, the marker.
    """
    words = [*_text("SunS", 2), _COMMON, _COMMON_LENGTH]
    for text, size in (("Simulated", 16), ("Meter", 16), ("", 8), ("1.0", 8), ("0000001", 16)):
        words += _text(text, size)
    words += [1, _NO_NUMBER]
    counters: dict[str, Counter] = {}
    for number, model in enumerate(models, start=1):
        start, suffix = base + len(words), "" if number == 1 else f"-{number}"
        is_float = model in FLOATS
        places = (_FLOAT_IMPORT, _FLOAT_EXPORT) if is_float else (_IMPORT, _EXPORT)
        for key, offset in zip(("import", "export"), places, strict=True):
            counters[key + suffix] = _counter(start + offset, scale, is_float=is_float)
        words += _float_model(model) if is_float else _integer_model(model, scale)
    words += [_END, 0]
    return Layout(
        counters=counters,
        image={(_HOLDING, base + n): word for n, word in enumerate(words)},
        serial=SerialNumber(function=_HOLDING, address=base + 2 + _SERIAL, words=16, form="text"),
    )


def _counter(address: int, scale: int, *, is_float: bool) -> Counter:
    step = "0.001" if is_float else f"1e{scale - 3}"
    return Counter(
        function=_HOLDING,
        address=address,
        type="float32" if is_float else "u32",
        step=step,
        scale=step,
        unit="kWh",
        absent=_NO_FLOAT[0] << 16 if is_float else 0,
    )


def _integer_model(model: int, scale: int) -> list[int]:
    words = [model, _INTEGER_LENGTH, *[_NO_NUMBER] * _INTEGER_LENGTH]
    words[_EXPORT:_SCALE] = [0] * (_SCALE - _EXPORT)
    words[_SCALE] = scale & 0xFFFF
    return words


def _float_model(model: int) -> list[int]:
    return [model, _FLOAT_LENGTH, *_NO_FLOAT * (_FLOAT_LENGTH // 2)]


def _text(text: str, size: int) -> list[int]:
    octets = text.encode("ascii").ljust(2 * size, b"\0")
    return [int.from_bytes(octets[n : n + 2], "big") for n in range(0, 2 * size, 2)]
