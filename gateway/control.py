"""The Unix socket through which the command line reaches the running daemon.

One JSON line is a command, one JSON line its answer; then the connection ends. Where a person has something to do
meanwhile, lines that say what come before the answer. The kernel says who is at the other
end (SO_PEERCRED, unix(7)), and by the socket's mode who may be.
"""

from __future__ import annotations

import asyncio
import grp
import logging
import os
import select
import socket
import struct
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from gateway.core.refusal import dotted
from gateway.files import user_name
from gateway.lines import TOLD, Told
from gateway.schema_errors import sentence
from gateway.service.command_schema import COMMAND, HEARD, VERBS, Answer, Enrol, Lines, Progress, refusal
from gateway.service.property_fields import Strict
from gateway.service.storing import StoreUnavailableError

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

    from pydantic_core import ErrorDetails

    from gateway.service.command_schema import Add, Command

    Tapped = Callable[[Enrol, Callable[[str], None]], Awaitable[Add | Answer]]

_T = TypeVar("_T")
LIMIT = 4 * 1024 * 1024
"""bytes of a line: a building of a thousand points is a fifth of it"""
HEARING = 10.0
"""seconds in which a command must have come"""
ANSWERING = 120.0
"""seconds in which a badge must have been held to a reader twice"""
QUIET, PATIENCE = 3.0, 30.0
"""seconds after which who waits is told so, and in which any other command must be answered"""
_UNSURE = "the change may still be made: `submeter audit` tells"
TALKERS = 8
"""as many commands are carried out at once; the others wait"""
MODE = 0o660
BEAT = 2.0
_CREDENTIALS = struct.Struct("3i")
MAX_TOLD = 5
RUNTIME = Path("/run/submeter")
"""RuntimeDirectory= of the unit"""
_SQLITE = "sqlite:///"

_log = logging.getLogger(__name__)


class ControlError(Exception):
    """The daemon cannot be asked. The text is one sentence."""


class NoRightError(ControlError):
    """It takes no commands from this user."""


class NoWayError(ControlError):
    """It cannot be reached."""


