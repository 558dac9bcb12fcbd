"""TLS and proxies: what options and the environment say of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import run_python
from durstream import DurableStream, IdempotentProducer, InvalidArgumentError, TransportError


class Front:
    """A server with TLS, one that wants a client certificate as well, and a proxy."""

    def __init__(self, base, folder):
        name = "durstream-front" + (".exe" if sys.platform == "win32" else "")
        program = Path(os.environ["DURSTREAM_TARGET"]) / "release" / name
        command = [str(program), "--upstream", base, str(folder)]
        self.program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        places = json.loads(self.program.stdout.readline())
        self.url, self.mutual, self.proxy = places["url"], places["mutual"], places["proxy"]
        self.ca, self.certificate, self.key = (
            str(folder / name) for name in ("ca.pem", "client.pem", "client.key")
        )

    def end(self):
        self.program.stdin.close()
        self.program.wait()
        self.program.stdout.close()


@pytest.fixture
def front(base, tmp_path):
    """TLS before the server."""
    front = Front(base, tmp_path)
    yield front
    front.end()


def write(url, **options):
    """Writes to a stream of its own."""
    stream = DurableStream.create(url, content_type="text/plain", max_retries=0, **options)
    with IdempotentProducer(stream, "p") as producer:
        producer.append("x")
        assert producer.flush().delivered == 1


def test_certificates_and_a_proxy_are_options(front, path):
    write(f"{front.url}/v1/stream{path}-ca", ca_pem=front.ca)
    own = {"client_cert_pem": front.certificate, "client_key_pem": Path(front.key).read_text()}
    write(f"{front.mutual}/v1/stream{path}-own", ca_pem=front.ca, **own)
    write(f"{front.url}/v1/stream{path}-proxy", ca_pem=front.ca, proxy=front.proxy)


def test_what_is_wrong_is_named(front, path):
    url = f"{front.mutual}/v1/stream{path}"
    with pytest.raises(TransportError, match="nobody who is trusted here.*`ca_pem`") as caught:
        write(url)
    assert not caught.value.retryable and caught.value.definite
    with pytest.raises(TransportError, match="the server wants a client certificate"):
        write(url, ca_pem=front.ca)
    proxy = front.proxy.replace("p%40ss", "s3cret")
    with pytest.raises(TransportError, match="does not accept the user and password") as caught:
        write(url, ca_pem=front.ca, proxy=proxy)
    assert "s3cret" not in str(caught.value) and "s3cret" not in repr(caught.value)
    for secret in (b"-----BEGIN s3cret", {"http": "http://u:s3cret@p"}):
        with pytest.raises(InvalidArgumentError, match="takes text, not (bytes|dict)") as refused:
            write(url, client_key_pem=secret)
        assert "s3cret" not in str(refused.value)
    with pytest.raises(InvalidArgumentError, match="no private key") as refused:
        write(url, client_cert_pem=front.certificate)
    assert refused.value.option == "client_key_pem"


def test_the_environment_names_authorities(front, path):
    program = """
import sys
from durstream import DurableStream
DurableStream.create(sys.argv[1], content_type="text/plain", max_retries=0)
"""
    environment = {"SSL_CERT_FILE": front.ca, "SSL_CERT_DIR": ""}
    run_python(program, f"{front.url}/v1/stream{path}", env=environment)
