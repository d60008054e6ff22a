"""The reference consumer as a process of its own: killed, starved, restored, it holds what the gateway has charged."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from threading import Timer
from typing import TYPE_CHECKING

import pytest

from gateway.core.canonical import canonical
from gateway.core.event import Event
from gateway.mqtt.security import Security
from tests.broker import Broker
from tests.certificates import Authority, example
from tests.delivery import ROOT, delivering, listening
from tests.outbox import HANGS, NOON, Outbox, stream
from tests.receiver import CONSUMER, consuming, rows, told

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from paho.mqtt.client import MQTTMessage

CHARGES = stream("charge")
PAYERS = 7


class Ledger(Outbox):
    """An outbox of charges with amounts."""

    def __init__(self) -> None:
        super().__init__()
        self.truth: dict[str, Decimal] = defaultdict(Decimal)

    def charge(self, numbers: Iterable[int]) -> None:
        """Add charges; the same number is the same charge, also in another epoch."""
        name = stream("charge")
        for number in numbers:
            payer = f"user-{number % PAYERS}"
            body = {
                "charge_id": f"charge-{number}",
                "line_id": f"line-{number}",
                "kind": "charge" if amount(number) >= 0 else "reversal",
                "replaces": None,
                "closing": "2026-10",
                "billing_point": "flat-1",
                "title": "Electricity",
                "amount": str(amount(number)),
                "currency": "CHF",
                "payer": {"id": payer, "role": "user", "reason": "occupancy"},
            }
            event = Event(
                kind="charge",
                stream=name,
                seq=len(self.rows[name]) + 1,
                id=f"charge-{number}",
                subject="charges/flat-1",
                time=NOON,
                data=canonical(body).decode(),
                bootid="boot-1",
            )
            self.rows[name].append(event)
            self.truth[payer] += amount(number)

    def owed(self) -> list[str]:
        return [f"{payer} {total} CHF" for payer, total in sorted(self.truth.items())]


def amount(number: int) -> Decimal:
    return Decimal(number * 37 % 1001 - 200) / 100


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that the consumer may use."""
    if request.param == "sqlite":
        return str(tmp_path / "billing.db")
    url: str = request.getfixturevalue("postgres").new("template0")
    return url.replace("+psycopg", "")


async def test_killed_twenty_times_during_delivery_it_holds_every_charge_once(broker: Broker, database: str) -> None:
    ledger = Ledger()
    async with delivering(ledger, broker.host, broker.port, ["billing"]) as deliver:
        for turn in range(20):
            before = ledger.done[CHARGES]
            ledger.charge(range(turn * 100, turn * 100 + 100))
            deliver.notify()
            with consuming(broker, database):
                await ledger.finished(CHARGES, before + 1)
        with consuming(broker, database):
            await ledger.until(lambda: ledger.done[CHARGES] == 2000)
    assert told(database) == ledger.owed()
    assert rows(database, "SELECT COUNT(*), COUNT(DISTINCT id) FROM event") == [(2000, 2000)]


async def test_a_broker_killed_during_delivery_costs_it_nothing(broker: Broker, database: str) -> None:
    ledger = Ledger()
    with consuming(broker, database):
        async with delivering(ledger, broker.host, broker.port, ["billing"]) as deliver:
            for turn in range(5):
                before = ledger.done[CHARGES]
                ledger.charge(range(turn * 200, turn * 200 + 200))
                deliver.notify()
                await ledger.finished(CHARGES, before + 1)
                broker.kill()
                broker.start()
            await ledger.until(lambda: ledger.done[CHARGES] == 1000)
    assert told(database) == ledger.owed()


async def test_what_comes_after_a_gap_is_kept_and_acknowledged_once_the_gap_is_closed(
    broker: Broker, tmp_path: Path
) -> None:
    database = str(tmp_path / "billing.db")
    ledger = Ledger()
    ledger.charge(range(4))
    async with listening(broker.host, broker.port) as ear:
        with consuming(broker, database):
            ear.say("info", {"streams": [CHARGES]})
            for number in (1, 3, 4, 3):
                ear.say("charges/flat-1", envelope(ledger.rows[CHARGES][number - 1]))
            await ear.until(lambda: ear.last("cmd/resend") is not None)
            request = json.loads(ear.last("cmd/resend") or b"")
            assert request == {"stream": CHARGES, "from_seq": "2", "correlation": "billing"}
            assert acks(ear.heard) <= {"1"}
            ear.say("charges/flat-1", envelope(ledger.rows[CHARGES][1]))
            await ear.until(lambda: "4" in acks(ear.heard))
            assert acks(ear.heard) <= {"1", "4"}
    assert told(database) == ledger.owed()


def envelope(event: Event) -> bytes:
    data = json.loads(event.data)
    return json.dumps({"id": event.id, "stream": event.stream, "seq": str(event.seq), "data": data}).encode()


def acks(heard: Sequence[MQTTMessage]) -> set[str]:
    messages = [one for one in heard if one.topic == f"{ROOT}/ack/billing"]
    return {json.loads(one.payload)["seq"] for one in messages}


