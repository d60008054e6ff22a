"""Reads a meter out of what was on the wire: request and answer by turns, as `Answer.raw` holds them.

Frames are those of Modbus TCP, or of RTU with their CRCs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.modbus.frame import FrameError, take_frame
from drivers.modbus.pdu import answered_words, read_request
from drivers.modbus.plan import MAX_WORDS, Request, plan
from drivers.modbus.rtu_frame import is_whole, rtu_pdu, shapes
from drivers.model import mismatches
from gateway.core.refusal import some
from gateway.ports.field import WrongAnswerError

if TYPE_CHECKING:
    from drivers.modbus.model import ModbusModel
    from drivers.modbus.plan import Function, Span
    from drivers.model import Proof

Exchange = tuple[bytes, bytes]
"""the PDUs of a request and of its answer"""
_READ, _RTU_READ = 5, 8
"""octets of a read request: of its PDU, of its frame of RTU"""
_FUNCTIONS: dict[int, Function] = {3: 3, 4: 4}


def failures(model: ModbusModel) -> list[str]:
    """What the proofs of the model's file give otherwise than they expect."""
    found: list[str] = []
    for proof in model.proof:
        try:
            found += _partial_failures(model, proof) if proof.partial else _failures(model, proof)
        except WrongAnswerError as error:
            found.append(f"{proof.source}: {error}")
    return found


def read_raw(model: ModbusModel, raw: bytes) -> dict[Span, tuple[int, ...]]:
    """The words that the frames bring; WrongAnswerError unless they are the model's requests, each answered."""
    words: dict[Span, tuple[int, ...]] = {}
    for asked, answer in _exchanges(raw):
        request = _request(model, asked)
        words |= request.parts(answered_words(request, answer))
    missing = [register.key for register in model.registers if not words.keys() >= set(register.spans)]
    if missing:
        message = f"nothing asks for {some(missing)}"
        raise WrongAnswerError(message)
    return words


def read_some(model: ModbusModel, raw: bytes) -> dict[Span, tuple[int, ...]]:
    """The words of the model that any read requests bring, each at the address that was asked; WrongAnswerError."""
    image: dict[tuple[int, int], int] = {}
    for asked, answer in _exchanges(raw):
        request = _any_read(asked)
        for place, word in enumerate(answered_words(request, answer), request.address):
            image[request.function, place] = word
    found = {}
    for span in _spans(model):
        places = [(span.function, address) for address in range(span.address, span.end)]
        if image.keys() >= set(places):
            found[span] = tuple(image[place] for place in places)
    return found


def _failures(model: ModbusModel, proof: Proof) -> list[str]:
    words = read_raw(model, proof.octets)
    model.check_identity(words)
    return mismatches(proof, model.serial_in(words), 0, model.values(words))


def _partial_failures(model: ModbusModel, proof: Proof) -> list[str]:
    """As of a complete proof; a register that it shows and does not expect is a failure too."""
    words = read_some(model, proof.octets)
    model.check_identity(words)
    values = [register.value(words) for register in model.registers if words.keys() >= set(register.spans)]
    serial = model.serial_in(words)
    shown = {value.register: str(value.index) for value in values} | ({"serial": serial} if serial else {})
    unnamed = [
        f"{proof.source}: {name} is {value!r}, and the proof does not expect it; name it there"
        for name, value in shown.items()
        if name not in proof.expect
    ]
    return mismatches(proof, serial, 0, values) + unnamed


def _spans(model: ModbusModel) -> list[Span]:
    """Every place that the model reads."""
    registers = [span for register in model.registers for span in register.spans]
    serial = [] if model.serial is None else [model.serial.span]
    return [*registers, *serial, *(fixed.span for fixed in model.identify)]


def _exchanges(raw: bytes) -> list[Exchange]:
    """Requests with their answers; WrongAnswerError where the octets are no such frames by turns."""
    return _rtu(raw) if is_whole(raw[:_RTU_READ]) and raw[1] in _FUNCTIONS else _tcp(raw)


def _tcp(raw: bytes) -> list[Exchange]:
    buffer = bytearray(raw)
    frames = []
    try:
        while (frame := take_frame(buffer)) is not None:
            frames.append(frame)
    except FrameError as error:
        message = f"{error}, and no RTU frame whose CRC is right"
        raise WrongAnswerError(message) from error
    if buffer or len(frames) % 2:
        message = "the frames are not complete pairs of request and answer"
        raise WrongAnswerError(message)
    for asked, answer in zip(frames[::2], frames[1::2], strict=True):
        if (asked.transaction, asked.unit) != (answer.transaction, answer.unit):
            message = f"transaction {asked.transaction} is followed by another one's answer"
            raise WrongAnswerError(message)
    return [(asked.pdu, answer.pdu) for asked, answer in zip(frames[::2], frames[1::2], strict=True)]


def _rtu(raw: bytes) -> list[Exchange]:
    exchanges = []
    while raw:
        asked, raw = raw[:_RTU_READ], raw[_RTU_READ:]
        if not is_whole(asked) or asked[1] not in _FUNCTIONS:
            message = f"{asked.hex()} is no read request of RTU whose CRC is right"
            raise WrongAnswerError(message)
        answer = _rtu_answer(asked, raw)
        exchanges.append((rtu_pdu(asked), rtu_pdu(answer)))
        raw = raw[len(answer) :]
    return exchanges


def _rtu_answer(asked: bytes, raw: bytes) -> bytes:
    for shape in shapes(asked[0], rtu_pdu(asked)):
        frame = raw[: shape.length]
        if frame.startswith(shape.head) and is_whole(frame):
            return frame
    message = f"{asked.hex()} is followed by no answer of its unit, function and length whose CRC is right"
    raise WrongAnswerError(message)


def _any_read(pdu: bytes) -> Request:
    function, address, count = _FUNCTIONS.get(pdu[0]), int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:], "big")
    if function is None or len(pdu) != _READ or not 1 <= count <= MAX_WORDS:
        message = f"{pdu.hex()} is no read request of function 3 or 4"
        raise WrongAnswerError(message)
    return Request(function=function, address=address, count=count, spans=())


def _request(model: ModbusModel, pdu: bytes) -> Request:
    reads = [*model.requests(with_serial=False), *model.requests(with_serial=True), *model.identity_requests]
    if model.serial is not None:
        reads += plan([model.serial.span], model.limits)
    for request in reads:
        if read_request(request.function, request.address, request.count) == pdu:
            return request
    message = f"{pdu.hex()} is no request of this model"
    raise WrongAnswerError(message)
