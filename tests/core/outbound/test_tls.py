"""The connection goes to the checked address; the certificate is still held against the name of the URL."""

from __future__ import annotations

import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from apps.core.outbound import transport
from apps.core.outbound.client import OutboundClient
from apps.core.outbound.errors import FailureKind, OutboundFailed


@pytest.fixture
def certificate(tmp_path):
    """Write a certificate for hooks.example.com and its key into one file; return its path."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example.com")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        built.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def tls_port(certificate, monkeypatch, settings):
    """Serve HTTPS on loopback with that certificate, trusted by the client; return the port and the names asked for."""
    settings.OUTBOUND_ALLOW = ["127.0.0.1/32"]
    names: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(204)
            self.end_headers()

        def log_message(self, format, *args):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda connection, name, _: names.append(name)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *args: None
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    trusting = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr(transport, "_tls", lambda: trusting)
    yield server.server_address[1], names
    server.shutdown()
    server.server_close()


CLIENT = OutboundClient(purpose="tests", resolver=lambda host, port: ["127.0.0.1"])


def test_the_name_of_the_url_is_asked_for_and_checked(tls_port) -> None:
    port, names = tls_port
    assert CLIENT.send("GET", f"https://hooks.example.com:{port}/").status == 204
    assert names == ["hooks.example.com"]


def test_a_certificate_for_another_name_is_refused(tls_port) -> None:
    port, _ = tls_port
    with pytest.raises(OutboundFailed, match="trustworthy") as caught:
        CLIENT.send("GET", f"https://other.example.com:{port}/")
    assert caught.value.kind == FailureKind.TLS


def test_certificates_are_held_against_the_systems_authorities() -> None:
    context = transport._tls()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
