from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from gateway.settings import MqttSettings, Settings, load
from gateway.settings_fields import duration
from gateway.settings_schema import json_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gateway.ports.clock import Clock
    from gateway.ports.field import BadgeReader, Machine, MeterBus

GOOD = """\
site = "sonnenhof"
gateway = "gw-01"
store = "sqlite:///gateway.db"
[mqtt]
host = "127.0.0.1"
[[mqtt.consumer]]
name = "billing"
[[bus]]
id = "mbus-1"
driver = "wire"
host = "127.0.0.1"
poll = "15min"
[[bus.meter]]
id = "heat-01"
address = 1
[[bus.meter]]
id = "heat-02"
address = 2
[[bus]]
id = "mbus-2"
driver = "wire"
host = "127.0.0.2"
poll = "90s"
[[bus.meter]]
id = "water-01"
address = 1
"""


class LineKeys(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    host: str = Field(examples=["127.0.0.1"])
    port: int = 10001


class MeterKeys(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    address: int = Field(ge=0, le=250, examples=[1])
    model: str = "one"


class WireDriver:
    name = "wire"
    bus_schema: type[BaseModel] = LineKeys
    meter_schema: type[BaseModel] = MeterKeys

    def open(self, bus: BaseModel, meters: Mapping[str, BaseModel], clock: Clock) -> MeterBus:
        raise NotImplementedError

    def models(self) -> Mapping[str, tuple[str, ...]]:
        return {"one": ("import", "export")}

    def reads_per_day(self, meter: BaseModel) -> int | None:
        raise NotImplementedError

    def decode(self, frame: bytes, key: str | None = None) -> dict[str, Any]:
        return {"ok": False, "error": f"{frame.hex()} {key}"}


class ReaderKeys(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    device: str = Field(examples=["/dev/ttyUSB0"])


class PlainReader:
    name = "plain"
    schema: type[BaseModel] = ReaderKeys

    def open(self, settings: BaseModel) -> BadgeReader:
        raise NotImplementedError


class RelayKeys(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    coil: int = 0


class Relay:
    name = "relay"
    bus = "wire"
    schema: type[BaseModel] = RelayKeys

    def open(self, settings: BaseModel, bus: MeterBus) -> Machine:
        raise NotImplementedError


class OtherRelay(Relay):
    name = "other-relay"
    bus = "other"


def one_of(*drivers: Any) -> Callable[[str], Any]:  # noqa: ANN401 - of any kind
    def find(name: str) -> Any:  # noqa: ANN401 - as above
        for driver in drivers:
            if driver.name == name:
                return driver
        message = f"no driver {name!r} is installed; installed are: {', '.join(each.name for each in drivers)}"
        raise LookupError(message)

    return find


class Packages:
    find = staticmethod(one_of(WireDriver()))
    find_reader = staticmethod(one_of(PlainReader()))
    find_machine = staticmethod(one_of(Relay(), OtherRelay()))


INSTALLED = Packages()


def load_text(folder: Path, text: str) -> Settings | list[str]:
    path = folder / "gateway.toml"
    path.write_text(text, encoding="utf-8")
    loaded = load(path, INSTALLED)
    return loaded if isinstance(loaded, Settings) else [str(each).removeprefix(f"{folder}/") for each in loaded]


def test_good_settings_come_frozen_with_what_the_driver_accepted(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, GOOD)
    assert isinstance(loaded, Settings)
    assert (loaded.site, loaded.gateway) == ("sonnenhof", "gw-01")
    assert loaded.mqtt == MqttSettings(host="127.0.0.1", port=1883, consumers=("billing",))
    first, second = loaded.buses
    assert (first.id, first.poll, first.line) == ("mbus-1", timedelta(minutes=15), LineKeys(host="127.0.0.1"))
    assert first.meters == {"heat-01": MeterKeys(address=1), "heat-02": MeterKeys(address=2)}
    assert (second.poll, second.meters) == (timedelta(seconds=90), {"water-01": MeterKeys(address=1)})


def test_tls_has_its_own_port_and_its_files_lie_beside_the_settings_or_come_from_systemd(tmp_path: Path) -> None:
    keys = 'ca_file = "ca.pem"\ncert_file = "/etc/gw.pem"\nkey_file = "credential:mqtt-key"\n'
    keys += 'user = "gw-01"\npassword_file = "credential:mqtt-password"\nbackfill_per_second = 500\n'
    loaded = load_text(tmp_path, GOOD.replace("[[mqtt", f"{keys}[[mqtt"))
    assert isinstance(loaded, Settings)
    assert loaded.mqtt == MqttSettings(
        host="127.0.0.1",
        port=8883,
        ca_file=str(tmp_path / "ca.pem"),
        cert_file="/etc/gw.pem",
        key_file="credential:mqtt-key",
        user="gw-01",
        password_file="credential:mqtt-password",  # noqa: S106 - the name of a file
        backfill_per_second=500,
        consumers=("billing",),
    )


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ('cert_file = "a.pem"', "mqtt.cert_file: is of no use without key_file; write both, or neither"),
        ('ca_file = "ca.pem"\nkey_file = "a.key"', "mqtt.key_file: is of no use without cert_file"),
        ('cert_file = "a.pem"\nkey_file = "a.key"', "mqtt.cert_file: is of no use without ca_file"),
        ('password_file = "secret"', "mqtt.password_file: is of no use without user"),
        ('password = "1234"', "mqtt.password: this key is not known"),
        ('user = "gw"\npassword_file = "credential:"', 'mqtt.password_file: "credential:" names no file; write a path'),
        ('ca_file = "credential:../x"', 'mqtt.ca_file: "credential:../x" names no file'),
        ("backfill_per_second = 0", "mqtt.backfill_per_second: 0 is too small; write 1 or more"),
    ],
)
def test_a_half_or_impossible_identity_is_told(tmp_path: Path, keys: str, expected: str) -> None:
    found = load_text(tmp_path, GOOD.replace("[[mqtt", f"{keys}\n[[mqtt"))
    assert isinstance(found, list)
    assert any(expected in line for line in found), found


def test_a_relative_database_lies_beside_the_settings(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, GOOD)
    assert isinstance(loaded, Settings)
    assert loaded.store == f"sqlite:///{tmp_path}/gateway.db"


def test_an_absolute_database_stays_where_it_is(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, GOOD.replace("sqlite:///gateway.db", "sqlite:////var/lib/submeter/gateway.db"))
    assert isinstance(loaded, Settings)
    assert loaded.store == "sqlite:////var/lib/submeter/gateway.db"


def test_a_postgresql_database_is_taken_as_it_is(tmp_path: Path) -> None:
    url = "postgresql+psycopg://gateway@box/submeter"
    loaded = load_text(tmp_path, GOOD.replace("sqlite:///gateway.db", url))
    assert isinstance(loaded, Settings)
    assert loaded.store == url


def test_the_ballast_is_given_in_kilobytes(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, f"ballast_kb = 5\n{GOOD}")
    assert isinstance(loaded, Settings)
    assert loaded.ballast == 5000


def test_metrics_are_off_and_retention_has_its_usual_times_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, GOOD)
    assert isinstance(loaded, Settings)
    assert (loaded.metrics_port, loaded.raw_days, loaded.readings_months) == (None, 30, 36)
    loaded = load_text(tmp_path, f"{GOOD}[metrics]\nport = 9435\n[retention]\nraw_days = 7\nreadings_months = 120\n")
    assert isinstance(loaded, Settings)
    assert (loaded.metrics_port, loaded.raw_days, loaded.readings_months) == (9435, 7, 120)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("[metrics]", "gateway.toml:27: metrics.port: is missing; write e.g. 9435"),
        ("[metrics]\nport = 0", "gateway.toml:28: metrics.port: 0 is too small; write 1 or more"),
        ('[metrics]\nport = 9435\nhost = "0.0.0.0"', "gateway.toml:29: metrics.host: this key is not known"),
        ("[retention]\nraw_days = 0", "gateway.toml:28: retention.raw_days: 0 is too small; write 1 or more"),
        (
            "[retention]\nreadings_months = 13",
            "gateway.toml:28: retention.readings_months: 13 is too small; write 14 or more",
        ),
        ("[retention]\nmonths = 36", "gateway.toml:28: retention.months: this key is not known"),
    ],
)
def test_a_mistake_in_metrics_or_retention_is_told_with_its_line(tmp_path: Path, table: str, expected: str) -> None:
    found = load_text(tmp_path, GOOD + table)
    assert isinstance(found, list)
    assert found[0].startswith(expected), found


