"""What octets prove of a model, and what is no proof.."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from drivers.modbus.model import ModbusModel
from drivers.modbus.proof import failures, read_raw
from gateway.ports.field import WrongAnswerError

COMPLETE: dict[str, Any] = {
    "origin": "constructed",
    "source": "by hand",
    "raw": "000100000006 01 03 0064 0004 00010000000b 01 03 08 0012d687 0000022a",
    "expect": {"serial": "", "status": 0, "import": "1234.567", "export": "0.554"},
}


def crc(octets: bytes) -> bytes:
    """CRC-16 as Modbus over Serial Line V1.02, appendix B, describes it."""
    value = 0xFFFF
    for octet in octets:
        value ^= octet
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value.to_bytes(2, "little")


def sealed(*frames: str) -> str:
    """RTU frames with their CRCs."""
    return " ".join((octets + crc(octets)).hex() for octets in map(bytes.fromhex, frames))


def register(key: str, address: int, obis: str) -> dict[str, Any]:
    return {
        "key": key,
        "kind": "energy",
        "unit": "kWh",
        "exponent": -3,
        "obis": obis,
        "function": 3,
        "address": address,
        "type": "u32",
        "order": "big",
        "scale": "0.001",
        "not_available": ["ffffffff"],
    }


def model(*proofs: dict[str, Any], **more: object) -> ModbusModel:
    return ModbusModel.model_validate(
        {
            "protocol": "modbus",
            "make": "Maker",
            "models": ["M1"],
            "sources": ["manual"],
            "agreement": "alone",
            "register": [register("import", 100, "1-0:1.8.0"), register("export", 102, "1-0:2.8.0")],
            "serial": {"function": 3, "address": 10, "words": 2, "form": "number"},
            "proof": [COMPLETE, *proofs],
            **more,
        }
    )


def partial(raw: str, **expect: str) -> dict[str, Any]:
    return {"origin": "captured", "source": "another's log", "partial": True, "raw": raw, "expect": expect}


def test_a_proof_of_some_registers_stands_beside_a_complete_one() -> None:
    raw = sealed("01 03 0064 0002", "01 03 04 0012d687")
    assert failures(model(partial(raw, **{"import": "1234.567"}))) == []


def test_a_request_that_the_gateway_would_not_send_proves_the_registers_that_it_shows() -> None:
    raw = sealed("01 03 0062 0008", "01 03 10 0000 0000 0012d687 0000022a 0000 0000")
    assert failures(model(partial(raw, **{"import": "1234.567", "export": "0.554"}))) == []


def test_two_requests_may_bring_the_words_of_one_value() -> None:
    raw = sealed("01 03 0064 0001", "01 03 02 0012", "01 03 0065 0001", "01 03 02 d687")
    assert failures(model(partial(raw, **{"import": "1234.567"}))) == []


def test_the_complete_frames_may_be_of_rtu_as_a_read_over_a_serial_line_shows_them() -> None:
    raw = sealed("01 03 0064 0004", "01 03 08 0012d687 0000022a", "01 03 000a 0002", "01 03 04 000bc614")
    proof = {**COMPLETE, "raw": raw, "expect": {**COMPLETE["expect"], "serial": "771604"}}
    assert failures(model(proof)) == []


def test_the_serial_number_may_be_asked_for_alone_where_it_lies_beside_a_register() -> None:
    near = {"function": 3, "address": 94, "words": 2, "form": "number"}
    alone = COMPLETE["raw"] + " 000200000006 01 03 005e 0002 000200000007 01 03 04 000bc614"
    proof = {**COMPLETE, "raw": alone, "expect": {**COMPLETE["expect"], "serial": "771604"}}
    assert failures(model(serial=near, proof=[proof])) == []


def test_a_partial_proof_that_gives_another_value_says_which() -> None:
    raw = sealed("01 03 0064 0002", "01 03 04 0012d688")
    (found,) = failures(model(partial(raw, **{"import": "1234.567"})))
    assert found == "another's log: import is '1234.568', expected '1234.567'"


def test_a_register_that_a_partial_proof_names_and_does_not_show_is_a_failure() -> None:
    raw = sealed("01 03 0064 0002", "01 03 04 0012d687")
    (found,) = failures(model(partial(raw, **{"import": "1234.567", "export": "0.554"})))
    assert "export is None, expected '0.554'" in found


def test_a_half_of_a_value_is_not_shown() -> None:
    raw = sealed("01 03 0065 0001", "01 03 02 d687")
    (found,) = failures(model(partial(raw, **{"import": "1234.567"})))
    assert "import is None" in found


def test_the_same_address_of_the_other_function_shows_nothing() -> None:
    raw = sealed("01 04 0064 0002", "01 04 04 0012d687")
    (found,) = failures(model(partial(raw, **{"import": "1234.567"})))
    assert "import is None" in found


@pytest.mark.parametrize(
    ("frames", "name"),
    [
        (("01 03 0064 0004", "01 03 08 0012d687 0000022a"), "export is '0.554'"),
        (("01 03 0064 0002", "01 03 04 0012d687", "01 03 000a 0002", "01 03 04 000bc614"), "serial is '771604'"),
    ],
)
def test_what_a_partial_proof_shows_and_does_not_name_is_a_failure(frames: tuple[str, ...], name: str) -> None:
    (found,) = failures(model(partial(sealed(*frames), **{"import": "1234.567"})))
    assert found == f"another's log: {name}, and the proof does not expect it; name it there"


def test_a_pattern_for_no_value_is_none_in_a_partial_proof_either() -> None:
    raw = sealed("01 03 0064 0002", "01 03 04 ffffffff")
    (found,) = failures(model(partial(raw, **{"import": "4294967.295"})))
    assert "import: not available" in found


def test_words_that_are_another_maps_are_no_partial_proof() -> None:
    fixed = {"says": "type", "function": 3, "address": 6, "one_of": ["4142"]}
    whole = COMPLETE["raw"] + " 000200000006 01 03 0006 0001 000200000005 01 03 02 4142"
    raw = sealed("01 03 0064 0002", "01 03 04 0012d687", "01 03 0006 0001", "01 03 02 4143")
    proofs = [{**COMPLETE, "raw": whole}, partial(raw, **{"import": "1234.567"})]
    (found,) = failures(model(identify=[fixed], proof=proofs))
    assert "holds 4143 in register 6 (type)" in found


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (sealed("01 03 0064 0002", "01 03 04 0012d687")[:-1] + "0", "is followed by no answer of its unit, function"),
        (sealed("01 03 0064 0002", "02 03 04 0012d687"), "is followed by no answer of its unit, function"),
        (sealed("01 03 0064 0002", "01 04 04 0012d687"), "is followed by no answer of its unit, function"),
        (sealed("01 03 0064 0002", "01 03 02 d687"), "is followed by no answer of its unit, function"),
        (sealed("01 03 0064 0002"), "is followed by no answer of its unit, function"),
        (sealed("01 03 0064 0002", "01 83 02"), "refuses: exception 2"),
        (sealed("01 03 0064 0002", "01 03 04 0012d687") + " 0103", "0103 is no read request of RTU whose CRC"),
        (sealed("01 06 0064 0002", "01 06 0064 0002"), "no Modbus TCP frame: protocol 100, length 2, and no RTU frame"),
        ("01 03 0064 0002 0000 01 03 04 0012d687 0000", "and no RTU frame whose CRC is right"),
        ("000100000006 01 03 0064 0000 000100000003 01 03 00", "0300640000 is no read request of function 3 or 4"),
        ("000100000006 01 03 0064 007e 000100000003 01 03 00", "030064007e is no read request of function 3 or 4"),
        ("000100000006 01 05 0064 0001 000100000006 01 05 0064 0001", "is no read request of function 3 or 4"),
        ("000100000007 01 03 0064 000002 000100000007 01 03 04 0012d687", "is no read request of function 3 or 4"),
        ("000100000006 01 03 0064 0002 000100000007 02 03 04 0012d687", "followed by another one's answer"),
        ("000100000006 01 03 0064 0002 000100000007 01 03 04 0012d687 00", "not complete pairs"),
        (sealed("01 03 0064 0002", "01 03 04 0012"), "answers 2 bytes (it says 04) where 4 were asked"),
    ],
)
def test_what_is_no_read_and_its_answer_proves_nothing(raw: str, told: str) -> None:
    (found,) = failures(model(partial(raw, **{"import": "1234.567"})))
    assert told in found


def test_another_programs_requests_are_no_complete_proof() -> None:
    raw = bytes.fromhex(sealed("01 03 0062 0008", "01 03 10 0000 0000 0012d687 0000022a 0000 0000"))
    with pytest.raises(WrongAnswerError, match="0300620008 is no request of this model"):
        read_raw(model(), raw)


@pytest.mark.parametrize(
    ("proofs", "told"),
    [
        ([partial("0103")], "a partial proof expects one or more of export, import, and serial where it shows it"),
        ([partial("0103", serial="1")], "a partial proof expects one or more of export, import"),
        ([partial("0103", **{"import": "1", "status": "0"})], "a partial proof expects one or more of export, import"),
        ([partial("0103", cold="1")], "a partial proof expects one or more of export, import"),
        ([{**COMPLETE, "expect": {"import": "1"}}], "a proof expects exactly serial, status, export, import"),
    ],
)
def test_a_proof_names_the_registers_that_it_shows(proofs: list[dict[str, Any]], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        model(*proofs)


def test_partial_proofs_alone_prove_no_model() -> None:
    with pytest.raises(ValidationError, match="no proof is complete; put one beside the partial ones"):
        model(proof=[partial("0103", **{"import": "1"}), partial("0103", export="1")])


def test_a_model_without_a_proof_is_none() -> None:
    with pytest.raises(ValidationError, match=r"a model has one \[\[proof\]\] or more"):
        model(proof=[])


def test_a_proof_that_does_not_fit_is_told_once() -> None:
    with pytest.raises(ValidationError) as refused:
        model(proof=[{**COMPLETE, "raw": "zz"}])
    assert [error["loc"] for error in refused.value.errors()] == [("proof", 0, "raw")]
