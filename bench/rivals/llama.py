#!/usr/bin/env python3
"""llama.cpp through llama-cpp-python's low-level calls: llama.py GGUF_FILE DTYPE THREADS

Uses its defaults, except one thread count for everything and a batch that holds the prompt. Its KV
cache is f16, its default."""
import ctypes
import sys

import llama_cpp as ll

from contender import clock, prompt, serve, top

CONTEXT = 1024


def main():
    threads = int(sys.argv[3])

    @ll.llama_log_callback
    def quiet(*_):
        return None
    ll.llama_log_set(quiet, None)
    ll.llama_backend_init()
    model = ll.llama_model_load_from_file(sys.argv[1].encode(), ll.llama_model_default_params())
    params = ll.llama_context_default_params()
    params.n_ctx = CONTEXT
    params.n_batch = params.n_ubatch = 512
    params.n_threads = params.n_threads_batch = threads
    context = ll.llama_init_from_model(model, params)
    if not model or not context:
        sys.exit(f"llama.cpp does not open {sys.argv[1]}")
    n_vocab = ll.llama_vocab_n_tokens(ll.llama_model_get_vocab(model))
    ids = prompt(CONTEXT, n_vocab)
    batches = {}
    state = {"length": 0}

    def memory():
        return ll.llama_get_memory(context)

    def batch(first, n):
        """One batch of n tokens, with logits of the last one only; made outside the timing."""
        if (first, n) not in batches:
            b = ll.llama_batch_init(n, 0, 1)
            b.n_tokens = n
            for i in range(n):
                b.token[i], b.pos[i] = ids[first + i], first + i
                b.n_seq_id[i], b.seq_id[i][0] = 1, 0
                b.logits[i] = i == n - 1
            batches[first, n] = b
        return batches[first, n]

    def step(b):
        if ll.llama_decode(context, b) != 0:
            sys.exit("llama_decode failed")
        ll.llama_get_logits_ith(context, -1)  # waits for them

    def prefill(n):
        b = batch(0, n)
        ll.llama_memory_clear(memory(), True)
        state["length"] = n
        return clock(lambda: step(b))

    def decode(length, steps):
        if state["length"] != length:
            prefill(length)
        each = [batch(length + i, 1) for i in range(steps)]

        def go():
            for b in each:
                step(b)
        seconds = clock(go) / steps
        ll.llama_memory_seq_rm(memory(), 0, length, -1)
        return seconds

    def logits(n):
        prefill(n)
        z = ll.llama_get_logits_ith(context, -1)
        return top(ctypes.cast(z, ctypes.POINTER(ctypes.c_float * n_vocab)).contents[:])

    serve({"prefill": prefill, "decode": decode, "logits": logits,
           "about": lambda: f"llama-cpp-python {ll.__version__}, "
                            f"{threads} threads, {ll.llama_print_system_info().decode()}"})


main()
