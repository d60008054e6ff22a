"""The schemas themselves, and what the gateway accepts and answers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gateway.core.canonical import canonical
from gateway.core.charge import body, charge_id
from gateway.core.charge.line import SessionRef, reversal
from gateway.core.units import UNITS
from gateway.mqtt.state import schemas, state_topic
from gateway.mqtt.topics import Gateway, parse
from gateway.service.messages import Ack, Problem, Resend
from gateway.service.property_fields import CYCLE
from tests.contract import SCHEMAS, broken, schema
from tests.core.worlds import MONTH, World, worlds
from tests.delivery import ROOT, delivering, listening
from tests.outbox import Outbox, stream

if TYPE_CHECKING:
    from tests.broker import Broker

GATEWAY = Gateway(site="sonnenhof", name="gw-01")
NAMES = sorted(path.stem for path in SCHEMAS.iterdir())
ACK = {"stream": "charges-5f1c2a9e", "seq": "7"}
RESEND = {"stream": "charges-5f1c2a9e", "from_seq": "7"}
texts = st.sampled_from(
    ["charges-5f1c2a9e", "charges", "Charges-1", "7", "0", "07", "-7", "7 ", "", "9" * 16, "9" * 17]
)
values = texts | st.integers(-1, 10) | st.booleans() | st.none() | st.floats(allow_nan=False) | st.lists(texts)
bodies = st.dictionaries(st.sampled_from(["stream", "seq", "from_seq", "more"]), values) | st.fixed_dictionaries(
    {"stream": texts, "seq": values}
)


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_keeps_the_rules_of_its_draft_and_says_its_own_name(name: str) -> None:
    text = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(text)
    assert text["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert text["$id"] == f"urn:submeter:{name}:v0"
    assert canonical(text), "it can be published"


def test_the_daemon_publishes_every_schema() -> None:
    assert sorted(schemas()) == NAMES
    assert all(state_topic(GATEWAY, f"schema/{name}") for name in NAMES)


@pytest.mark.parametrize(
    ("name", "more"), [("reading", []), ("charge", [CYCLE]), ("rate", [CYCLE]), ("accrual", [CYCLE])]
)
def test_the_units_are_those_that_the_gateway_counts_in(name: str, more: list[str]) -> None:
    units = ["Wh", "kWh", "MWh", "J", "MJ", "GJ", "m3", "l"]
    assert set(units) == UNITS
    assert f'"enum": {json.dumps(units + more)}' in (SCHEMAS / f"{name}.json").read_text(encoding="utf-8")


@given(bodies)
def test_an_ack_is_taken_if_and_only_if_the_schema_allows_it(body: dict[str, object]) -> None:
    taken = parse(GATEWAY, f"{ROOT}/ack/billing", json.dumps(body).encode())
    assert isinstance(taken, Ack) == schema("ack").is_valid(body)


@given(bodies)
def test_a_resend_that_the_schema_allows_is_taken(body: dict[str, object]) -> None:
    if schema("resend").is_valid(body):
        assert isinstance(parse(GATEWAY, f"{ROOT}/cmd/resend", json.dumps(body).encode()), Resend)


@pytest.mark.parametrize(("end", "name", "body"), [("ack/billing", "ack", ACK), ("cmd/resend", "resend", RESEND)])
def test_a_command_with_one_mistake_is_refused_by_the_schema_and_by_the_gateway(
    end: str, name: str, body: dict[str, str]
) -> None:
    assert schema(name).is_valid(body)
    for where, wrong in broken(body):
        if not (name == "resend" and wrong.get("from_seq") == 7):  # as a person types it
            assert not schema(name).is_valid(wrong), where
            assert isinstance(parse(GATEWAY, f"{ROOT}/{end}", json.dumps(wrong).encode()), Problem), where


@given(worlds())
def test_every_charge_that_can_come_about_is_as_its_schema_says(world: World) -> None:
    session = SessionRef(id="s-1", badge="b-1", start=MONTH.start, end=MONTH.until, witness="tap")
    for charge in world.charges():
        of_session = replace(charge, session=session, component="cycle", unit="cycle", allocation=None, segments=())
        for one in (charge, reversal(charge, charge_id(charge), 2, "rate"), of_session):
            assert schema("charge").is_valid(body(one)), body(one)


async def test_every_answer_to_a_resend_is_as_its_schema_says(broker: Broker) -> None:
    charges = stream("charge")
    outbox = Outbox()
    outbox.add("charge", 9)
    del outbox.rows[charges][:4]
    outbox.done[charges] = 4
    commands = {
        "repeated": {"stream": charges, "from_seq": "6"},
        "unknown": {"stream": "charges-00000000", "from_seq": "6"},
        "expired": {"stream": charges, "from_seq": "2"},
        "early": {"stream": charges, "from_seq": "10"},
        "malformed": {"stream": charges},
    }
    async with listening(broker.host, broker.port) as ear, delivering(outbox, broker.host, broker.port):
        await ear.until(lambda: ear.seqs() == [5, 6, 7, 8, 9])
        for name, command in commands.items():
            ear.say("cmd/resend", {**command, "correlation": name})
        await ear.until(lambda: all(ear.last(f"reply/{name}") is not None for name in commands))
    errors = {"unknown": "unknown_stream", "expired": "expired", "early": "not_sent", "malformed": "command_malformed"}
    for name in commands:
        answer = json.loads(ear.last(f"reply/{name}") or b"")
        assert schema("reply").is_valid(answer), answer
        assert answer.get("error") == errors.get(name)
        for where, wrong in broken(answer):
            assert not schema("reply").is_valid(wrong), where
