"""How a client of paho's is let go for good."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paho.mqtt.client import Client


def release(client: Client, *, with_will: bool = False) -> None:
    """End the connection; without callbacks nothing refers to us any more, so that paho closes its sockets at once.

    `with_will`: as if it broke off, so that the broker publishes the will (MQTT 5, 3.1.2.5; also in 3.1.1).
    """
    client.on_pre_connect = client.on_socket_open = client.on_connect = client.on_connect_fail = (
        client.on_disconnect
    ) = None
    client.on_publish = client.on_subscribe = client.on_message = None
    connection = client.socket()
    if with_will and isinstance(connection, socket.socket):
        with suppress(OSError):  # it has just broken off
            connection.shutdown(socket.SHUT_RDWR)
    client.disconnect()
