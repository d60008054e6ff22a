"""Certificates for tests, made by OpenSSL: a CA, a broker, clients, and a CA that nobody should trust."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Authority:
    """A CA in a folder: ca.pem, and for each name that it signs <name>.pem and <name>.key."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.file = folder / "ca.pem"
        _openssl("req", "-x509", *EC, "-keyout", folder / "ca.key", "-out", self.file, "-days", "2", "-subj", "/CN=CA")

    def sign(self, name: str, *, host: str = "127.0.0.1", days: int = 2) -> tuple[Path, Path]:
        """Certificate and key of a name; an address that it is good for as a server. Negative `days` are over."""
        cert, key, request = (self.folder / f"{name}.{end}" for end in ("pem", "key", "csr"))
        _openssl("req", *EC, "-keyout", key, "-out", request, "-subj", f"/CN={name}", "-addext", _names(host))
        ca = ("-CA", self.file, "-CAkey", self.folder / "ca.key", "-CAcreateserial")
        _openssl("x509", "-req", "-in", request, *ca, "-days", days, "-copy_extensions", "copy", "-out", cert)
        return cert, key


def _names(host: str) -> str:
    kind = "IP" if host[0].isdigit() else "DNS"
    return f"subjectAltName={kind}:{host}"


def _openssl(*arguments: object) -> None:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is missing: sudo apt install openssl")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