class ControlServer:
    """The daemon's end."""

    def __init__(
        self,
        path: Path,
        execute: Callable[[Command, str], Awaitable[Answer]],
        *,
        tapped: Tapped,
        busy: Callable[[], AbstractContextManager[None]],
        beat: Callable[[], None],
        lines: Callable[[], Told] = Told,
    ) -> None:
        """`busy` surrounds each command, `beat` is called at every sign of life.

        `tapped` makes a badge's entry of what is held to a reader meanwhile, and says what the person is to do;
        `lines` tells how the lines are doing, and the clock.
        """
        self._lines = lines
        self._tapped = tapped
        self._path = path
        self._execute = execute
        self._busy = busy
        self._beat = beat
        self._room = asyncio.Semaphore(TALKERS)
        self._conversations: set[asyncio.Task[None]] = set()
        self._silent: set[asyncio.Task[None] | None] = set()
        """conversations in which no command has come yet: nothing is lost where they end"""
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Take the socket's place; who comes now waits until `run`. OSError where it cannot be made.

        A socket that is there was left by a daemon that has died: the store's lock is ours.
        """
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(self._path))
        self._path.chmod(MODE)  # nobody can have come yet: it does not listen
        self._socket.listen()

    def close(self) -> None:
        """Let go of the socket and its place."""
        if self._socket is not None:
            self._socket.close()
            with suppress(OSError):  # on a disk that has become read-only it stays: the next daemon takes its place
                self._path.unlink()

    async def run(self) -> None:
        """Answer commands until cancelled; those that were begun are finished."""
        server = await asyncio.start_unix_server(self._accept, sock=self._socket, limit=LIMIT)
        try:
            while True:
                self._beat()
                await asyncio.sleep(BEAT)
        finally:
            server.close()
            for conversation in self._conversations & self._silent:
                conversation.cancel()
            await asyncio.gather(*self._conversations, return_exceptions=True)

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        conversation = asyncio.get_running_loop().create_task(self._converse(reader, writer))
        self._conversations.add(conversation)
        self._silent.add(conversation)
        conversation.add_done_callback(self._conversations.discard)
        conversation.add_done_callback(self._silent.discard)

    async def _converse(self, reader: StreamReader, writer: StreamWriter) -> None:
        with closing(writer), suppress(ConnectionError):  # who has gone needs no answer
            heard = await _heard(reader)  # before there is room: who says nothing is in nobody's way
            by = author(writer.get_extra_info("socket"))
            if isinstance(heard, Enrol):
                heard = await self._enrolled(heard, by, reader, writer)
            async with self._room:
                self._silent.discard(asyncio.current_task())
                writer.write(await self._answer(heard, by) + b"\n")
                await writer.drain()

    async def _answer(self, heard: Command | Lines | Answer, by: str) -> bytes:
        if isinstance(heard, Lines):
            return TOLD.dump_json(self._lines())
        answer = heard if isinstance(heard, Answer) else await self._carried_out(heard, by)
        return answer.model_dump_json().encode()

    async def _enrolled(self, command: Enrol, by: str, reader: StreamReader, writer: StreamWriter) -> Command | Answer:
        """What follows from the taps; ConnectionError where who asked has gone meanwhile: nobody waits for them."""

        def say(text: str) -> None:
            writer.write(Progress(progress=text).model_dump_json().encode() + b"\n")

        taps = asyncio.ensure_future(self._guarded(self._tapped(command, say), by, command.verb))
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({taps, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not taps.done():
                raise ConnectionResetError
            return taps.result()
        finally:
            taps.cancel()
            gone.cancel()

    async def _carried_out(self, command: Command, by: str) -> Answer:
        with self._busy():
            answer = await self._guarded(self._execute(command, by), by, command.verb)
        _log.info("%s: %s: %s", by, command.verb, f"{len(answer.changes)} changed" if answer.ok else "refused")
        return answer

    async def _guarded(self, work: Awaitable[_T], by: str, verb: str) -> _T | Answer:
        try:
            return await work
        except StoreUnavailableError as error:
            _log.warning("%s: %s: %s", by, verb, error.reason)
            return refusal(error.reason)
        except Exception as error:  # noqa: BLE001 - nothing is committed, and who asked must hear of it
            _log.exception("%s: %s failed", by, verb)
            return refusal(f"the daemon could not carry it out ({error}); its log says more")


async def _heard(reader: StreamReader) -> Command | Enrol | Lines | Answer:
    """The command that comes, or why there is none."""
    try:
        async with asyncio.timeout(HEARING):
            line = await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError:
        return refusal(f"the command is longer than {LIMIT} bytes; give it in parts")
    except asyncio.IncompleteReadError:
        return refusal("the command has no end; write one JSON object and a line feed")
    except TimeoutError:
        return refusal(f"no command came within {HEARING:g} s; write one JSON object and a line feed")
    try:
        return COMMAND.validate_json(line)
    except ValidationError as error:
        return refusal(*_mistakes(error))


def author(connection: socket.socket) -> str:
    """Who is at the other end; a container may have no name for its user."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(credentials)
    return user_name(user)


