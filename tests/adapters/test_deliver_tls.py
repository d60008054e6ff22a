"""Delivery over TLS to a Mosquitto with the example rules of config/mosquitto."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import subprocess
from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from gateway.mqtt import client as mqtt
from gateway.mqtt.security import Security
from tests.broker import HOST, Broker
from tests.certificates import Authority, example, identify
from tests.delivery import ROOT, delivering, listening
from tests.outbox import HANGS, Outbox, stream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from paho.mqtt.client import Client

CHARGES = stream("charge")
SECRET = "open sesame\n"  # noqa: S105 - of a test


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The CA of the example, which knows everybody in it."""
    authority = Authority(tmp_path_factory.mktemp("tls") / "ca")
    for name in ("broker", "gw-01", "billing", "portal"):
        authority.sign(name)
    return authority


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A CA that the broker does not trust, and a gateway of the same name."""
    authority = Authority(tmp_path_factory.mktemp("tls") / "stranger")
    authority.sign("gw-01")
    return authority


@pytest.fixture
def broker(tmp_path: Path, ca: Authority) -> Iterator[Broker]:
    """Mosquitto with the example files; everybody is known by certificate."""
    one = Broker(tmp_path, example(tmp_path, ca))
    one.start()
    yield one
    one.stop()


def by_password(folder: Path, ca: Authority) -> Broker:
    """Mosquitto with the example files; everybody is known by name and password."""
    text = example(folder, ca).replace("require_certificate true\nuse_identity_as_username true\n", "")
    text = text.replace("#password_file", "password_file")
    passwords = folder / "passwords"
    passwords.touch(0o600)
    salt = b"twelve bytes"
    word = hashlib.pbkdf2_hmac("sha512", SECRET.strip().encode(), salt, 101)
    parts = (base64.b64encode(each).decode() for each in (salt, word))
    passwords.write_text("gw-01:$7$101${}${}\n".format(*parts))  # as mosquitto_passwd writes it
    return Broker(folder, text)


def gateway(ca: Authority) -> Security:
    return Security(ca_file=str(ca.file), cert_file=str(ca.folder / "gw-01.pem"), key_file=str(ca.folder / "gw-01.key"))


async def test_charges_reach_a_receiver_over_tls_and_its_acks_the_gateway(broker: Broker, ca: Authority) -> None:
    outbox = Outbox()
    outbox.add("charge", 50)
    async with (
        listening(HOST, broker.port, "billing", partial(identify, ca=ca, name="billing")) as ear,
        delivering(outbox, HOST, broker.port, ["billing"], security=gateway(ca)),
    ):
        await ear.until(lambda: ear.seqs() == list(range(1, 51)) and ear.last("info") is not None)
        ear.ack("billing", CHARGES, 50)
        await outbox.until(lambda: outbox.done[CHARGES] == 50)
        ear.say("cmd/resend", {"stream": CHARGES, "from_seq": "50", "correlation": "c-1"})
        await ear.until(lambda: ear.seqs()[50:] == [50] and ear.last("reply/c-1") is not None)


async def test_a_receiver_writes_its_own_acks_and_nothing_else(broker: Broker, ca: Authority) -> None:
    ends = ["ack/portal", "charges/flat-1", "status", "state/meters/heat-01", "cmd/move", "private/users", "reply/c-1"]
    outbox = Outbox()
    outbox.add("charge", 3)
    async with (
        listening(HOST, broker.port, "billing", partial(identify, ca=ca, name="billing")) as ear,
        delivering(outbox, HOST, broker.port, ["billing", "portal"], security=gateway(ca)),
    ):
        await ear.until(lambda: len(ear.seqs()) == 3)
        for end in ends:
            ear.say(end, {"stream": CHARGES, "seq": "3"})
        ear.ack("billing", CHARGES, 3)
        await ear.until(lambda: len(ear.answers) == len(ends) + 1)
        assert [answer for answer in ear.answers if answer == "Not authorized"] == ["Not authorized"] * len(ends)
        await outbox.until(lambda: outbox.taken.get(("billing", CHARGES)) == 3)
        assert ("portal", CHARGES) not in outbox.taken


async def test_private_topics_are_heard_by_those_alone_who_may(broker: Broker, ca: Authority) -> None:
    async with (
        listening(HOST, broker.port, "billing", partial(identify, ca=ca, name="billing")) as billing,
        listening(HOST, broker.port, "portal", partial(identify, ca=ca, name="portal")) as portal,
        listening(HOST, broker.port, "gateway", partial(identify, ca=ca, name="gw-01")) as itself,
    ):
        itself.say("private/users", {"id": "blumer"})
        itself.say("charges/flat-1", {"no": 1})
        await portal.until(lambda: portal.last("private/users") is not None)
        await billing.until(lambda: billing.last("charges/flat-1") is not None)
        assert [message.topic for message in portal.heard] == [f"{ROOT}/private/users"]
        assert [message.topic for message in billing.heard] == [f"{ROOT}/charges/flat-1"]


async def test_name_and_password_come_from_a_file_or_from_systemd(tmp_path: Path, ca: Authority) -> None:
    broker = by_password(tmp_path, ca)
    broker.start()
    (tmp_path / "mqtt-password").write_text(SECRET)
    path = Security(ca_file=str(ca.file), user="gw-01", password_file=str(tmp_path / "mqtt-password"))
    named = replace(path, password_file="credential:mqtt-password", credentials=str(tmp_path))  # noqa: S106 - a name
    outbox = Outbox()
    for count, security in enumerate((path, named), 1):
        outbox.add("charge", 10)
        async with delivering(outbox, HOST, broker.port, security=security):
            await outbox.finished(CHARGES, 10 * count)
    broker.stop()


MISTAKES: dict[str, tuple[dict[str, str | None], str]] = {
    "no CA file": (
        {"ca_file": "{tmp}/none.pem"},
        "ca_file {tmp}/none.pem cannot be read (No such file or directory); put it there, readable for the gateway's",
    ),
    "a CA file without a certificate": ({"ca_file": "{tmp}/empty"}, "ca_file {tmp}/empty holds no certificate in PEM"),
    "the certificate of another CA": (
        {"ca_file": "{stranger}/ca.pem"},
        "its certificate is not signed by ca_file (",
    ),
    "no key file": ({"key_file": "{tmp}/none.key"}, "key_file {tmp}/none.key cannot be read"),
    "the key of another": (
        {"key_file": "{ca}/billing.key"},
        "cert_file {ca}/gw-01.pem and key_file {ca}/billing.key are no pair",
    ),
    "a key with a password": ({"key_file": "{tmp}/locked.key"}, "in PEM form, not encrypted ("),
    "a certificate that the broker does not trust": (
        {"cert_file": "{stranger}/gw-01.pem", "key_file": "{stranger}/gw-01.key"},
        "it does not take the gateway's certificate (tlsv1 alert unknown ca); give cert_file and key_file that it",
    ),
    "no certificate where the broker wants one": (
        {"cert_file": None, "key_file": None},
        "it does not take the gateway's certificate (tlsv13 alert certificate required)",
    ),
    "no password file": (
        {"user": "gw-01", "password_file": "{tmp}/none"},
        "password_file {tmp}/none cannot be read (No such file or directory)",
    ),
    "an empty password file": (
        {"user": "gw-01", "password_file": "{tmp}/empty"},
        "password_file {tmp}/empty holds no text; write the password into it",
    ),
    "a credential without systemd": (
        {"user": "gw-01", "password_file": "credential:mqtt"},
        "password_file is the credential mqtt, but systemd gives none here; LoadCredential=mqtt:/path does",
    ),
    "a credential that systemd did not find": (
        {"user": "gw-01", "password_file": "credential:mqtt", "credentials": "{tmp}"},
        "put it into /etc/credstore/mqtt, have the unit load it (LoadCredential=mqtt) and restart the gateway",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_mistake_is_one_sentence_alarmed_and_logged_once(
    mistake: str,
    broker: Broker,
    ca: Authority,
    stranger: Authority,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "empty").touch()
    locked = ("openssl", "ec", "-aes128", "-passout", "pass:1", "-in", f"{ca.folder}/gw-01.key", "-out")
    subprocess.run([*locked, f"{tmp_path}/locked.key"], check=True, capture_output=True)
    places = {"tmp": tmp_path, "ca": ca.folder, "stranger": stranger.folder}
    wrong, expected = MISTAKES[mistake]
    keys = {key: text and text.format(**places) for key, text in wrong.items()}
    await told_once(
        broker.port, replace(gateway(ca), **keys), expected.format(**places), caplog=caplog, monkeypatch=monkeypatch
    )


async def test_a_refused_certificate_is_told_also_where_the_next_attempt_has_begun(
    broker: Broker, ca: Authority, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paho's thread is ahead of the event loop, which hears of the end when the files are read anew already."""
    held, call, identify = deque[tuple[Any, ...]](), mqtt.MqttClient._call, mqtt.MqttClient._identify  # noqa: SLF001 - paho's thread passes both

    def hold(client: mqtt.MqttClient, *said: Any) -> None:  # noqa: ANN401 - paho's own
        if said[1].__name__ == "_on_closed":
            held.append(said)
        else:
            call(client, *said)

    def tell(client: mqtt.MqttClient, paho: Client) -> None:
        identify(client, paho)
        while held:
            call(client, *held.popleft())

    monkeypatch.setattr(mqtt.MqttClient, "_call", hold)
    monkeypatch.setattr(mqtt.MqttClient, "_identify", tell)
    unknown = replace(gateway(ca), cert_file=None, key_file=None)
    expected = "it does not take the gateway's certificate (tlsv13 alert certificate required)"
    await told_once(broker.port, unknown, expected, caplog=caplog, monkeypatch=monkeypatch)


