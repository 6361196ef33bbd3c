"""The bars of corpora: tqdm's, a plain line on a terminal, or nothing."""

from __future__ import annotations

import io
import sys
import time

import pytest
from program import ROOT, program_path
from pythiascope.corpora import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)


def test_tqdm_shows_the_share_and_the_tokens(monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    bar = progress.open_progress(True, "reading")
    for done in (0.25, 0.5, 1.0):
        bar.update(done, int(1000 * done))
        time.sleep(0.11)  # tqdm draws ten times per second
    bar.close()
    bar.close()
    text = sys.stderr.getvalue()
    assert "reading:" in text and "1000 tokens" in text and "100%" in text


def test_tqdm_counts_tokens_without_a_known_end(monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    bar = progress.open_progress(True, "reading")
    for tokens in (100, 900):
        bar.update(None, tokens)
    time.sleep(0.11)
    bar.update(1.0, 1500)  # the end is known when it is reached
    text = sys.stderr.getvalue()
    bar.close()
    assert "1500 tokens" in text and "%" not in text


def test_a_plain_line_on_a_terminal(monkeypatch, without_tqdm):
    monkeypatch.setattr(sys, "stderr", Terminal())
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    bar = progress.open_progress(True, "reading")
    bar.update(0.2, 10)
    assert sys.stderr.getvalue() == ""  # nothing in the first second
    now[0] += 10
    bar.update(0.6, 500)
    bar.update(0.6, 501)  # at most four times per second
    text = sys.stderr.getvalue()
    assert text.startswith("\r\x1b[Kreading 500 tokens ")
    assert text.endswith(" 60 % 10 s, 0:00:10 left")
    bar.close()
    assert sys.stderr.getvalue() == text + "\r\x1b[K"


def test_nothing_elsewhere(monkeypatch, without_tqdm):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    for option in (True, False):
        bar = progress.open_progress(option, "reading")
        bar.update(0.5, 1)
        bar.close()
    assert sys.stderr.getvalue() == ""
    monkeypatch.setattr(sys, "stderr", None)
    progress.open_progress(True, "reading").update(0.5, 1)


@pytest.mark.parametrize("columns", [100, 40, 12])
def test_the_programs_bar_fits_the_terminal(tmp_path, columns):
    """Text, bar, elapsed and left times on one line; a narrow terminal has less of them."""
    if sys.platform != "linux":
        pytest.skip("asks a pseudo terminal of Linux")
    import fcntl
    import os
    import pty
    import struct
    import subprocess
    import termios

    text = tmp_path / "long.txt"
    text.write_text((ROOT / "docs" / "hooks.md").read_text("utf-8") * 40, "utf-8")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [str(program_path()), "corpus", str(text), "--threads", "1", "--plugin", "ln"]
    command += ["--plugin", "logits:level=head", "--window", "128"]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    shown = b""
    end = time.monotonic() + 120
    while time.monotonic() < end and shown.count(b"\r\x1b[K") < 16:
        try:
            shown += os.read(ours, 4096)
        except OSError:
            break
    run.kill()
    run.wait()
    os.close(ours)
    lines = shown.decode().split("\r\x1b[K")[1:-1]
    assert lines
    assert all(len(line.rstrip()) < columns for line in lines), lines
    assert all("elapsed" in line for line in lines) or columns < 20
    if columns == 100:
        assert "tokens" in lines[-1] and "░" in lines[-1]
        assert any("left" in line for line in lines)