async def test_after_a_restore_the_new_streams_charges_count_and_lost_ones_are_told(
    broker: Broker, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger()
    ledger.charge(range(50))
    with consuming(broker, database):
        async with delivering(ledger, broker.host, broker.port, ["billing"]):
            await ledger.until(lambda: ledger.done[CHARGES] == 50)
        monkeypatch.setattr("tests.outbox.EPOCH", "00000002")
        restored, name = Ledger(), stream("charge")
        restored.charge([*range(40), *range(60, 70)])  # the backup had the first 40; 60 to 69 were made since
        async with delivering(restored, broker.host, broker.port, ["billing"]):
            await restored.until(lambda: restored.done[name] == 50)
    assert told(database) == [
        *restored.owed(),
        "10 charges are only in older streams: take them back once the current one is complete",
    ]
    assert restored.alarms == []


async def test_what_the_gateway_keeps_no_longer_is_told_and_passed_over(broker: Broker, tmp_path: Path) -> None:
    ledger, database = Ledger(), str(tmp_path / "billing.db")
    ledger.charge(range(50))
    async with (
        listening(broker.host, broker.port) as ear,
        delivering(ledger, broker.host, broker.port, ["billing"]) as deliver,
    ):
        await ear.until(lambda: len(ear.seqs()) == 50)
        ear.ack("billing", CHARGES, 50)
        await ledger.until(lambda: ledger.done[CHARGES] == 50)
        await ear.until(lambda: "50" in acks(ear.heard))
        ear.heard.clear()  # before the consumer may acknowledge anything
        del ledger.rows[CHARGES][:30]
        with consuming(broker, database) as process:  # it has lost what it had
            assert process.stdout is not None
            line = await asyncio.to_thread(process.stdout.readline)
            assert line.startswith(f"{CHARGES}: what came before 31 is no longer kept".encode())
            await ear.until(lambda: "50" in acks(ear.heard))
        assert deliver.counts["ack_above_sent"] == 0
    assert rows(database, "SELECT MIN(seq), COUNT(*) FROM event") == [(31, 20)]


async def test_sessions_alarms_and_readings_are_kept_where_they_are_wanted(broker: Broker, database: str) -> None:
    ledger = Ledger()
    ledger.charge(range(20))
    for kind in ("session", "alarm", "reading"):
        ledger.add(kind, 200)
    with consuming(broker, database, "--kinds", "charges", "sessions", "alarms", "readings"):
        async with delivering(ledger, broker.host, broker.port, ["billing"]):
            await ledger.until(lambda: all(ledger.done[name] == len(ledger.rows[name]) for name in ledger.rows))
    assert told(database) == ledger.owed()
    assert rows(database, "SELECT COUNT(*) FROM event") == [(620,)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--broker", "here"), "argument --broker: 'here' is no broker; write HOST:PORT, e.g. 127.0.0.1:1883"),
        (("--broker", "here:0"), "argument --broker: 'here:0' is no broker; write HOST:PORT, e.g. 127.0.0.1:1883"),
        (
            ("--broker", "here:65536"),
            "argument --broker: 'here:65536' is no broker; write HOST:PORT, e.g. 127.0.0.1:1883",
        ),
        (("--ca", "nowhere.pem"), "argument --ca: 'nowhere.pem' cannot be read"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    words = (sys.executable, str(CONSUMER), str(tmp_path / "x.db"), ROOT, "billing", *options)
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=HANGS)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, f"consumer.py: error: {said}")


@pytest.mark.parametrize("options", [(), ("--totals",)])
def test_a_database_that_cannot_be_opened_is_one_sentence(tmp_path: Path, options: tuple[str, ...]) -> None:
    database = str(tmp_path / "nowhere" / "x.db")
    words = (sys.executable, str(CONSUMER), database, ROOT, "billing", *options)
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=HANGS)
    why = "(unable to open database file); name a file in a folder that may be written to"
    sentence = f"consumer.py: error: {database!r} cannot be opened {why}"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, sentence)


def test_a_broker_that_is_not_there_or_lets_nobody_in_is_told(tmp_path: Path) -> None:
    shut = Broker(tmp_path, "allow_anonymous false")
    where = f"{shut.host}:{shut.port}"
    words = (sys.executable, str(CONSUMER), str(tmp_path / "x.db"), ROOT, "billing", "--broker", where)
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        hangs = Timer(HANGS, process.kill)
        hangs.start()
        sentence = process.stderr.readline()
        assert sentence == f"{where} cannot be reached ([Errno 111] Connection refused); trying again\n"
        shut.start()
        while "cannot be reached" in sentence:
            sentence = process.stderr.readline()
        assert sentence == f"{where} does not let us in: Not authorized\n"
        process.kill()
        hangs.cancel()
    shut.stop()


async def test_it_is_let_in_by_its_certificate_under_the_example_access_rules(tmp_path: Path) -> None:
    ca = Authority(tmp_path / "ca")
    for name in ("broker", "gw-01", "billing"):
        ca.sign(name)
    broker = Broker(tmp_path, example(tmp_path, ca))
    broker.start()
    files = (f"{ca.folder}/gw-01.pem", f"{ca.folder}/gw-01.key")
    gateway = Security(ca_file=str(ca.file), cert_file=files[0], key_file=files[1])
    own = ("--ca", str(ca.file), "--cert", f"{ca.folder}/billing.pem", "--key", f"{ca.folder}/billing.key")
    ledger, database = Ledger(), str(tmp_path / "billing.db")
    ledger.charge(range(100))
    async with delivering(ledger, broker.host, broker.port, ["billing"], security=gateway):
        with consuming(broker, database, *own):
            await ledger.until(lambda: ledger.done[CHARGES] == 100)
    broker.stop()
    assert told(database) == ledger.owed()
