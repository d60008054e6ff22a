from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.canonical import canonical
from gateway.core.event import Event
from gateway.mqtt.topics import Gateway, event_payload, event_topic, parse
from gateway.service.messages import Ack, Problem, Reply, Resend

GATEWAY = Gateway(site="sonnenhof", name="gw-01")
ROOT = "submeter/v0/sonnenhof/gw-01"
DATA = canonical({"charge_id": "a" * 40, "amount": "12.35", "title": "Wärme", "quantity": "1.0"})
PREVIOUS = "0" * 64
CHARGE = Event(
    kind="charge",
    stream="charges-5f1c2a9e",
    seq=7,
    id="a" * 40,
    subject="charges/flat-1",
    time=datetime(2026, 11, 3, 8, 30, tzinfo=UTC),
    data=DATA.decode(),
    bootid="boot-1",
    prevhash=PREVIOUS,
    hash=hashlib.sha256(PREVIOUS.encode() + DATA).hexdigest(),
)
ACK: dict[str, object] = {"stream": "charges-5f1c2a9e", "seq": "7"}
RESEND: dict[str, object] = {"stream": "charges-5f1c2a9e", "from_seq": "7"}


def ack(body: object, consumer: str = "billing") -> object:
    return parse(GATEWAY, f"{ROOT}/ack/{consumer}", json.dumps(body).encode())


def resend(body: object, response_topic: str | None = None, correlation: bytes | None = None) -> object:
    return parse(GATEWAY, f"{ROOT}/cmd/resend", json.dumps(body).encode(), response_topic, correlation)


def test_a_charge_is_a_cloud_event_as_the_contract_says() -> None:
    assert event_topic(GATEWAY, CHARGE) == f"{ROOT}/charges/flat-1"
    assert json.loads(event_payload(GATEWAY, CHARGE, historical=False)) == {
        "specversion": "1.0",
        "id": "a" * 40,
        "source": "/submeter/sonnenhof/gw-01",
        "type": "org.submeter.charge.v0",
        "subject": "charges/flat-1",
        "time": "2026-11-03T08:30:00Z",
        "datacontenttype": "application/json",
        "dataschema": "urn:submeter:charge:v0",
        "stream": "charges-5f1c2a9e",
        "seq": "7",
        "bootid": "boot-1",
        "historical": False,
        "prevhash": PREVIOUS,
        "hash": CHARGE.hash,
        "data": json.loads(DATA),
    }


def test_the_data_goes_out_byte_for_byte_so_that_its_hash_holds() -> None:
    assert b',"data":' + DATA + b"}" in event_payload(GATEWAY, CHARGE, historical=True)


def test_an_event_outside_a_chain_has_no_hash() -> None:
    body = json.loads(event_payload(GATEWAY, replace(CHARGE, hash=None, prevhash=None), historical=True))
    assert body.keys().isdisjoint({"hash", "prevhash"})
    assert body["historical"] is True


def test_the_remainder_has_its_own_topic() -> None:
    assert event_topic(GATEWAY, replace(CHARGE, subject="charges/_remainder")).endswith("/charges/_remainder")


