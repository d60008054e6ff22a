"""What the gateway and the broker know each other by: certificates, user and password.

Only names of files stand in the settings. The files are read again before every attempt to connect, so that what was
put right is seen without a restart.
"""

from __future__ import annotations

import ssl
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.files import read_text, require_finite

if TYPE_CHECKING:
    from collections.abc import Iterator

CREDENTIAL = "credential:"
"""begins the name of a systemd credential"""
_NO_PASSWORD = ""
"""for an encrypted key: without one, OpenSSL asks at the terminal"""
_NO_TLS = "it does not answer in TLS; correct the port, or take ca_file out of the settings"
_NOT_YET_VALID, _EXPIRED = 9, 10
_NAMES = {62, 64}  # another host name, another address
"""X509_V_ERR_... of openssl-verification-options"""


class FaultError(OSError):
    """Something about the secure connection must be put right. The text is a clause: what, where, what to do.

    Where a file is at fault it begins with the key of the settings that names it.
    """


class _Socket(ssl.SSLSocket):
    """Closed at once when the broker cannot be trusted, and remembers why the broker does not trust us."""

    context: Context

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - ssl's own
        try:
            super().do_handshake(block)
        except ssl.SSLError:
            self.close()
            raise
        except OSError as error:  # silence, or the end of the connection
            self.close()
            raise FaultError(_NO_TLS) from error

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            return super().recv(buflen, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:  # in TLS 1.3 our certificate is refused only after the handshake
            self.context.refusal = _reason(error)
            raise


class Context(ssl.SSLContext):
    """TLS 1.2 or later; the broker's certificate and the name in it are checked."""

    sslsocket_class = _Socket
    refusal: str | None = None
    """why the broker ended the last connection"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """Files are paths or credential:<name>; `credentials` is the folder where systemd has laid those."""

    ca_file: str | None = None
    """switches TLS on"""
    cert_file: str | None = None
    key_file: str | None = None
    user: str | None = None
    password_file: str | None = None
    credentials: str | None = None

    def context(self) -> Context | None:
        """What TLS is spoken with, still without certificates; None where it is not spoken."""
        return None if self.ca_file is None else Context(ssl.PROTOCOL_TLS_CLIENT)

    def load(self, context: Context) -> None:
        """Read the certificates. FaultError."""
        context.refusal = None
        self._load_ca(context)
        if self.cert_file is not None:
            self._load_pair(context)

    def faults(self) -> Iterator[str]:
        """The clauses of everything that is wrong with the files, each beginning with its key; without a connection.

        Credentials that systemd has not laid out for this process are left aside.
        """
        context = Context(ssl.PROTOCOL_TLS_CLIENT)
        for files, look in (
            ((self.ca_file,), lambda: self._load_ca(context)),
            ((self.cert_file, self.key_file), lambda: self._load_pair(context)),
            ((self.password_file,), self.password),
        ):
            if not any(file is None or self._hides(file) for file in files):
                try:
                    look()
                except FaultError as error:
                    yield str(error)

    @property
    def hidden(self) -> bool:
        """Whether it names credentials that systemd has not laid out for this process."""
        return any(map(self._hides, filter(None, (self.ca_file, self.cert_file, self.key_file, self.password_file))))

    def _hides(self, file: str) -> bool:
        return file.startswith(CREDENTIAL) and self.credentials is None

    def _load_ca(self, context: Context) -> None:
        ca = self._path("ca_file", self.ca_file)
        with _told(f"ca_file {ca} holds no certificate in PEM form; name the one that signed the broker's"):
            context.load_verify_locations(ca)

    def _load_pair(self, context: Context) -> None:
        cert, key = self._path("cert_file", self.cert_file), self._path("key_file", self.key_file)
        text = (
            f"cert_file {cert} and key_file {key} are no pair of a certificate and its key in PEM form, not encrypted"
        )
        with _told(text):
            context.load_cert_chain(cert, key, _NO_PASSWORD)

    def password(self) -> str | None:
        """The password, read now. FaultError."""
        if self.password_file is None:
            return None
        path = self._path("password_file", self.password_file)
        try:
            text = read_text(path, "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            text = ""
        if not text:
            message = f"password_file {path} holds no text; write the password into it"
            raise FaultError(message)
        return text

    def _path(self, key: str, text: str | None) -> Path:
        """Where the file is; it can be read."""
        name = (text or "").removeprefix(CREDENTIAL)
        if name != text:
            if self.credentials is None:
                message = (
                    f"{key} is the credential {name}, but systemd gives none here; LoadCredential={name}:/path does"
                )
                raise FaultError(message)
            path = Path(self.credentials, name)
            place = f"/etc/credstore/{name}, have the unit load it (LoadCredential={name}) and restart the gateway"
            remedy = f"put it into {place}"
        else:
            path = Path(name)
            remedy = "put it there, readable for the gateway's user"
        try:
            require_finite(path)
            path.open("rb").close()
        except OSError as error:
            message = f"{key} {path} cannot be read ({error.strerror}); {remedy}"
            raise FaultError(message) from error
        return path


@contextmanager
def _told(text: str) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        message = f"{text} ({_reason(error)})"
        raise FaultError(message) from error


def fault(error: BaseException | None, host: str) -> str | None:
    """The clause for an attempt that failed over security; None where it failed for another reason."""
    match error:
        case FaultError():
            return str(error)
        case ssl.SSLCertVerificationError():
            return _distrust(error, host)
        case ssl.SSLEOFError() | ssl.SSLError(reason="WRONG_VERSION_NUMBER"):
            return _NO_TLS
        case ssl.SSLError():
            return f"no TLS connection can be made ({_reason(error)}); look into the log of the broker"
    return None


def _distrust(error: ssl.SSLCertVerificationError, host: str) -> str:
    if error.verify_code in _NAMES:
        return f"its certificate is for another name than {host}; let host be a name in the certificate"
    if error.verify_code == _EXPIRED:
        return "its certificate has expired; renew it at the broker"
    if error.verify_code == _NOT_YET_VALID:
        return "its certificate is not valid yet; look at the clock of the gateway"
    return f"its certificate is not signed by ca_file ({error.verify_message}); name the file of who signed it"


def refused(reason: str) -> str:
    """The clause for a broker that ended the connection after looking at our certificate."""
    return f"it does not take the gateway's certificate ({reason}); give cert_file and key_file that it trusts"


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")
