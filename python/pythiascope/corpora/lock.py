"""The lock of a state file: one run at a time uses it, in this process and in others.

It is the program's lock: a record lock (fcntl) on PATH.lock, which ends with its process. A record
lock does not stop other threads of its process, so this module also remembers its own files.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import sys
import threading
from types import TracebackType

from ..errors import InputError, IOFailure

# (device, inode) of each lock file that this process holds, with the process's number.
_held: dict[tuple[int, int], int] = {}
_guard = threading.Lock()


# A file system without locks, such as NFS without its lock daemon.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def find_state(path: str) -> str:
    """The file behind `path`, whose links are followed: the one to lock and to replace.

    Raises:
        InputError: It is not a regular file.
        IOFailure: It cannot be examined. A file that does not exist is no failure.
    """
    real = os.path.realpath(path)
    try:
        mode = os.lstat(real).st_mode
    except FileNotFoundError:
        return real
    except OSError as error:
        raise IOFailure(f"cannot open the state file {path}: {_reason(error)}") from None
    if stat.S_ISLNK(mode):
        raise IOFailure(f"cannot open the state file {path}: {os.strerror(errno.ELOOP)}")
    if not stat.S_ISREG(mode):
        raise InputError(f"the state file {path} is not a regular file; pass a different path")
    return real


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _is_ours(path: str) -> bool:
    try:
        found = _identity(os.stat(path))
    except OSError:
        return False
    return _held.get(found) == os.getpid()


def _holder(file: int) -> str:
    """The process that holds the lock, for a message."""
    if not sys.platform.startswith("linux"):
        return "another process"
    layout = "hhqqi4x"  # struct flock: type, whence, start, length, process
    asked = struct.pack(layout, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        answer = struct.unpack(layout, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    except OSError:
        return "another process"
    return "another process" if answer[0] == fcntl.F_UNLCK else f"process {answer[4]}"


def _refusal(holder: str, path: str) -> IOFailure:
    return IOFailure(
        f"{holder} is using the state file {path}; wait for it to finish or pass a different state="
    )


class StateLock:
    """Holds the lock of the state file `path` from its creation to `release`.

    Raises IOFailure when another run, of this process or another, holds it, or when the lock file
    cannot be written. `locked` is False where the file system has no locks.
    """

    def __init__(self, path: str) -> None:
        self.path = path + ".lock"
        self._process = os.getpid()
        self.locked = True
        with _guard:
            self._file = self._take(path)
            self._key = _identity(os.fstat(self._file))
            _held[self._key] = self._process

    def _take(self, path: str) -> int:
        while True:
            # Closing any descriptor of a locked file would give up this process's lock on it.
            if _is_ours(self.path):
                raise _refusal("another run of this process", path)
            try:
                file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except (OSError, ValueError) as error:
                raise IOFailure(f"cannot open {self.path}: {_reason(error)}") from None
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                refusal = _refusal(_holder(file), path)
                os.close(file)
                raise refusal from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    os.close(file)
                    raise IOFailure(f"cannot lock {self.path}: {_reason(error)}") from None
                self.locked = False
            if self._is_there(file):
                return file
            os.close(file)  # its last holder removed it; try again

    def _is_there(self, file: int) -> bool:
        try:
            return _identity(os.stat(self.path)) == _identity(os.fstat(file))
        except OSError:
            return False

    def release(self) -> None:
        """Gives the lock up and removes its file. A second call does nothing."""
        with _guard:
            file, self._file = self._file, -1
            # A forked process has a copy of this object, but not the lock.
            if file < 0 or os.getpid() != self._process:
                return
            try:
                os.unlink(self.path)
            except OSError:
                pass
            os.close(file)
            _held.pop(self._key, None)

    def __enter__(self) -> StateLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