def group_name(number: int) -> str:
    """The group's name, else its number."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _mistakes(error: ValidationError) -> list[str]:
    found = error.errors(include_url=False)
    return [f"the command is refused: {_mistake(one)}" for one in found[:MAX_TOLD]]


def _mistake(error: ErrorDetails) -> str:
    """What a person can put right; the first part of a place is the verb."""
    if error["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return f"its verb is not known; write one of {', '.join(VERBS)}"
    verb, *place = error["loc"] or ("",)
    model = VERBS.get(str(verb))
    if model is None:
        return sentence(error, Strict)
    where = ".".join(filter(None, (str(verb), dotted(tuple(place)))))
    return f"{where}: {sentence({**error, 'loc': tuple(place)}, model)}"


def ask(path: Path, command: Command | Enrol, say: Callable[[str], None] = lambda _: None) -> Answer | None:
    """The daemon's answer to a command; None where no daemon listens. ControlError where it cannot be asked.

    `say` is called with what the person is to do meanwhile.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        if not _connected(connection, path):
            return None
        connection.settimeout(ANSWERING if isinstance(command, Enrol) else PATIENCE)
        return _answered(connection, command.model_dump_json(by_alias=True).encode() + b"\n", say)


def lines(path: Path) -> Told | None:
    """How its lines and clock are doing; None where no daemon listens. ControlError where it cannot be asked."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        if not _connected(connection, path):
            return None
        try:
            connection.sendall(Lines().model_dump_json().encode() + b"\n")
            with connection.makefile("rb") as answer:
                return TOLD.validate_json(answer.readline(LIMIT))
        except (OSError, ValidationError) as error:
            message = "the daemon does not tell how its lines are doing: is it of this release? restart it"
            raise ControlError(message) from error


def _connected(connection: socket.socket, path: Path) -> bool:
    """Whether a daemon listens; ControlError where it cannot be asked."""
    connection.settimeout(PATIENCE)
    try:
        connection.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    except PermissionError as error:
        raise NoRightError(_who_may(path)) from error
    except BlockingIOError as error:
        message = f"{path}: the daemon has too many callers at once; try again"
        raise NoWayError(message) from error
    except OSError as error:
        message = f"{path}: the daemon cannot be reached ({error}): choose a shorter path for the store"
        raise NoWayError(message) from error
    return True


def _who_may(path: Path) -> str:
    """Named by what can be seen: the socket, or the folder on the way to it that may not be entered."""
    for place in (path, *path.parents):
        with suppress(PermissionError, FileNotFoundError):
            group = group_name(place.stat().st_gid)
            join = f"use sudo, or join it: sudo usermod -aG {group} {user_name(os.geteuid())}, then log in again"
            return f"{path}: the daemon takes commands from its own user and from group {group}; {join}"
    return f"{path}: the daemon takes commands from its own user and from its group; use sudo"


def _answered(connection: socket.socket, line: bytes, say: Callable[[str], None]) -> Answer:
    try:
        with suppress(BrokenPipeError):  # it has stopped listening, but it may have said why
            connection.sendall(line)
        _await(connection, say)
        with connection.makefile("rb") as lines:
            while isinstance(heard := HEARD.validate_json(lines.readline(LIMIT)), Progress):
                say(heard.progress)
            return heard
    except TimeoutError as error:
        message = f"the daemon has not answered in {PATIENCE:g} s: {_UNSURE}; `submeter doctor` looks at the gateway"
        raise NoWayError(message) from error
    except (OSError, ValidationError) as error:
        message = "the daemon has not answered: `submeter audit` tells whether the change was made; try again"
        raise ControlError(message) from error


def _await(connection: socket.socket, say: Callable[[str], None]) -> None:
    """Return once something has come; who waits for long is told. TimeoutError."""
    silence = select.poll()
    silence.register(connection, select.POLLIN)
    if not silence.poll(QUIET * 1000):
        say(f"the daemon does not answer yet; waiting; {_UNSURE}")
    if not silence.poll((connection.gettimeout() or PATIENCE) * 1000):
        raise TimeoutError


def socket_path(store: str, config: Path) -> Path:
    """Where the daemon of a store listens: beside an SQLite file, else in systemd's place or beside the settings."""
    if store.startswith(_SQLITE):
        database = Path(store.removeprefix(_SQLITE))
        return database.with_name(database.name + ".sock")
    folder = RUNTIME if RUNTIME.is_dir() else config.resolve().parent
    return folder / f"{config.name}.sock"