@pytest.mark.parametrize(
    "subject",
    ["charges/+", "charges/#", "charges/a/b", "charges/", "flats/a", "charges/A", "charges/a\n", "charges/a\0"],
)
def test_a_subject_that_is_no_kind_and_id_never_becomes_a_topic(subject: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a topic"):
        event_topic(GATEWAY, replace(CHARGE, subject=subject))


@pytest.mark.parametrize("name", ["", "gw/01", "gw+", "#", "GW", "a" * 41, "gw\n", "gw.01"])
def test_an_id_that_is_none_never_becomes_a_root(name: str) -> None:
    with pytest.raises(ValueError, match="is no id"):
        Gateway(site="sonnenhof", name=name)
    with pytest.raises(ValueError, match="is no id"):
        Gateway(site=name, name="gw-01")


def test_an_ack_names_consumer_stream_and_seq() -> None:
    assert ack(ACK) == Ack(consumer="billing", stream="charges-5f1c2a9e", seq=7)


@pytest.mark.parametrize(
    "body",
    [
        ACK | {"seq": seq}
        for seq in (
            7,
            7.0,
            True,
            None,
            "",
            "07",
            "+7",
            "-7",
            "7 ",
            "7\n",
            "\N{ARABIC-INDIC DIGIT SEVEN}",
            "²",
            "7e1",
            "9" * 17,
            ["7"],
        )
    ]
    + [ACK | {"stream": stream} for stream in ("", "charges", "Charges-1", "charges-5f/1", 7, None)]
    + [ACK | {"more": 1}, {"seq": "7"}, {"stream": "charges-1"}, {}, [], "7", 7, None, ACK | {"stream": "a" * 600}],
)
def test_an_ack_in_any_other_form_is_a_problem(body: object) -> None:
    problem = ack(body)
    assert isinstance(problem, Problem)
    assert problem.code == "ack_malformed"


@pytest.mark.parametrize("consumer", ["", "Billing", "a/b", "bil ling", "b" * 41])
def test_an_ack_of_a_name_that_is_no_id_is_a_problem(consumer: str) -> None:
    assert isinstance(ack(ACK, consumer), Problem)


@given(st.binary(max_size=600), st.sampled_from(["ack/billing", "cmd/resend"]))
def test_no_payload_does_anything_but_become_a_problem(payload: bytes, end: str) -> None:
    assert isinstance(parse(GATEWAY, f"{ROOT}/{end}", payload, "elsewhere/1"), Problem)


def test_a_resend_takes_a_number_as_text_or_as_a_person_types_it() -> None:
    expected = Resend(stream="charges-5f1c2a9e", from_seq=7)
    assert resend(RESEND) == resend(RESEND | {"from_seq": 7}) == expected


@pytest.mark.parametrize("first", [True, 7.5, 0, "0", -1, "-1", "07", "x", None, 10**17])
def test_a_resend_from_no_number_is_a_problem(first: object) -> None:
    assert isinstance(resend(RESEND | {"from_seq": first}), Problem)


def test_what_clears_a_retained_command_says_nothing() -> None:
    assert parse(GATEWAY, f"{ROOT}/cmd/resend", b"") is None
    assert isinstance(parse(GATEWAY, f"{ROOT}/cmd/resend", b"", "elsewhere/1"), Problem)
    assert isinstance(parse(GATEWAY, f"{ROOT}/ack/billing", b""), Problem)


def test_a_retained_command_is_a_problem_that_is_answered() -> None:
    command = json.dumps(RESEND | {"correlation": "c-1"}).encode()
    found = parse(GATEWAY, f"{ROOT}/cmd/resend", command, retained=True)
    assert isinstance(found, Problem)
    assert found.reply == Reply(f"{ROOT}/reply/c-1", None)
    assert "without retain" in found.text


@pytest.mark.parametrize(
    ("response_topic", "correlation", "named", "reply"),
    [
        (None, None, None, None),
        ("billing/answers", b"\x00", None, Reply("billing/answers", b"\x00")),
        (f"{ROOT}/reply/x", b"1", None, Reply(f"{ROOT}/reply/x", b"1")),
        (None, b"c-1", None, Reply(f"{ROOT}/reply/c-1", b"c-1")),
        (None, None, "c-1", Reply(f"{ROOT}/reply/c-1", None)),
        (None, b"c/1", None, None),
        (None, b"\xff", None, None),
        (None, None, "#", None),
        (f"{ROOT}/charges/flat-1", b"1", None, None),
        ("submeter/v0/haus-1/gw-02/cmd/resend", b"1", None, None),
        ("a/+", b"1", None, None),
        ("$SYS/x", b"1", None, None),
    ],
)
def test_an_answer_goes_where_the_command_says_but_never_among_the_topics_of_a_gateway(
    response_topic: str | None, correlation: bytes | None, named: str | None, reply: Reply | None
) -> None:
    body = RESEND if named is None else RESEND | {"correlation": named}
    command = resend(body, response_topic, correlation)
    assert isinstance(command, Resend)
    assert command.reply == reply