def test_three_mistakes_of_three_kinds_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    text = GOOD.replace('site = "sonnenhof"', 'sight = "sonnenhof"')  # the schema of the file
    text = text.replace("address = 2", 'address = "2"')  # the schema of the driver
    text = text.replace('id = "water-01"', 'id = "heat-01"')  # twice in the file
    assert load_text(tmp_path, text) == [
        'gateway.toml: site: is missing; write e.g. "sonnenhof"',
        "gateway.toml:1: sight: this key is not known; did you mean site?",
        'gateway.toml:18: bus[0].meter[1].address: "2" is no whole number; write it in digits, without quotes, e.g. 1',
        "gateway.toml:25: bus[1].meter[0].id: heat-01 is already used in line 14; give each its own",
    ]


@pytest.mark.parametrize(
    ("good", "bad", "expected"),
    [
        ('"mbus-2"', '"mbus-1"', "gateway.toml:20: bus[1].id: mbus-1 is already used in line 9"),
        ("127.0.0.2", "127.0.0.1", "gateway.toml:19: bus[1]: this is the same line as in line 8"),
        ('"90s"', '"90 s"', 'gateway.toml:23: bus[1].poll: "90 s" is no time from 1s to 24h; write e.g. "15min"'),
        (
            '"90s"',
            "90",
            'gateway.toml:23: bus[1].poll: 90 is no text; put it into quotes, e.g. "15min"',
        ),
        ('driver = "wire"', 'driver = "knx"', "gateway.toml:10: bus[0].driver: no driver 'knx' is installed"),
        (
            "address = 2",
            "adress = 2",
            "gateway.toml:18: bus[0].meter[1].adress: this key is not known; did you mean address?",
        ),
        (
            "address = 2",
            "address = 251",
            "gateway.toml:18: bus[0].meter[1].address: 251 is too large; write 250 or less",
        ),
        ("sqlite:///gateway.db", "mysql://x/y", 'gateway.toml:3: store: "mysql:..." names neither an SQLite file nor'),
        (
            "sqlite:///gateway.db",
            "gateway.db",
            'gateway.toml:3: store: "gateway.db" names neither an SQLite file nor a',
        ),
        ("sqlite:///gateway.db", "//a:secret@x/y", 'gateway.toml:3: store: ":..." names neither an SQLite file nor a'),
        ("sqlite:///gateway.db", "postgresql://x", 'gateway.toml:3: store: "postgresql:..." names neither'),
        ("sqlite:///gateway.db", "postgresql://a:secret@x/y", "gateway.toml:3: store: a password has no place in this"),
        ("sqlite:///gateway.db", "postgresql://x/y?password=z", "gateway.toml:3: store: a password has no place in"),
        (
            'host = "127.0.0.1"\n[[mqtt',
            "port = 70000\n[[mqtt",
            "gateway.toml:5: mqtt.port: 70000 is too large; write 65535 or less",
        ),
        (
            'id = "heat-02"',
            'id = "Heat 02"',
            'gateway.toml:17: bus[0].meter[1].id: "Heat 02" does not fit: write 1 to 40 of',
        ),
        (
            'name = "billing"',
            'name = "billing"\n[[mqtt.consumer]]\nname = "billing"',
            "gateway.toml:9: mqtt.consumer[1].name: billing",
        ),
    ],
)
def test_each_kind_of_mistake_is_told_with_its_place(tmp_path: Path, good: str, bad: str, expected: str) -> None:
    found = load_text(tmp_path, GOOD.replace(good, bad, 1))
    assert isinstance(found, list)
    assert any(each.startswith(expected) for each in found), found


