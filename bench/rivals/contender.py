"""A contender of bench/run.py: answers each input line with one line (see bench/worker.c)."""
import sys
import time


def prompt(n, n_vocab, first=0):
    """The bench's tokens first..first+n-1, equal to bench_token in bench/bench.h."""
    return [2654435761 * (i + 1) % 2**32 % n_vocab for i in range(first, first + n)]


def clock(run):
    """Seconds of a call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def top(logits):
    """The five highest: id value id value ..."""
    order = sorted(range(len(logits)), key=lambda i: -logits[i])[:5]
    return " ".join(f"{i} {float(logits[i]):.6f}" for i in order)


def serve(answers):
    """answers: {first word: function of the other words, with integers as int}."""
    out = sys.stdout
    sys.stdout = sys.stderr  # keeps a library's output apart from the answers
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "quit":
            return
        value = answers[word](*(int(w) if w.isdigit() else w for w in rest))
        print(value if isinstance(value, str) else f"{value:.9f}", file=out, flush=True)
