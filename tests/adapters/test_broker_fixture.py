from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.broker import Broker


def answers(broker: Broker) -> bool:
    with closing(socket.socket()) as client:
        return client.connect_ex((broker.host, broker.port)) == 0


def test_a_broker_comes_back_on_its_port_after_a_stop_and_after_a_kill(broker: Broker) -> None:
    port = broker.port
    for end in (broker.stop, broker.kill):
        end()
        assert not answers(broker)
        broker.start()
        assert answers(broker)
    assert broker.port == port