def test_a_line_without_meters_is_told_how_they_are_found(tmp_path: Path) -> None:
    bare = GOOD.partition("[[bus.meter]]")[0]
    text = "no meter is wired to this line; write a [[bus.meter]] for each: `submeter scan modbus HOST:PORT`"
    absent, none = load_text(tmp_path, bare), load_text(tmp_path, f"{bare}meter = []\n")
    assert isinstance(absent, list)
    assert isinstance(none, list)
    assert absent[0].startswith(f"gateway.toml:8: bus[0]: {text}")
    assert f": bus[0].meter: {text}" in none[0]


def test_a_meter_that_is_no_table_is_refused_without_a_traceback(tmp_path: Path) -> None:
    text = (
        GOOD.partition("[[bus]]")[0] + '[[bus]]\nid = "m"\ndriver = "wire"\npoll = "1h"\nhost = "h"\nmeter = [1, "x"]\n'
    )
    found = load_text(tmp_path, text)
    assert isinstance(found, list)
    assert [each.partition(" is no table")[0] for each in found] == [
        "gateway.toml:13: bus[0].meter[0]: 1",
        'gateway.toml:13: bus[0].meter[1]: "x"',
    ]


def test_a_file_that_is_not_there_or_no_text_is_one_sentence(tmp_path: Path) -> None:
    missing = load(tmp_path / "none.toml", INSTALLED)
    assert not isinstance(missing, Settings)
    assert [each.text for each in missing] == ["cannot be read (No such file or directory); name a file that is there"]
    (tmp_path / "bad.toml").write_bytes(b"site = '\xff'\n")
    bad = load(tmp_path / "bad.toml", INSTALLED)
    assert not isinstance(bad, Settings)
    assert [each.text for each in bad] == ["is not UTF-8 text; save it as UTF-8"]


@pytest.mark.parametrize("text", ["0s", "25h", "15", "1.5h", "-1s", "15min ", "86401s", ""])
def test_a_poll_time_is_a_whole_time_of_at_most_a_day(text: str) -> None:
    with pytest.raises(ValueError, match="write e"):
        duration(text)


def test_the_editors_schema_has_the_keys_of_the_drivers() -> None:
    schema = json_schema([WireDriver()])
    (line,) = schema["properties"]["bus"]["items"]["oneOf"]
    assert {"id", "driver", "poll", "host", "port", "meter"} == set(line["properties"])
    assert set(line["required"]) == {"id", "driver", "poll", "meter", "host"}
    assert set(line["properties"]["meter"]["items"]["properties"]) == {"id", "address", "model"}
