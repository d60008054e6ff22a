"""A telegram as JSON-ready object, for `submeter decode`.

`kind` of the telegram: variable (CI 72, 76, 78, 7A, also behind CI 90), fixed (73, 77), application_error (70) and
alarm (71) with their code under the same name, master_to_slave for whatever a master sends; of that, nothing is
interpreted.

Of a record:
- `dib_vib`: DIF, DIFE, VIF, VIFE as sent, with the plain text of a VIF 7C and the length octet of variable data; 0f or
  1f alone for what follows in the manufacturer's way; in the fixed structure 00 and the unit code, for a counter that
  is "the same but historic" that of the other one.
- `data`: what follows it, as sent.
- `vif_ext`: the combinable extensions in their order, each as two hex digits without its extension bit. Those that only
  complete a VIF FB or FD are not among them; "mfr" stands for the one behind which all are the manufacturer's; there
  are none behind a VIF of the manufacturer's own; "hist" marks a historic counter of the fixed structure.
- `kind`: number, date, text, hex for octets that mean no number (more than 15 of them, the manufacturer's data, hours
  and days of the fixed structure), invalid where the meter or the data say that there is no value; `value` is then
  empty, or "!" and the digits of a display code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drivers.mbus.frame import FrameError
from drivers.mbus.telegram import decode
from gateway.core.units import Scaled

if TYPE_CHECKING:
    from drivers.mbus.records import Record
    from drivers.mbus.telegram import Header, Telegram

_HEADER = ("id", "manufacturer", "version", "medium", "access_no", "status", "signature")
_FIXED_HEADER = ("id", "access_no", "status")


def describe(octets: bytes, key: bytes | None = None) -> dict[str, Any]:
    """One frame as the contract's object; a malformed one as {"ok": False, "error": sentence}."""
    try:
        telegram = decode(octets, key)
    except FrameError as error:
        return {"ok": False, "error": str(error)}
    return {"ok": True, **_telegram(telegram)}


def _telegram(telegram: Telegram) -> dict[str, Any]:
    described: dict[str, Any] = {
        "kind": telegram.kind,
        "header": _header(telegram.header, _FIXED_HEADER if telegram.kind == "fixed" else _HEADER),
        "more_records_follow": telegram.more_records_follow,
        "records": [_record(record) for record in telegram.records],
    }
    if telegram.code is not None:
        described[telegram.kind] = telegram.code
    return described


def _header(header: Header, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(header, name) for name in names if getattr(header, name) is not None}


def _record(record: Record) -> dict[str, Any]:
    meaning = record.meaning
    return {
        "function": meaning.function,
        "storage": meaning.storage,
        "tariff": meaning.tariff,
        "subunit": meaning.subunit,
        "quantity": meaning.quantity,
        "unit": meaning.unit,
        "kind": record.kind,
        "value": shortest(record.value) if isinstance(record.value, Scaled) else record.value,
        "vif_ext": list(meaning.vif_ext),
        "dib_vib": meaning.dib_vib.hex(),
        "data": record.data.hex(),
    }


def shortest(number: Scaled) -> str:
    """Plain decimal text without zeros at the end of its decimals: "241", "0.000008"."""
    text = str(number)
    return text.rstrip("0").rstrip(".") if "." in text else text
