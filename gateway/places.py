"""What the settings name on this machine, looked at without opening a line or a connection."""

from __future__ import annotations

import os
import stat
from datetime import timedelta
from pathlib import Path
from stat import S_ISDIR
from typing import TYPE_CHECKING, Any

from gateway.files import may_be
from gateway.mqtt.security import Security
from gateway.pepper import CREDENTIALS
from gateway.service.battery import Battery, waking
from gateway.settings_fields import tables
from gateway.settings_file import CREDENTIAL
from gateway.store.figures import folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.core.refusal import Place
    from gateway.service.battery import Waking
    from gateway.settings import MqttSettings, Settings
    from gateway.tomlfile import Document, FileProblem

MINUTE = timedelta(minutes=1)


def wrong(settings: Settings, document: Document) -> list[FileProblem]:
    """What keeps this user from running the gateway: the store's folder, the broker's files, the keys of meters.

    `document` is the file that the settings were read from: it knows the lines.
    """
    found: list[tuple[Place, str]] = [(("store",), text) for text in _store(settings.store)]
    if settings.mqtt is not None:
        clauses = [text.partition(" ") for text in security(settings.mqtt).faults()]
        found += [(("mqtt", key), text) for key, _, text in clauses]
    found += [(place, text) for place, file in _keys(settings) for text in _unreadable(file)]
    return [document.lines.problem(place, text) for place, text in found]


def exposed(settings: Settings, document: Document) -> list[FileProblem]:
    """Key files of meters that every user of this machine can read."""
    text = "{0} can be read by every user of this machine; take that away: chmod o-r {0}"
    return [
        document.lines.problem(place, text.format(file))
        for place, file in _keys(settings)
        if os.access(file, os.R_OK) and file.stat().st_mode & stat.S_IROTH
    ]


def absent(document: Document) -> list[FileProblem]:
    """Devices that are not there just now: an adapter may be plugged in later."""
    devices = [((*place, "device"), table.get("device")) for place, table in _wired(document.table)]
    return [document.lines.problem(place, text) for place, device in devices for text in unplugged(device)]


def unplugged(device: object) -> Iterator[str]:
    """What is to be done where the device file of a line, if it has one, is not there."""
    if isinstance(device, str) and not os.path.lexists(device):
        yield f"{device} is not there now; plug the adapter in, or name one that `ls -l /dev/serial/by-id` shows"


def wakeful(settings: Settings, document: Document) -> list[FileProblem]:
    """Lines on which the batteries do not bear as many selections as the poll time takes."""
    lines = ((at, bus, waking(bus.driver, bus.poll, bus.meters)) for at, bus in enumerate(settings.buses))
    return [
        document.lines.problem(("bus", at, "poll"), _wakes(bus.poll, found))
        for at, bus, found in lines
        if found is not None and found.total > found.bears
    ]


def _wakes(poll: timedelta, found: Waking) -> str:
    slowest = max(Battery(poll, found.share(meter)).every for meter in found.wanted) // MINUTE
    return (
        f"{len(found.wanted)} meters by secondary address would wake every meter of the line {found.total} times a day,"
        f" and the battery of {found.battery} bears {found.bears}: they are read less often, down to every {slowest}"
        f" minutes; give them primary addresses (submeter mbus address), or the line a longer poll"
    )


def security(mqtt: MqttSettings, environment: Mapping[str, str] = os.environ) -> Security:
    """What the gateway shows the broker, as this process can read it."""
    return Security(
        ca_file=mqtt.ca_file,
        cert_file=mqtt.cert_file,
        key_file=mqtt.key_file,
        user=mqtt.user,
        password_file=mqtt.password_file,
        credentials=environment.get(CREDENTIALS),
    )


def _keys(settings: Settings) -> Iterator[tuple[Place, Path]]:
    """The key files of meters; credentials that systemd has not laid out for this process are left aside."""
    folder = os.environ.get(CREDENTIALS)
    for index, bus in enumerate(settings.buses):
        for at, meter in enumerate(bus.meters.values()):
            named = getattr(meter, "key", None)
            if isinstance(named, str) and (folder is not None or not named.startswith(CREDENTIAL)):
                yield ("bus", index, "meter", at, "key"), Path(folder or "", named.removeprefix(CREDENTIAL))


def _unreadable(file: Path) -> Iterator[str]:
    if not may_be(file.is_file):
        yield f"{file} is not there or no file; put the key file there, readable for the gateway's user only"
    elif not os.access(file, os.R_OK):
        yield f"{file} cannot be read by this user; check as the gateway's user, or give it the file"


def _wired(table: dict[str, Any]) -> Iterator[tuple[Place, dict[str, Any]]]:
    for key in ("bus", "reader"):
        yield from tables((), table, key)


def _store(url: str) -> Iterator[str]:
    place = folder(url)
    if place is None:
        return
    if not may_be(place.is_dir):
        yield f"the folder {place} is not there; make it, owned by the user that runs the gateway"
    elif not os.access(place, os.W_OK | os.X_OK):
        yield f"the folder {place} cannot be written by this user; check as the gateway's user, or give it the folder"
    else:
        yield from _database(Path(url.removeprefix("sqlite:///")))


def _database(file: Path) -> Iterator[str]:
    try:
        is_folder = S_ISDIR(file.stat().st_mode)
    except FileNotFoundError:
        return
    except OSError as error:
        yield f"the store cannot be {file} ({error.strerror}); name another file"
        return
    if is_folder:
        yield f"{file} is a folder; name a file in it"
    elif not os.access(file, os.R_OK | os.W_OK):
        yield f"{file} cannot be written by this user; check as the gateway's user, or give it the file"
