"""The daemon as an installer wires it to a broker over TLS: paths, a systemd credential, the example access rules."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway.store import StoreView
from gateway.store.migrate import migrate
from tests.broker import HOST, Broker
from tests.certificates import Authority, example, identify
from tests.delivery import listening
from tests.outbox import HANGS
from tests.scenarios.plant import begin

if TYPE_CHECKING:
    from pathlib import Path

    from tests.delivery import Ear

UNTRUSTED = "clock_untrusted"
SETTINGS = """\
site = "sonnenhof"
gateway = "gw-01"
store = "sqlite:///gateway.db"
[mqtt]
host = "{host}"
port = {port}
ca_file = "ca/ca.pem"
cert_file = "ca/gw-01.pem"
key_file = "credential:mqtt-key"
"""


async def test_the_daemon_speaks_tls_with_files_and_credentials_and_a_wrong_key_is_told_until_it_is_put_right(
    tmp_path: Path,
) -> None:
    ca = Authority(tmp_path / "ca")
    for name in ("broker", "gw-01", "billing"):
        ca.sign(name)
    broker = Broker(tmp_path, example(tmp_path, ca))
    broker.start()
    config, key = tmp_path / "gateway.toml", tmp_path / "mqtt-key"
    config.write_text(SETTINGS.format(host=HOST, port=broker.port))
    key.write_bytes((ca.folder / "billing.key").read_bytes())
    url = f"sqlite:///{tmp_path}/gateway.db"
    migrate(url)
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path), "SUBMETER_CLOCK": "", "NOTIFY_SOCKET": ""}
    async with (
        asyncio.timeout(HANGS),
        listening(HOST, broker.port, "billing", partial(identify, ca=ca, name="billing")) as ear,
    ):
        daemon = await begin("--config", str(config), "run", JOURNAL_STREAM="1:2", **environment)
        assert daemon.stderr is not None
        while b"are no pair of a certificate and its key" not in await daemon.stderr.readline():
            pass
        key.write_bytes((ca.folder / "gw-01.key").read_bytes())
        await ear.until(lambda: ear.last("status") == b"online")
        await ear.until(lambda: [one["ended"] is None for one in told(ear)] == [True, False])
        daemon.terminate()
        await daemon.communicate()
    broker.stop()
    assert {one["code"] for one in told(ear)} == {"broker_unusable"}
    async with StoreView(url) as view:
        assert {alarm.code for alarm in await view.open_alarms()} <= {UNTRUSTED}


def told(ear: Ear) -> list[dict[str, Any]]:
    """The alarms but that of the clock, which a test machine may leave unsynchronised."""
    alarms = [one["data"] for one in ear.events("alarms/")]
    return [alarm for alarm in alarms if alarm["code"] != UNTRUSTED]
