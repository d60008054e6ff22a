"""Certificates for tests, made by OpenSSL, and a Mosquitto that asks for them by the example in config/mosquitto."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from paho.mqtt.client import Client

CONFIG = Path(__file__).parents[1] / "config" / "mosquitto"
INSTALLED = "/etc/mosquitto/submeter"
EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Authority:
    """A CA in a folder: ca.pem, and for each name that it signs <name>.pem and <name>.key."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.file = folder / "ca.pem"
        _openssl("req", "-x509", *EC, "-keyout", folder / "ca.key", "-out", self.file, "-days", "2", "-subj", "/CN=CA")

    def sign(self, name: str, *, host: str = "127.0.0.1", days: int = 2) -> tuple[Path, Path]:
        """Certificate and key of a name; an address that it is good for as a server. 0 `days` are over."""
        cert, key, request = (self.folder / f"{name}.{end}" for end in ("pem", "key", "csr"))
        _openssl("req", *EC, "-keyout", key, "-out", request, "-subj", f"/CN={name}", "-addext", _names(host))
        ca = ("-CA", self.file, "-CAkey", self.folder / "ca.key", "-CAcreateserial")
        _openssl("x509", "-req", "-in", request, *ca, "-days", days, "-copy_extensions", "copy", "-out", cert)
        return cert, key


def example(folder: Path, ca: Authority) -> str:
    """The example, with its files in a test's folder and the listener of the test's broker."""
    rules = folder / "acl"
    rules.write_bytes((CONFIG / "acl").read_bytes())
    rules.chmod(0o700)
    text = (CONFIG / "mosquitto.conf").read_text(encoding="utf-8").replace("listener 8883\n", "")
    text = text.replace(f"{INSTALLED}/acl", str(rules)).replace(f"{INSTALLED}/passwords", str(folder / "passwords"))
    return text.replace(INSTALLED, str(ca.folder))


def identify(client: Client, ca: Authority, name: str) -> None:
    client.tls_set(str(ca.file), str(ca.folder / f"{name}.pem"), str(ca.folder / f"{name}.key"))


def _names(host: str) -> str:
    kind = "IP" if host[0].isdigit() else "DNS"
    return f"subjectAltName={kind}:{host}"


def _openssl(*arguments: object) -> None:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is missing: sudo apt install openssl")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
