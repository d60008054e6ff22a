"""Reads a meter out of what was on the wire: request and answer by turns, as `Answer.raw` holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.modbus.frame import FrameError, take_frame
from drivers.modbus.pdu import answered_words, read_request
from drivers.model import mismatches
from gateway.ports.field import WrongAnswerError

if TYPE_CHECKING:
    from drivers.modbus.frame import Frame
    from drivers.modbus.model import ModbusModel
    from drivers.modbus.plan import Request, Span


def failures(model: ModbusModel) -> list[str]:
    """What the proofs of the model's file give otherwise than they expect."""
    found: list[str] = []
    for proof in model.proof:
        try:
            words = read_raw(model, proof.octets)
            model.check_identity(words)
            found += mismatches(proof, model.serial_in(words), 0, model.values(words))
        except WrongAnswerError as error:
            found.append(f"{proof.source}: {error}")
    return found


def read_raw(model: ModbusModel, raw: bytes) -> dict[Span, tuple[int, ...]]:
    """The words that the frames bring; WrongAnswerError unless they are the model's requests, each answered."""
    frames = _frames(raw)
    words: dict[Span, tuple[int, ...]] = {}
    for asked, answer in zip(frames[::2], frames[1::2], strict=True):
        if (asked.transaction, asked.unit) != (answer.transaction, answer.unit):
            message = f"transaction {asked.transaction} is followed by another one's answer"
            raise WrongAnswerError(message)
        request = _request(model, asked.pdu)
        words |= request.parts(answered_words(request, answer.pdu))
    missing = [register.key for register in model.registers if not words.keys() >= set(register.spans)]
    if missing:
        message = f"nothing asks for {', '.join(missing)}"
        raise WrongAnswerError(message)
    return words


def _frames(raw: bytes) -> list[Frame]:
    buffer = bytearray(raw)
    frames = []
    try:
        while (frame := take_frame(buffer)) is not None:
            frames.append(frame)
    except FrameError as error:
        raise WrongAnswerError(str(error)) from error
    if buffer or len(frames) % 2:
        message = "the frames are not complete pairs of request and answer"
        raise WrongAnswerError(message)
    return frames


def _request(model: ModbusModel, pdu: bytes) -> Request:
    reads = (*model.requests(with_serial=False), *model.requests(with_serial=True), *model.identity_requests)
    for request in reads:
        if read_request(request.function, request.address, request.count) == pdu:
            return request
    message = f"{pdu.hex()} is no request of this model"
    raise WrongAnswerError(message)
