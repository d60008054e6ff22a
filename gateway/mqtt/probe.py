"""Asks once whether the broker lets the gateway in, under a name of its own: a running gateway is not disturbed."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from gateway.mqtt.client import NAMES, WRONG_PROTOCOL
from gateway.mqtt.security import fault

if TYPE_CHECKING:
    from typing import Any

    from paho.mqtt.enums import MQTTProtocolVersion
    from paho.mqtt.reasoncodes import ReasonCode

    from gateway.mqtt.security import Security

PATIENCE = 5.0
"""seconds for the connection, and again for the broker's answer"""
SLICE = 0.1


class ProbeError(Exception):
    """The broker does not let the gateway in. The text is a clause: what, and what to do."""


def probe(host: str, port: int, security: Security) -> str:
    """The protocol in which the broker has accepted us. ProbeError."""
    answer = ""
    for protocol, name in NAMES.items():
        answer = _answer(host, port, security, protocol)
        if answer == "Success":
            return name
        if answer != WRONG_PROTOCOL:
            break
    message = f"it refuses the gateway: {answer}; look at user, password_file and the rules of the broker"
    raise ProbeError(message)


def _answer(host: str, port: int, security: Security, protocol: MQTTProtocolVersion) -> str:
    """The broker's word."""
    heard: list[str] = []

    def on_connect(_client: Client, _data: object, _flags: object, reason: ReasonCode, _properties: Any) -> None:  # noqa: ANN401 - paho's
        heard.append(str(reason))

    client = Client(CallbackAPIVersion.VERSION2, client_id=f"submeter-doctor-{os.getpid()}", protocol=protocol)
    client.on_connect = on_connect
    client.connect_timeout = PATIENCE
    try:
        _secure(client, security)
        client.connect(host, port)
        end = time.monotonic() + PATIENCE
        state = MQTTErrorCode.MQTT_ERR_SUCCESS
        while not heard and state == MQTTErrorCode.MQTT_ERR_SUCCESS and time.monotonic() < end:
            state = client.loop(SLICE)
    except OSError as error:
        clause = fault(error, host) or f"it cannot be reached ({error}); start it, or correct host and port"
        raise ProbeError(clause) from error
    finally:
        client.on_connect = None
        client.disconnect()
    if heard:
        return heard[0]
    message = f"it does not answer in {NAMES[protocol]}; is this the port of a broker, and without TLS?"
    raise ProbeError(message)


def _secure(client: Client, security: Security) -> None:
    context = security.context()
    if context is not None:
        security.load(context)
        client.tls_set_context(context)
    if security.user is not None:
        client.username_pw_set(security.user, security.password())
