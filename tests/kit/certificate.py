"""A certificate authority of the test's own and a server certificate for 127.0.0.1 and localhost, made with openssl."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """Files in PEM form."""

    ca_file: Path
    certificate_file: Path
    key_file: Path

    def make_server_context(self) -> ssl.SSLContext:
        """For a server that shows the certificate."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate_file, self.key_file)
        return context


def make_certificate(folder: Path) -> Certificate:
    """Create the authority and the certificate in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Certificate(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
    _openssl(
        "req",
        "-x509",
        *key,
        "-subj",
        "/CN=test authority",
        "-days",
        "2",
        *usage,
        "-keyout",
        folder / "ca.key",
        "-out",
        made.ca_file,
    )
    _openssl("req", *key, "-subj", "/CN=localhost", "-keyout", made.key_file, "-out", folder / "server.csr")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n")
    issuer = ("-CA", made.ca_file, "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", "2")
    _openssl("x509", "-req", "-in", folder / "server.csr", *issuer, "-extfile", folder / "names", "-out", made.certificate_file)
    return made


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=240)