async def told_once(
    port: int, security: Security, expected: str, *, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After three attempts there are one alarm and one line in the log; both hold the same."""
    monkeypatch.setattr(mqtt, "FIRST_RETRY", 0.05)
    caplog.set_level(logging.INFO)
    told, unusable = asyncio.Semaphore(0), mqtt.MqttClient._on_unusable  # noqa: SLF001 - every refusal passes it

    def spy(client: mqtt.MqttClient, clause: str) -> None:
        unusable(client, clause)
        told.release()

    monkeypatch.setattr(mqtt.MqttClient, "_on_unusable", spy)
    outbox = Outbox()
    async with delivering(outbox, HOST, port, security=security):
        async with asyncio.timeout(HANGS):
            for _ in range(3):
                await told.acquire()
        await outbox.until(lambda: bool(outbox.alarms))
    assert [(alarm.code, alarm.source) for alarm in outbox.alarms] == [("broker_unusable", "gateway")]
    text = outbox.alarms[0].text
    assert expected in text
    assert text.startswith(f"The broker {HOST}:{port} cannot be used: ")
    assert len(caplog.records) == 1
    assert expected in caplog.records[0].message


@pytest.mark.parametrize(
    ("host", "days", "expected"),
    [
        ("127.0.0.2", 2, "its certificate is for another name than 127.0.0.1; let host be a name in the certificate"),
        ("broker.example", 2, "its certificate is for another name than 127.0.0.1; let host be"),
        ("127.0.0.1", 0, "its certificate has expired; renew it at the broker"),
    ],
)
async def test_a_broker_that_shows_a_wrong_certificate_is_not_spoken_to(
    host: str,
    days: int,
    expected: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = Authority(tmp_path / "ca")
    other.sign("broker", host=host, days=days)
    other.sign("gw-01")
    broker = Broker(tmp_path, example(tmp_path, other))
    broker.start()
    await told_once(broker.port, gateway(other), expected, caplog=caplog, monkeypatch=monkeypatch)
    broker.stop()


async def test_a_broker_without_tls_is_not_spoken_to(
    tmp_path: Path, ca: Authority, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker(tmp_path)
    broker.start()
    expected = "it does not answer in TLS; correct the port, or take ca_file out of the settings"
    await told_once(broker.port, gateway(ca), expected, caplog=caplog, monkeypatch=monkeypatch)
    broker.stop()


async def test_a_wrong_password_is_told_and_a_right_one_used_without_a_restart(
    tmp_path: Path, ca: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "FIRST_RETRY", 0.05)
    broker = by_password(tmp_path, ca)
    broker.start()
    password = tmp_path / "mqtt-password"
    password.write_text("guess\n")
    outbox = Outbox()
    outbox.add("charge", 10)
    security = Security(ca_file=str(ca.file), user="gw-01", password_file=str(password))
    async with delivering(outbox, HOST, broker.port, security=security):
        await outbox.until(lambda: bool(outbox.alarms))
        assert "it refuses the gateway: Not authorized" in outbox.alarms[0].text
        password.write_text(SECRET)
        await outbox.until(lambda: outbox.done[CHARGES] == 10)
        await outbox.until(lambda: outbox.ended[-1] == ("broker_unusable", "gateway"))
    broker.stop()


async def test_the_secret_is_in_no_log_and_no_alarm(
    tmp_path: Path, ca: Authority, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "FIRST_RETRY", 0.05)
    caplog.set_level(logging.DEBUG)
    broker = by_password(tmp_path, ca)
    broker.start()
    password = tmp_path / "mqtt-password"
    password.write_text("my-guess\n")
    outbox = Outbox()
    security = Security(ca_file=str(ca.file), user="gw-01", password_file=str(password))
    async with delivering(outbox, HOST, broker.port, security=security):
        await outbox.until(lambda: bool(outbox.alarms))
    broker.stop()
    assert "my-guess" not in caplog.text
    assert "my-guess" not in outbox.alarms[0].text
