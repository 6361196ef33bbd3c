#!/usr/bin/env python3
"""Tools that keep every activation of a pass: caches.py MODEL_FOLDER THREADS TOOL

TOOL: lens (TransformerLens 3), bridge (TransformerLens 4), nnsight, or pythiascope (PYTHONPATH and
PYTHIASCOPE_LIBRARY say where). All run in float32 on THREADS threads, without gradients.

  cache N KIND     seconds of a pass over N tokens with all rows' logits that keeps everything, and of
                   giving it back. KIND: default, what the tool keeps when asked for all; every, also
                   each head's attn.hook_result
  memory N KIND    bytes: the process's peak so far, the peak of one more such pass, that of the
                   weights before it (resident). For a new process
  write N KIND F   saves the cache's arrays to F (npz) under TransformerLens's names; how many
  about            a line of text

pythiascope also answers:
  text N LOGITS    seconds of a pass from a text of N tokens; LOGITS: all or last
  loss N           seconds of a pass and the mean loss of the next token
  plain N, hook N  the same from ids; with a function that does nothing at every hook_resid_post

nnsight's cache() keeps the inputs and outputs of all modules: not the scores, the rotated q and k,
nor heads' results."""
import pathlib
import re
import sys
from importlib.metadata import version

import numpy as np

from contender import clock, prompt, serve

TEXT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "tools" / "prompts.txt"


def nothing(value, hook):
    """A hook without effect."""


def is_post(name):
    return name.endswith("hook_resid_post")


# --- the tools ------------------------------------------------------------------------------------

def transformers_model(folder):
    import torch
    import transformers
    return transformers.GPTNeoXForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager").eval()


class Lens:
    """TransformerLens 3, as lens.py opens it, and TransformerLens 4's bridge."""

    def __init__(self, folder, threads, bridge):
        import torch
        self.torch = torch
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        if bridge:
            from transformer_lens.model_bridge import TransformerBridge
            self.model = TransformerBridge.boot_transformers(
                folder, hf_model=transformers_model(folder), device="cpu")
        else:
            from lens import open_lens
            self.model = open_lens(folder)
        self.vocab = self.model.cfg.d_vocab
        self.about = (f"transformer-lens {version('transformer-lens')}, torch {torch.__version__}, "
                      f"{torch.get_num_threads()} threads")

    def tokens(self, ids):
        return self.torch.tensor([ids])

    def cache(self, ids, kind):
        every = kind == "every"
        if self.model.cfg.use_attn_result != every:
            self.model.set_use_attn_result(every)
        with self.torch.inference_mode():
            return self.model.run_with_cache(ids, return_type="logits")

    def arrays(self, kept):
        logits, cache = kept
        return {"hook_logits": logits.numpy()} | {n: v.numpy() for n, v in cache.items()}


class Nnsight:
    """nnsight around transformers' model."""

    # A module's input or output, and what it holds, per layer
    HOLDS = (("", "input", "hook_resid_pre"), ("", "output", "hook_resid_post"),
             (".attention.dense", "input", "attn.hook_z"), (".attention", "1", "attn.hook_pattern"),
             (".attention.dense", "output", "hook_attn_out"), (".mlp", "output", "hook_mlp_out"),
             (".mlp.dense_h_to_4h", "output", "mlp.hook_pre"),
             (".mlp.dense_4h_to_h", "input", "mlp.hook_post"))

    def __init__(self, folder, threads):
        import nnsight
        import torch
        self.torch = torch
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        whole = transformers_model(folder)
        self.vocab, self.heads = whole.config.vocab_size, whole.config.num_attention_heads
        self.layers = whole.config.num_hidden_layers
        self.model = nnsight.NNsight(whole)
        self.about = (f"nnsight {version('nnsight')}, transformers {version('transformers')}, "
                      f"torch {torch.__version__}, {torch.get_num_threads()} threads")

    def tokens(self, ids):
        return self.torch.tensor([ids])

    def cache(self, ids, kind):
        if kind != "default":
            raise ValueError("nnsight has no heads' results")
        with self.torch.inference_mode(), self.model.trace(ids, use_cache=False) as tracer:
            cache = tracer.cache(include_inputs=True).save()
            logits = self.model.output.logits.save()
        return logits, cache

    def arrays(self, kept):
        logits, cache = kept
        found = {"hook_logits": logits.numpy()}
        for layer in range(self.layers):
            for module, side, name in self.HOLDS:
                entry = cache[f"model.gpt_neox.layers.{layer}{module}"]
                value = entry.input if side == "input" else entry.output
                value = value[int(side)] if side.isdigit() else value
                value = (value[0] if isinstance(value, tuple) else value).numpy()
                if name == "attn.hook_z":
                    value = value.reshape(*value.shape[:2], self.heads, -1)
                found[f"blocks.{layer}.{name}"] = value
        return found


