"""A server that plays the Hugging Face hub on this machine, with a second host for large files.

The hub answers on 127.0.0.1 and redirects large files to localhost, another name and port, as the
real one redirects to its store. Every request is kept in a log.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".bin")


def sha256(data: bytes) -> str:
    """The hash of a large file."""
    return hashlib.sha256(data).hexdigest()


def sha1(data: bytes) -> str:
    """The hash of a small file: that of a git blob."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def etag(name: str, data: bytes) -> str:
    """The name of a file's blob in the cache."""
    return sha256(data) if name.endswith(LARGE) else sha1(data)


@dataclass
class Repository:
    """Commits with their files, and the names of some."""

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    token: str | None = None
    gated: bool = False

    def add(self, revision: str, files: dict[str, bytes]) -> str:
        """A new commit, which the revision names."""
        commit = hashlib.sha1(f"{revision} {len(self.files)}".encode()).hexdigest()
        self.files[commit] = files
        self.refs[revision] = commit
        return commit


@dataclass
class Request:
    """One request as it arrived."""

    host: str  # "hub" or "store"
    method: str
    path: str
    headers: dict[str, str]


class Handler(BaseHTTPRequestHandler):
    """Answers one request after the test's faults."""

    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""

    def do_HEAD(self) -> None:
        """As GET, without a body."""
        self.do_GET()

    def do_GET(self) -> None:
        """Faults first, then the answer."""
        hub: FakeHub = self.server.hub
        url = urlsplit(self.path)
        path = url.path.removeprefix(hub.prefix)
        headers = {key.lower(): value for key, value in self.headers.items()}
        with hub.lock:
            hub.log.append(Request(self.server.role, self.command, path, headers))
        for fault in list(hub.faults):
            if fault.host == self.server.role and re.search(fault.pattern, path):
                if fault.take() and fault.answer(self):
                    return
        if self.server.role == "store":
            self.send_store(hub, path)
        else:
            self.send_hub(hub, path)

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        """One whole answer; "_" in a header's name is "-"."""
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_json(self, value: Any) -> None:
        """An answer of the API."""
        self.send(200, json.dumps(value).encode(), Content_Type="application/json")

    def cut(self) -> None:
        """Ends the connection at once."""
        self.close_connection = True
        self.wfile.flush()
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def wanted(self, size: int) -> int:
        """The first byte that the request asks for."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return min(int(found[1]), size) if found else 0

    def send_store(self, hub: FakeHub, path: str) -> None:
        """A large file by its hash, or its end."""
        data = hub.large().get(path.removeprefix("/blob/"))
        if data is None:
            self.send(404)
            return
        first = self.wanted(len(data))
        if first == len(data):
            self.send(416)
        elif first:
            place = f"bytes {first}-{len(data) - 1}/{len(data)}"
            self.send(206, data[first:], Content_Range=place)
        else:
            self.send(200, data, Accept_Ranges="bytes")

    def send_hub(self, hub: FakeHub, path: str) -> None:
        """The API, or a file."""
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree|refs)(?:/(.*))?)?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        name = api[1] if api else file[1] if file else ""
        repository = hub.repositories.get(name)
        sent = self.headers.get("Authorization")
        token = repository.token if repository else None
        if repository is None or (token and sent is None):
            self.send(401, X_Error_Code="RepoNotFound")
        elif token and sent != f"Bearer {token}":
            self.send(401, b'{"error": "Invalid credentials"}')
        elif repository.gated:
            self.send(403, X_Error_Code="GatedRepo")
        elif file:
            self.send_file(hub, repository, file[2], unquote(file[3]))
        elif api and api[2] == "refs":
            branches = [{"name": r, "ref": f"refs/heads/{r}"} for r in repository.refs]
            self.send_json({"branches": branches, "tags": [], "converts": []})
        elif api:
            self.send_info(repository, unquote(api[3] or "main"), api[2] == "tree")

    def send_info(self, repository: Repository, revision: str, tree: bool) -> None:
        """A commit and its files."""
        commit = repository.refs.get(revision, revision)
        if commit not in repository.files:
            self.send(404, X_Error_Code="RevisionNotFound")
            return
        siblings, entries = [], []
        for name, data in repository.files[commit].items():
            entry: dict[str, Any] = {"size": len(data), "blobId": sha1(data)}
            if name.endswith(LARGE):
                entry["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 130}
            siblings.append({"rfilename": name, **entry})
            large = {"oid": sha256(data), "size": len(data), "pointerSize": 130}
            lfs = {"lfs": large} if name.endswith(LARGE) else {}
            entries.append({"type": "file", "path": name, "oid": sha1(data), **lfs})
            entries[-1]["size"] = len(data)
        if tree:
            self.send_json(entries)
        else:
            config = {"model_type": "gpt_neox"}
            self.send_json({"id": "x", "sha": commit, "config": config, "siblings": siblings})

    def send_file(self, hub: FakeHub, repository: Repository, revision: str, name: str) -> None:
        """A small file itself; a large one is elsewhere."""
        commit = repository.refs.get(revision, revision)
        data = repository.files.get(commit, {}).get(name)
        if data is None:
            self.send(404, X_Error_Code="EntryNotFound")
        elif name.endswith(LARGE):
            self.send(
                302,
                b"Found. Redirecting",
                Location=f"{hub.store_url}/blob/{sha256(data)}",
                X_Repo_Commit=commit,
                X_Linked_ETag=f'"{sha256(data)}"',
                X_Linked_Size=str(len(data)),
            )
        else:
            self.send(200, data, ETag=f'"{sha1(data)}"', X_Repo_Commit=commit)


@dataclass
class Fault:
    """A wrong answer to some requests."""

    host: str
    pattern: str
    answer: Callable[[Handler], bool]  # False: the right answer follows
    times: int
    lock: Any

    def take(self) -> bool:
        """Whether this fault still has an answer to give."""
        with self.lock:
            self.times -= 1
            return self.times >= 0


class FakeHub:
    """The two servers, their repositories, faults and log."""

    def __init__(self, context: ssl.SSLContext | None = None, prefix: str = "") -> None:
        self.repositories: dict[str, Repository] = {}
        self.faults: list[Fault] = []
        self.log: list[Request] = []
        self.lock = threading.Lock()
        self.prefix = prefix
        scheme = "https" if context else "http"
        self._servers = []
        for role in ("hub", "store"):
            server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            server.daemon_threads = True
            server.hub, server.role = self, role  # type: ignore[attr-defined]
            if context:
                server.socket = context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            self._servers.append(server)
        ports = [server.server_address[1] for server in self._servers]
        self.url = f"{scheme}://127.0.0.1:{ports[0]}{prefix}"
        self.store_url = f"{scheme}://localhost:{ports[1]}"

    def close(self) -> None:
        """Ends both servers."""
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def add(self, name: str) -> Repository:
        """An empty repository."""
        self.repositories[name] = Repository()
        return self.repositories[name]

    def large(self) -> dict[str, bytes]:
        """All large files by hash."""
        found: dict[str, bytes] = {}
        for repository in self.repositories.values():
            for files in repository.files.values():
                found |= {sha256(d): d for n, d in files.items() if n.endswith(LARGE)}
        return found

    def fault(
        self, pattern: str, answer: Callable[[Handler], Any], times: int = 1, host: str = "hub"
    ) -> None:
        """The next `times` requests whose path matches get this answer."""

        def give(handler: Handler) -> bool:
            return answer(handler) is not False

        self.faults.append(Fault(host, pattern, give, times, self.lock))

    def asked(self, pattern: str, host: str | None = None) -> list[Request]:
        """The requests so far whose path matches."""
        with self.lock:
            log = list(self.log)
        return [r for r in log if re.search(pattern, r.path) and host in (None, r.host)]
