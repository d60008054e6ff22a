"""The tables of the settings file `gateway.toml`, and what each key may hold."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BaseModel, Field

from gateway.core.problem import cut
from gateway.settings_access import MachineTable, ReaderTable
from gateway.settings_fields import DRIVER_KEYS, STRICT, Duration, Id

SQLITE = "sqlite:///"
_POSTGRESQL = {"postgresql", "postgresql+psycopg"}
CREDENTIAL = "credential:"
"""begins the name of a systemd credential, where a file can be named"""


def _store(url: str) -> str:
    parts = urlsplit(url)
    server = parts.scheme in _POSTGRESQL and parts.path.strip("/")
    if not server and (not url.startswith(SQLITE) or url == SQLITE):
        named = f"{parts.scheme}:..." if parts.scheme or parts.netloc else cut(url)  # what follows may be a password
        message = (
            f'"{named}" names neither an SQLite file nor a PostgreSQL database; '
            'write e.g. "sqlite:////var/lib/submeter/gateway.db" or "postgresql+psycopg://gateway@host/submeter"'
        )
        raise ValueError(message)
    if parts.password is not None or "password" in parse_qs(parts.query):
        message = "a password has no place in this file; put it into the file that PGPASSFILE names"
        raise ValueError(message)
    return url


def _file(text: str) -> str:
    name = text.removeprefix(CREDENTIAL)
    if not text or text.endswith("/") or (name != text and not re.fullmatch(r"[A-Za-z0-9._-]{1,80}", name)):
        message = f'"{text}" names no file; write a path, or e.g. "credential:mqtt-key"'
        raise ValueError(message)
    return text


SecretFile = Annotated[str, AfterValidator(_file)]
"""a path, relative ones beside the settings file, or credential:<name>"""


class MeterTable(BaseModel):
    """One meter on a line; the rest of its keys is the driver's: model, address, serial."""

    model_config = DRIVER_KEYS
    id: Id = Field(description="id of the meter; the property data and the topics use the same", examples=["heat-01"])


def _wired(meters: list[MeterTable]) -> list[MeterTable]:
    if not meters:
        message = (
            "no meter is wired to this line; write a [[bus.meter]] for each: `submeter scan modbus HOST:PORT`, or mbus,"
            " or the device of a serial line, finds them"
        )
        raise ValueError(message)
    return meters


class BusTable(BaseModel):
    """One line with its meters; the rest of its keys is the driver's: host, port and the like."""

    model_config = DRIVER_KEYS
    id: Id = Field(description="id of the line", examples=["mbus-1"])
    driver: str = Field(description="name of an installed driver", examples=["mbus"])
    poll: Duration = Field(
        description="every meter is read at multiples of this time since midnight UTC", examples=["15min"]
    )
    meter: Annotated[list[MeterTable], AfterValidator(_wired)] = Field(default=[], validate_default=True)


class ConsumerTable(BaseModel):
    """A receiver that acknowledges what it has taken over."""

    model_config = STRICT
    name: Id = Field(description="publishes its acknowledgements on ack/<name>", examples=["billing"])


class MqttTable(BaseModel):
    """The broker that charges and readings are delivered to."""

    model_config = STRICT
    host: str = Field(min_length=1, description="with TLS, a name in the broker's certificate", examples=["127.0.0.1"])
    port: int | None = Field(default=None, ge=1, le=65535, description="8883 with ca_file, else 1883", examples=[1883])
    ca_file: SecretFile | None = Field(
        default=None, description="who signed the broker's certificate; switches TLS on", examples=["ca.pem"]
    )
    cert_file: SecretFile | None = Field(
        default=None, description="the gateway's own certificate", examples=["credential:mqtt-cert"]
    )
    key_file: SecretFile | None = Field(
        default=None, description="the key of cert_file, without a password", examples=["credential:mqtt-key"]
    )
    user: str | None = Field(default=None, min_length=1, description="name at the broker", examples=["gw-01"])
    password_file: SecretFile | None = Field(
        default=None,
        description="file with the password of user; a path or credential:<name>, never the password itself",
        examples=["credential:mqtt-password"],
    )
    backfill_per_second: int = Field(
        default=200,
        ge=1,
        le=10_000,
        description="events older than an hour that are sent a second, at most, after an outage",
        examples=[200],
    )
    consumer: list[ConsumerTable] = []


class MetricsTable(BaseModel):
    """Numbers about the gateway for Prometheus: http://127.0.0.1:<port>/metrics."""

    model_config = STRICT
    port: int = Field(ge=1, le=65535, description="on this machine only", examples=[9435])


class RetentionTable(BaseModel):
    """How long what is kept. Charges stay for good."""

    model_config = STRICT
    raw_days: int = Field(
        default=30, ge=1, le=3650, description="meters' answers as they came; their readings stay", examples=[30]
    )
    readings_months: int = Field(
        default=36,
        ge=14,  # receivers may ask for 400 days once more
        le=1200,
        description="every reading; later those around midnights and of sessions, and what each hour and day counted",
        examples=[36],
    )


class SettingsFile(BaseModel):
    """Settings of a Submeter Gateway."""

    model_config = STRICT
    site: Id = Field(description="first part of the topics", examples=["sonnenhof"])
    gateway: Id = Field(description="second part of the topics", examples=["gw-01"])
    store: Annotated[str, AfterValidator(_store)] = Field(
        description="SQLAlchemy URL of the database; a relative file lies beside this one",
        examples=["sqlite:////var/lib/submeter/gateway.db"],
    )
    ballast_kb: int = Field(
        default=1000, ge=0, le=1_000_000, description="kept free on the disk of an SQLite file, for when it is full"
    )
    mqtt: MqttTable | None = None
    bus: list[BusTable] = []
    reader: list[ReaderTable] = []
    machine: list[MachineTable] = []
    metrics: MetricsTable | None = None
    retention: RetentionTable = RetentionTable()
