"""A receiver to begin yours with: keeps what a gateway tells in a database, each thing once, and acknowledges it.

    python examples/consumer.py DATABASE ROOT NAME [--broker HOST:PORT] [--kinds charges sessions ...] [--ca FILE ...]
    python examples/consumer.py DATABASE --totals

DATABASE is an SQLite file, or postgresql://user@host/database (then `pip install psycopg`); ROOT is
submeter/v0/<site>/<gateway>; NAME stands in the gateway's settings as [[mqtt.consumer]].

Why nothing is lost and nothing counted twice:
1. An event is written under (stream, seq), a charge under its id; what is there already changes nothing.
2. Only after the commit the broker hears that the message arrived, and the gateway, on ack/<name>, up to where the
   events are complete. What comes after a gap is kept but not acknowledged; what is missing is asked for.
3. After a restore the gateway begins new streams and tells all its charges again, with the same ids: those count.
   Charges that are only in an older stream were made after the backup and are lost: take them back.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import sqlite3
import sys
from collections import defaultdict
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from paho.mqtt.reasoncodes import ReasonCode

KINDS = ("charges", "sessions", "alarms", "readings")
BATCH = 500  # messages in one transaction, and in flight from the broker
SESSION = 7 * 24 * 3600  # seconds that the broker queues for us while we are away
TABLES = """
CREATE TABLE IF NOT EXISTS stream (name TEXT PRIMARY KEY, taken BIGINT NOT NULL, current BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS event (stream TEXT, seq BIGINT, id TEXT NOT NULL, body TEXT, PRIMARY KEY (stream, seq));
CREATE INDEX IF NOT EXISTS event_id ON event (id);
CREATE TABLE IF NOT EXISTS charge (charge_id TEXT PRIMARY KEY, line_id TEXT, kind TEXT, replaces TEXT, closing TEXT,
    billing_point TEXT, title TEXT, amount TEXT, currency TEXT, payer TEXT, role TEXT)
"""
COLUMNS = ("charge_id", "line_id", "kind", "replaces", "closing", "billing_point", "title", "amount", "currency")
COUNTED = "SELECT event.id FROM event JOIN stream ON stream.name = event.stream WHERE stream.current = 1"


class Database:
    """SQLite or PostgreSQL: the same tables, the same statements. Amounts are text: SQLite knows no decimals."""

    def __init__(self, where: str) -> None:
        self._sign = "?"
        if where.startswith("postgresql://"):
            import psycopg  # noqa: PLC0415 - only where it is used

            self._sign = "%s"
            self._connection: Any = psycopg.connect(where)
        else:
            self._connection = sqlite3.connect(where)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
        for statement in TABLES.split(";"):
            self.rows(statement)
        self.commit = self._connection.commit
        self.commit()

    def rows(self, statement: str, *values: object) -> Any:  # noqa: ANN401 - of whichever database
        """Execute one statement; its rows, to be iterated over."""
        return self._connection.execute(statement.replace("?", self._sign), values)

    def put(self, table: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Insert rows; those whose key is there already change nothing."""
        if rows:
            signs = ", ".join(self._sign for _ in rows[0])
            insert = f"INSERT INTO {table} VALUES ({signs}) ON CONFLICT DO NOTHING"  # noqa: S608 - our own words
            self._connection.cursor().executemany(insert, rows)


class Prefix:
    """Which numbers of a stream are here: everything up to `end`, and some after a gap."""

    def __init__(self, end: int = 0, early: Iterable[int] = ()) -> None:
        self.end, self.early = end, {seq for seq in early if seq > end}
        self.add(end)

    def add(self, seq: int) -> None:
        """Here is one more, or one again."""
        if seq > self.end:
            self.early.add(seq)
        while self.end + 1 in self.early:
            self.end += 1
            self.early.remove(self.end)


class Consumer:
    """Takes batches of messages over: `take` is called by one thread only."""

    def __init__(self, client: Client, database: Database, root: str, name: str, kinds: Sequence[str]) -> None:
        self.client, self.database, self.root, self.name, self.kinds = client, database, root, name, kinds
        self.connection = 0  # counts the connections to the broker
        self.streams: dict[str, Prefix] = defaultdict(Prefix)
        self._asked: dict[str, int] = {}  # up to where what is missing has been asked for over this connection
        self._current = set[str]()
        for stream, taken, current in list(database.rows("SELECT name, taken, current FROM stream")):
            self._current |= {stream} if current else set()
            early = database.rows("SELECT seq FROM event WHERE stream = ? AND seq > ?", stream, taken)
            self.streams[stream] = Prefix(taken, (seq for (seq,) in early))

    def take(self, batch: Sequence[tuple[int, MQTTMessage]]) -> None:
        """One transaction, then the broker's acknowledgement, then the gateway's."""
        events, touched, missed = [], set[str](), False
        for _, message in batch:
            end = message.topic.removeprefix(f"{self.root}/")
            try:
                body = json.loads(message.payload)
            except ValueError:
                print(f"{end}: a message that is no JSON was dropped", flush=True)
                continue
            if end == "info" or end.startswith("reply/"):
                told = self._begin(body["streams"]) if end == "info" else self._jump(body)
                missed |= bool(told) and (message.retain or end != "info")  # retained: the gateway was there before us
                touched |= told
            else:
                events.append((body, message.payload.decode()))
        touched |= self._keep(events)
        for stream in touched:
            self.database.rows("UPDATE stream SET taken = ? WHERE name = ?", self.streams[stream].end, stream)
        self.database.commit()
        for connection, message in batch:
            if connection == self.connection:  # over a later one the number may stand for another message
                self.client.ack(message.mid, message.qos)
        self._asked = {} if missed else self._asked
        for stream in touched & self._current:  # to an older stream there is nothing to say any more
            self._answer(stream, missed=missed)

    def _keep(self, events: Sequence[tuple[dict[str, Any], str]]) -> set[str]:
        """Write events and charges down; the streams that any came of."""
        rows = [(event["stream"], int(event["seq"]), event["id"], body) for event, body in events]
        touched = {event["stream"] for event, _ in events}
        self.database.put("stream", [(stream, 0, 0) for stream in touched])
        self.database.put("event", rows)
        charges = [event["data"] for event, _ in events if event["stream"].startswith("charges-")]
        self.database.put(
            "charge", [(*map(data.get, COLUMNS), data["payer"]["id"], data["payer"]["role"]) for data in charges]
        )
        for stream, seq, *_ in rows:
            self.streams[stream].add(seq)
        return touched

    def _begin(self, streams: Sequence[str]) -> set[str]:
        """These are the gateway's streams now."""
        self._current = chosen = {stream for stream in streams if stream.partition("-")[0] in self.kinds}
        self.database.put("stream", [(stream, 0, 0) for stream in chosen])
        self.database.rows("UPDATE stream SET current = 0")
        for stream in chosen:
            self.database.rows("UPDATE stream SET current = 1 WHERE name = ?", stream)
        return chosen

    def _jump(self, reply: dict[str, Any]) -> set[str]:
        """What the gateway keeps no longer will not come: go on after it. What was `not_sent` comes by itself."""
        if reply.get("error") != "expired":
            return set()
        stream, first = reply["stream"], int(reply["first_seq"])
        print(f"{stream}: what came before {first} is no longer kept by the gateway; it is missing here", flush=True)
        self.streams[stream] = Prefix(first - 1, self.streams[stream].early)
        return {stream}

    def _answer(self, stream: str, *, missed: bool) -> None:
        """Acknowledge the prefix; ask for what is missing, once over a connection."""
        prefix = self.streams[stream]
        if prefix.end:
            self._say(f"ack/{self.name}", {"stream": stream, "seq": str(prefix.end)})
        if (missed or prefix.early) and prefix.end + 1 > self._asked.get(stream, 0):
            self._asked[stream] = max(prefix.early, default=prefix.end + 1)
            self._say("cmd/resend", {"stream": stream, "from_seq": str(prefix.end + 1), "correlation": self.name})

    def _say(self, end: str, body: dict[str, str]) -> None:
        self.client.publish(f"{self.root}/{end}", json.dumps(body), qos=1)


def totals(database: Database) -> None:
    """Print what each payer owes by the charges of the gateway's current stream."""
    owed: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    charges = f"SELECT payer, currency, amount FROM charge WHERE charge_id IN ({COUNTED})"  # noqa: S608 - our own words
    for payer, currency, amount in database.rows(charges):
        owed[payer, currency] += Decimal(amount)
    for (payer, currency), amount in sorted(owed.items()):
        print(f"{payer} {amount} {currency}")
    ((lost,),) = database.rows(f"SELECT COUNT(*) FROM charge WHERE charge_id NOT IN ({COUNTED})")  # noqa: S608 - a constant
    if lost:
        print(f"{lost} charges are only in older streams: take them back once the current one is complete")


def complain(text: str) -> None:
    """What a person should look at."""
    print(text, file=sys.stderr, flush=True)


def connected(options: argparse.Namespace, database: Database) -> None:
    """Receive until the process ends."""
    inbox: queue.SimpleQueue[tuple[int, MQTTMessage]] = queue.SimpleQueue()
    client = Client(CallbackAPIVersion.VERSION2, options.name, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True)
    if options.ca:
        client.tls_set(options.ca, options.cert, options.key)
    if options.user:
        password = options.password_file and Path(options.password_file).read_text(encoding="utf-8").rstrip("\n")
        client.username_pw_set(options.user, password)
    consumer = Consumer(client, database, options.root, options.name, options.kinds)

    def on_connect(client: Client, _: object, __: object, reason: ReasonCode, ___: object) -> None:
        if reason.is_failure:
            complain(f"{options.broker} does not let us in: {reason}")
            return
        consumer.connection += 1
        ends = [*(f"{kind}/+" for kind in options.kinds), "info", f"reply/{options.name}"]
        client.subscribe([(f"{options.root}/{end}", 1) for end in ends])
        print(f"connected to {options.broker}: {reason}", flush=True)

    def on_subscribe(_: object, __: object, ___: object, reasons: list[ReasonCode], ____: object) -> None:
        if refused := {str(reason) for reason in reasons if reason.is_failure}:
            complain(f"{options.broker} does not let us read all below {options.root}: {', '.join(refused)}")
        else:
            print(f"subscribed to {options.root}", flush=True)

    client.on_connect, client.on_subscribe = on_connect, on_subscribe
    client.on_connect_fail = lambda *_: complain(
        f"{options.broker} cannot be reached ({sys.exception()}); trying again"
    )
    client.on_message = lambda _, __, message: inbox.put((consumer.connection, message))
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho does not type it
    properties.SessionExpiryInterval, properties.ReceiveMaximum = SESSION, BATCH
    host, _, port = options.broker.rpartition(":")
    client.connect_async(host, int(port), clean_start=False, properties=properties)
    client.loop_start()
    while True:
        batch = [inbox.get()]
        while len(batch) < BATCH and not inbox.empty():
            batch.append(inbox.get())
        consumer.take(batch)


def broker(text: str) -> str:
    """HOST:PORT, as argparse takes it."""
    found = re.fullmatch(r".+:([0-9]{1,5})", text)
    if found is None or not 0 < int(found[1]) < 1 << 16:
        message = f"{text!r} is no broker; write HOST:PORT, e.g. 127.0.0.1:1883"
        raise argparse.ArgumentTypeError(message)
    return text


def file(text: str) -> str:
    """The path of a file, as argparse takes it."""
    if not os.access(text, os.R_OK):
        message = f"{text!r} cannot be read"
        raise argparse.ArgumentTypeError(message)
    return text


def main() -> None:
    """Receive or print, as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, number in (("database", None), ("root", "?"), ("name", "?")):
        parser.add_argument(name, nargs=number)
    for option in ("--ca", "--cert", "--key", "--password-file"):
        parser.add_argument(option, type=file)
    parser.add_argument("--user")
    parser.add_argument("--broker", type=broker, default="127.0.0.1:1883", metavar="HOST:PORT")
    parser.add_argument("--kinds", default=["charges"], nargs="+", choices=KINDS)
    parser.add_argument("--totals", action="store_true", help="print what each payer owes, and end")
    options = parser.parse_args()
    if not options.totals and options.name is None:
        parser.error("DATABASE, ROOT and NAME are needed")
    try:
        database = Database(options.database)
    except sqlite3.Error as error:
        parser.error(f"{options.database!r} cannot be opened ({error}); name a file in a folder that may be written to")
    if options.totals:
        totals(database)
    else:
        with suppress(KeyboardInterrupt):
            connected(options, database)


if __name__ == "__main__":
    main()
