"""Who sees the token: the hub itself, and never another host, an open connection or a screen."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from conftest import NAME, Program
from hub_models import model
from hub_server import FakeHub, Handler

TOKEN = "hf_secretSECRETsecret"


@pytest.fixture
def private(hub: FakeHub) -> FakeHub:
    """The hub's model asks for the token."""
    hub.repositories[NAME].token = TOKEN
    return hub


def senders(hub: FakeHub) -> dict[str, set[str | None]]:
    """What each host received as authorization."""
    found: dict[str, set[str | None]] = {"hub": set(), "store": set()}
    for request in hub.log:
        found[request.host].add(request.headers.get("authorization"))
    return found


def place(program: Program, kind: str, text: str = TOKEN) -> dict[str, str]:
    """Variables, and perhaps a file, that give the token."""
    if kind.startswith("HF_TOKEN ") or kind == "HUGGING_FACE_HUB_TOKEN":
        return {kind.split()[0]: text}
    paths = {"HF_TOKEN_PATH": "a/b", "HF_HOME": "c/token", "file": ".cache/huggingface/token"}
    path = program.home / paths[kind]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")
    if kind == "file":
        return {}
    return {kind: str(path if kind == "HF_TOKEN_PATH" else path.parent)}


@pytest.mark.parametrize(
    "kind", ["HF_TOKEN ", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "file"]
)
def test_the_hub_sees_it_and_the_store_does_not(
    private: FakeHub, program: Program, kind: str
) -> None:
    out = program.run("pull", NAME, **place(program, kind))
    assert senders(private) == {"hub": {f"Bearer {TOKEN}"}, "store": {None}}
    assert "SECRET" not in out


def test_without_a_token(private: FakeHub, program: Program) -> None:
    error = program.fail("pull", NAME)
    assert "127.0.0.1 has no model EleutherAI/pythia-1m, or it is private; check the name" in error
    assert error.endswith("set HF_TOKEN if it is private")
    off = {"HF_TOKEN": TOKEN, "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}
    program.fail("pull", NAME, **off)
    assert senders(private)["hub"] == {None}


def test_a_wrong_token_is_named_by_its_place(private: FakeHub, program: Program) -> None:
    error = program.fail("pull", NAME, HF_TOKEN="hf_wrongSECRET")
    assert "refuses the token in HF_TOKEN; make a new one at" in error and "SECRET" not in error
    file = place(program, "file", "hf_wrongSECRET")
    error = program.fail("pull", NAME, **file)
    assert ".cache/huggingface/token" in error and "SECRET" not in error


@pytest.mark.parametrize("text", ["hf_a\r\nX-Evil: 1", "hf a", "hf_\x01"])
def test_a_token_with_odd_characters(program: Program, hub: FakeHub, text: str) -> None:
    error = program.fail("pull", NAME, HF_TOKEN=text)
    assert error == "the token in HF_TOKEN has a character that no token has; write it again"
    assert not hub.log


def test_a_gated_model(hub: FakeHub, program: Program) -> None:
    hub.repositories[NAME].gated = True
    error = program.fail("pull", NAME, HF_TOKEN=TOKEN)
    assert error == (
        f"{NAME} is gated: accept its terms at {hub.url}/{NAME}, then set HF_TOKEN to a token of "
        "yours"
    )


def test_a_redirect_within_the_hub_keeps_it(private: FakeHub, program: Program) -> None:
    """As for a model that has another name now."""
    private.repositories["EleutherAI/old-name"] = private.repositories[NAME]

    def moved(handler: Handler) -> None:
        handler.send(307, Location=f"/api/models/{NAME}/revision/main?blobs=true")

    private.fault("models/EleutherAI/old-name", moved)
    program.run("pull", "EleutherAI/old-name", HF_TOKEN=TOKEN)
    assert senders(private) == {"hub": {f"Bearer {TOKEN}"}, "store": {None}}


def test_the_api_on_another_host_does_not_see_it(private: FakeHub, program: Program) -> None:
    def elsewhere(handler: Handler) -> None:
        handler.send(302, Location=f"{private.store_url}/api/models/{NAME}/revision/main")

    private.fault("/revision/main", elsewhere)
    program.fail("pull", NAME, HF_TOKEN=TOKEN)
    assert senders(private) == {"hub": {f"Bearer {TOKEN}"}, "store": {None}}


def test_a_chain_over_another_host_gives_it_to_the_hub_only(
    private: FakeHub, program: Program
) -> None:
    """hub -> store -> hub: the store learns nothing, wherever it sends the request next."""
    back = f"{private.url}/api/models/{NAME}/revision/main?blobs=true"
    private.fault("/revision/main", lambda h: h.send(302, Location=f"{private.store_url}/turn"))
    private.fault("/turn", lambda h: h.send(302, Location=back), host="store")
    program.run("pull", NAME, HF_TOKEN=TOKEN)
    assert senders(private)["store"] == {None}


def test_an_open_connection_does_not_see_it(hub: FakeHub, program: Program) -> None:
    """0.0.0.0 reaches this machine, too, but is not one of the names of this machine itself."""
    process = program.start(
        "pull", NAME, HF_TOKEN=TOKEN, HF_ENDPOINT=hub.url.replace("127.0.0.1", "0.0.0.0")
    )
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert err == "pythiascope: the token is not sent, because HF_ENDPOINT is not https\n"
    assert senders(hub) == {"hub": {None}, "store": {None}}


def test_no_proxy_sees_it(private: FakeHub, program: Program) -> None:
    """A request to this machine itself does not leave it."""
    proxy = FakeHub()
    program.run("pull", NAME, HF_TOKEN=TOKEN, http_proxy=proxy.url, all_proxy=proxy.url)
    proxy.close()
    assert not proxy.log


# --- TLS ---


@pytest.fixture
def secure(tmp_path: Path) -> object:
    """A hub over https, and the file of the authority that signed its certificate."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    made = FakeHub(context)
    made.add(NAME).add("main", model())
    yield made, str(file)
    made.close()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_certificate_is_always_verified(
    secure: tuple[FakeHub, str], tmp_path: Path, variable: str
) -> None:
    hub, authority = secure
    program = Program(tmp_path, hub)
    error = program.fail("pull", NAME, HF_TOKEN=TOKEN)
    assert error.startswith("the certificate of 127.0.0.1 cannot be verified")
    program.fail("pull", NAME, **{variable: ""})
    assert not hub.log, "a request was sent over an unverified connection"
    program.run("pull", NAME, HF_TOKEN=TOKEN, **{variable: authority})
    assert senders(hub) == {"hub": {f"Bearer {TOKEN}"}, "store": {None}}


def test_a_certificate_of_another_host(secure: tuple[FakeHub, str], tmp_path: Path) -> None:
    hub, authority = secure
    url = hub.url.replace("127.0.0.1", "127.0.0.2")
    error = Program(tmp_path, hub).fail("pull", NAME, HF_ENDPOINT=url, SSL_CERT_FILE=authority)
    assert "127.0.0.2" in error and not hub.log


@pytest.mark.parametrize(
    "scheme", ["http://localhost:1/x", "ftp://localhost/x", "file:///etc/passwd"]
)
def test_https_stays_https(secure: tuple[FakeHub, str], tmp_path: Path, scheme: str) -> None:
    hub, authority = secure
    hub.fault("/resolve/", lambda h: h.send(302, Location=scheme), times=99)
    error = Program(tmp_path, hub).fail("pull", NAME, SSL_CERT_FILE=authority)
    assert "redirects to" in error and ("not https" in error or "nowhere" in error)
