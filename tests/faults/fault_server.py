"""Runs a program in processes forked by one that has loaded its libraries (faults_server.c)."""

from __future__ import annotations

import os
import select
import signal
import struct
import subprocess
import threading
from pathlib import Path


class Server:
    """One process that starts one run at a time."""

    def __init__(self, program: str, shim: str) -> None:
        """Starts it; both are paths."""
        variables = {**os.environ, "LD_PRELOAD": shim, "PSC_FAULT_SERVER": "1"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([program], env=variables, stdin=pipe, stdout=pipe)

    def _answer(self, seconds: float | None) -> int | None:
        """The next number; None after so many seconds."""
        assert self.process.stdout
        if seconds is not None and not select.select([self.process.stdout], [], [], seconds)[0]:
            return None
        data = os.read(self.process.stdout.fileno(), 4)
        if len(data) != 4:
            raise RuntimeError("the server of forked runs has ended")
        return int(struct.unpack("i", data)[0])

    def run(
        self, arguments: list[str], variables: dict[str, str], folder: Path, seconds: float
    ) -> tuple[int, bytes, bytes]:
        """Exit code, or minus the signal, or 1000 after so many seconds; stdout; stderr."""
        out, error = (folder.with_suffix(suffix) for suffix in (".stdout", ".stderr"))
        texts = [str(folder), str(out), str(error), str(len(variables))]
        texts += [f"{name}={value}" for name, value in variables.items()]
        request = b"".join(text.encode() + b"\0" for text in [*texts, *arguments])
        assert self.process.stdin
        self.process.stdin.write(struct.pack("i", len(request)) + request)
        self.process.stdin.flush()
        pid, status = self._answer(None), self._answer(seconds)
        code = 1000
        if status is None:
            os.kill(pid or 0, signal.SIGKILL)
            self._answer(None)
        else:
            code = os.waitstatus_to_exitcode(status)
        said = out.read_bytes(), error.read_bytes()
        out.unlink()
        error.unlink()
        return code, *said

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


_servers = threading.local()  # one per thread


def server_of(program: str, shim: str) -> Server:
    """This thread's server."""
    if not hasattr(_servers, "one"):
        _servers.one = Server(program, shim)
    found: Server = _servers.one
    return found