class Pythiascope:
    """The package, without PyTorch."""

    def __init__(self, folder, threads):
        import pythiascope
        self.model = pythiascope.Model(folder, threads=threads)
        self.vocab = self.model.cfg.d_vocab
        self.about = f"pythiascope {pythiascope.__version__}, NumPy {np.__version__}, {threads} threads"

    def tokens(self, ids):
        return np.array([ids])

    def plain(self, ids):
        return self.model(ids)

    def loss(self, ids):
        return self.model(ids, return_type="loss")

    def text(self, text, logits):
        return self.model(text, logits=logits)

    def cache(self, ids, kind):
        self.model.set_use_attn_result(kind == "every")
        return self.model.run_with_cache(ids)

    def hook(self, ids):
        return self.model.run_with_hooks(ids, fwd_hooks=[(is_post, nothing)])

    def arrays(self, kept):
        logits, cache = kept
        return {"hook_logits": logits} | dict(cache.items())


# --- the questions --------------------------------------------------------------------------------

def resident(field):
    """VmRSS or VmHWM of this process, in bytes."""
    status = pathlib.Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(re.search(rf"{field}:\s+(\d+)", status).group(1))


class Answers:
    """A tool's answers."""

    def __init__(self, tool):
        self.tool, self.texts = tool, {}

    def ids(self, n):
        return self.tool.tokens(prompt(n, self.tool.vocab))

    def text_of(self, n):
        """The longest start of TEXT whose tokens are n."""
        model, whole = self.tool.model, TEXT.read_text(encoding="utf-8")
        ids = model.to_tokens(whole)[0]
        for end in range(len(ids) - n):
            text = model.to_string(ids[end:end + n])
            if model.to_tokens(text).shape[1] == n:
                return text
        raise ValueError(f"no text of {n} tokens")

    def text(self, n, logits):
        if n not in self.texts:
            self.texts[n] = self.text_of(n)
        return clock(lambda: self.tool.text(self.texts[n], logits))

    def memory(self, n, kind):
        """See the head of this file; the kernel's mark is reset before the pass."""
        before, weights = resident("VmHWM"), resident("VmRSS")
        pathlib.Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        kept = self.tool.cache(self.ids(n), kind)
        after = resident("VmHWM")
        del kept
        return f"{max(before, after)} {after} {weights}"

    def write(self, n, kind, path):
        arrays = self.tool.arrays(self.tool.cache(self.ids(n), kind))
        np.savez(path, **arrays)
        return str(len(arrays))

    def serve(self):
        tool = self.tool
        serve({"plain": lambda n: clock(lambda: tool.plain(self.ids(n))),
               "cache": lambda n, kind: clock(lambda: tool.cache(self.ids(n), kind)),
               "loss": lambda n: clock(lambda: tool.loss(self.ids(n))),
               "hook": lambda n: clock(lambda: tool.hook(self.ids(n))),
               "text": self.text, "memory": self.memory, "write": self.write,
               "about": lambda: tool.about})


def main():
    folder, threads, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    tools = {"lens": lambda: Lens(folder, threads, False), "bridge": lambda: Lens(folder, threads, True),
             "nnsight": lambda: Nnsight(folder, threads),
             "pythiascope": lambda: Pythiascope(folder, threads)}
    Answers(tools[name]()).serve()


main()
