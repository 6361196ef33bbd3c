#!/usr/bin/env python3
"""Train the small GPT-NeoX language models that the project ships: the embedded default, and the
training steps of its smaller sibling.

Architecture: Pythia's (parallel residual, rotary on a part of each head, erf-GELU, LayerNorm with
bias, untied unembedding). By default 4 layers, d_model 256, 8 heads, d_mlp 1024, vocabulary 4096,
context 512, rotary on a quarter of each head; --layers and the options beside it choose others.
Data: English prose in the public domain, one book per file, given by --corpus DIR (*.md).
A share of the training windows repeats a stretch of their own text, and a share repeats random
tokens, which teaches induction: a token is then predictable only from its earlier occurrence.

The shipped models' README.md has the commands: books-5m comes from several runs, each continuing
the one before (--init), books-0.5m from one that keeps some of its steps (--keep-steps).

Writes a Hugging Face folder: config.json, tokenizer.json, model.safetensors (float16) and
training.json (the held-out loss during training). --keep-steps 0,128,512 also writes the model as
it is after those steps: OUT/step0, OUT/step128, OUT/step512, each with config.json and
model.safetensors; step 0 is the initialization. Needs only PyTorch.
"""
import argparse, json, math, os, random, re, struct, time
from collections import Counter, defaultdict
from dataclasses import dataclass

try:
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

EPS = 1e-5
END_OF_TEXT = "<|endoftext|>"


@dataclass
class Sizes:
    """The shape of a model; the embedded default's unless options or --init say otherwise."""
    vocab: int = 4096
    d_model: int = 256
    layers: int = 4
    heads: int = 8
    d_mlp: int = 1024
    context: int = 512
    rotary_pct: float = 0.25

    @property
    def d_head(self):
        return self.d_model // self.heads

    @classmethod
    def of_folder(cls, folder):
        with open(os.path.join(folder, "config.json")) as file:
            c = json.load(file)
        return cls(c["vocab_size"], c["hidden_size"], c["num_hidden_layers"], c["num_attention_heads"],
                   c["intermediate_size"], c["max_position_embeddings"], c["rotary_pct"])


# GPT-2's pre-tokenizer, as the Hugging Face ByteLevel pre-tokenizer applies it.
try:
    import regex
    SPLIT = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
except ImportError:  # the stdlib has no \p classes; [^\W\d_] is its \p{L}
    SPLIT = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


def byte_alphabet():
    """Maps bytes 0..255 to the printable characters of byte-level BPE."""
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, spare = {}, 0
    for byte in range(256):
        if byte in printable:
            table[byte] = chr(byte)
        else:
            table[byte] = chr(256 + spare)
            spare += 1
    return table


def read_books(folder):
    """The text of each book, without its title block and with the markdown emphasis marks dropped."""
    books = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".md"):
            text = open(os.path.join(folder, name), encoding="utf-8").read()
            text = text.split("-------", 1)[-1]
            text = re.sub(r"^#+ *", "", text, flags=re.M).replace("_", "").replace("*", "")
            text = re.sub(r"\n{3,}", "\n\n", text).strip()
            books.append((name, text))
    return books


def train_bpe(books, vocab_size):
    """Byte-level BPE merges, the most frequent pair first; returns (vocab, merges)."""
    alphabet = byte_alphabet()
    words = Counter()
    for _, text in books:
        words.update(SPLIT.findall(text))
    pieces, counts = [], []
    for word, count in words.items():
        pieces.append([alphabet[b] for b in word.encode("utf-8")])
        counts.append(count)
    pair_count, pair_words = Counter(), defaultdict(set)
    for w, symbols in enumerate(pieces):
        for pair in zip(symbols, symbols[1:]):
            pair_count[pair] += counts[w]
            pair_words[pair].add(w)
    vocab = {END_OF_TEXT: 0}
    for symbol in sorted(alphabet.values()):
        vocab[symbol] = len(vocab)
    merges = []
    while len(vocab) < vocab_size:
        best = max(pair_count, key=lambda p: (pair_count[p], p))
        merges.append(best)
        joined = best[0] + best[1]
        vocab[joined] = len(vocab)
        for w in pair_words.pop(best):
            old = pieces[w]
            for pair in zip(old, old[1:]):
                pair_count[pair] -= counts[w]
            new, i = [], 0
            while i < len(old):
                if i + 1 < len(old) and (old[i], old[i + 1]) == best:
                    new.append(joined)
                    i += 2
                else:
                    new.append(old[i])
                    i += 1
            pieces[w] = new
            for pair in zip(new, new[1:]):
                pair_count[pair] += counts[w]
                pair_words[pair].add(w)
        pair_count.pop(best, None)
    return vocab, merges


def encoder(vocab, merges):
    """A function text -> ids; words are memoized."""
    alphabet, rank, memo = byte_alphabet(), {m: i for i, m in enumerate(merges)}, {}

    def word_ids(word):
        symbols = [alphabet[b] for b in word.encode("utf-8")]
        while len(symbols) > 1:
            pairs = [(rank.get(p, 1 << 30), i) for i, p in enumerate(zip(symbols, symbols[1:]))]
            best, at = min(pairs)
            if best == 1 << 30:
                break
            symbols[at:at + 2] = [symbols[at] + symbols[at + 1]]
        return [vocab[s] for s in symbols]

    def encode(text):
        ids = []
        for word in SPLIT.findall(text):
            if word not in memo:
                memo[word] = word_ids(word)
            ids.extend(memo[word])
        return ids
    return encode


def tokenizer_json(vocab, merges):
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": 0, "content": END_OF_TEXT, "single_word": False, "lstrip": False,
                          "rstrip": False, "normalized": False, "special": True}],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True},
        "post_processor": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "vocab": vocab,
                  "merges": [" ".join(m) for m in merges]},
    }


class Block(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        d_model, self.heads = sizes.d_model, sizes.heads
        self.input_layernorm = nn.LayerNorm(d_model, EPS)
        self.post_attention_layernorm = nn.LayerNorm(d_model, EPS)
        self.query_key_value = nn.Linear(d_model, 3 * d_model)  # per head: q, k, v
        self.dense = nn.Linear(d_model, d_model)
        self.dense_h_to_4h = nn.Linear(d_model, sizes.d_mlp)
        self.dense_4h_to_h = nn.Linear(sizes.d_mlp, d_model)

    def forward(self, x, cos, sin, mask):
        batch, time_, d_model = x.shape
        d_head = d_model // self.heads
        q, k, v = self.query_key_value(self.input_layernorm(x)).view(batch, time_, self.heads, 3 * d_head) \
            .transpose(1, 2).split(d_head, dim=-1)
        n_rot = cos.shape[-1]

        def rotate(t):
            rot, keep = t[..., :n_rot], t[..., n_rot:]
            half = torch.cat((-rot[..., n_rot // 2:], rot[..., :n_rot // 2]), -1)
            return torch.cat((rot * cos + half * sin, keep), -1)
        scores = rotate(q) @ rotate(k).transpose(-1, -2) / math.sqrt(d_head) + mask
        z = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, time_, d_model)
        mlp = self.dense_4h_to_h(F.gelu(self.dense_h_to_4h(self.post_attention_layernorm(x))))
        return mlp + self.dense(z) + x


class GPTNeoX(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.sizes, context = sizes, sizes.context
        self.embed_in = nn.Embedding(sizes.vocab, sizes.d_model)
        self.layers = nn.ModuleList(Block(sizes) for _ in range(sizes.layers))
        self.final_layer_norm = nn.LayerNorm(sizes.d_model, EPS)
        self.embed_out = nn.Linear(sizes.d_model, sizes.vocab, bias=False)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02)
            if name.endswith(("dense.weight", "dense_4h_to_h.weight")):
                nn.init.normal_(p, std=2 / sizes.layers / math.sqrt(sizes.d_model))  # Wang init, as Pythia
            if name.endswith("bias"):
                nn.init.zeros_(p)
        n_rot = int(sizes.d_head * sizes.rotary_pct)
        angle = torch.outer(torch.arange(context).float(),
                            10000.0 ** (-torch.arange(0, n_rot, 2).float() / n_rot))
        angle = torch.cat((angle, angle), -1)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        self.register_buffer("mask", torch.full((context, context), -torch.inf).triu(1), persistent=False)

    def forward(self, ids):
        t = ids.shape[1]
        x = self.embed_in(ids)
        for block in self.layers:
            x = block(x, self.cos[:t], self.sin[:t], self.mask[:t, :t])
        return self.embed_out(self.final_layer_norm(x))


def load_model(folder, model):
    """Loads weights of an earlier run into model; returns its (vocab, merges) and its history."""
    blob = open(os.path.join(folder, "model.safetensors"), "rb").read()
    size, = struct.unpack("<Q", blob[:8])
    header, state = json.loads(blob[8:8 + size]), {}
    for name, entry in header.items():
        if name != "__metadata__":
            a, b = entry["data_offsets"]
            t = torch.frombuffer(bytearray(blob[8 + size + a:8 + size + b]), dtype=torch.float16)
            name = name.replace("gpt_neox.", "").replace(".attention.", ".").replace(".mlp.", ".")
            state[name] = t.view(entry["shape"]).float()
    model.load_state_dict(state, strict=True)
    tokenizer = json.load(open(os.path.join(folder, "tokenizer.json"), encoding="utf-8"))["model"]
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in tokenizer["merges"]]
    history = json.load(open(os.path.join(folder, "training.json")))
    return tokenizer["vocab"], merges, history


def save_safetensors(path, tensors):
    header, offset, blobs = {"__metadata__": {"format": "pt"}}, 0, []
    for name, t in tensors.items():
        blob = t.to(torch.float16).contiguous().numpy().tobytes()
        header[name] = {"dtype": "F16", "shape": list(t.shape), "data_offsets": [offset, offset + len(blob)]}
        offset += len(blob)
        blobs.append(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def write_json(path, content, **form):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file, **form)


def save_step(folder, model):
    """config.json and model.safetensors: what differs from step to step."""
    os.makedirs(folder, exist_ok=True)
    names, sizes = {}, model.sizes
    for name, t in model.state_dict().items():
        parts = name.split(".")
        if parts[0] == "layers":
            home = {"query_key_value": "attention.", "dense": "attention.",
                    "dense_h_to_4h": "mlp.", "dense_4h_to_h": "mlp."}.get(parts[2], "")
            name = f"layers.{parts[1]}.{home}{'.'.join(parts[2:])}"
        names[name if name.startswith("embed_out") else "gpt_neox." + name] = t.detach()
    save_safetensors(os.path.join(folder, "model.safetensors"), names)
    config = {
        "architectures": ["GPTNeoXForCausalLM"], "model_type": "gpt_neox", "bos_token_id": 0,
        "eos_token_id": 0, "hidden_act": "gelu", "hidden_size": sizes.d_model, "initializer_range": 0.02,
        "intermediate_size": sizes.d_mlp, "layer_norm_eps": EPS, "max_position_embeddings": sizes.context,
        "num_attention_heads": sizes.heads, "num_hidden_layers": sizes.layers, "rotary_emb_base": 10000,
        "rotary_pct": sizes.rotary_pct, "tie_word_embeddings": False, "torch_dtype": "float16",
        "use_cache": True, "use_parallel_residual": True, "vocab_size": sizes.vocab}
    write_json(os.path.join(folder, "config.json"), config, indent=2)


def save_model(folder, model, vocab, merges, history):
    save_step(folder, model)
    write_json(os.path.join(folder, "tokenizer.json"), tokenizer_json(vocab, merges), ensure_ascii=False)
    write_json(os.path.join(folder, "training.json"), history, indent=1)


class Muon(torch.optim.Optimizer):
    """Momentum with a step made orthogonal by a quintic Newton-Schulz iteration (Jordan 2024), in
    float32: torch.optim.Muon iterates in bfloat16, which many CPUs compute very slowly."""

    def __init__(self, params, lr, weight_decay=0.1, momentum=0.95):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                buffer = self.state[p].setdefault("momentum", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                g = p.grad.lerp(buffer, group["momentum"])
                tall = g.shape[0] > g.shape[1]
                x = (g.T if tall else g) / (g.norm() + 1e-7)
                for _ in range(5):
                    a = x @ x.T
                    x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
                step = (x.T if tall else x) * 0.2 * max(g.shape) ** 0.5  # the size of an Adam step
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(step, alpha=group["lr"])


def optimizers_of(model, lr):
    """Muon for the matrices of the layers, AdamW for the rest."""
    matrices = [p for p in model.layers.parameters() if p.dim() == 2]
    ends = [model.embed_in.weight, model.embed_out.weight]
    plain = [p for p in model.parameters() if p.dim() != 2]
    return [
        Muon(matrices, lr=lr),
        torch.optim.AdamW([{"params": ends, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}],
                          lr=lr, betas=(0.9, 0.95), eps=1e-8)]


def read_tokens(args, model):
    """(vocab, merges, training ids, held-out ids), int16; kept in OUT/tokens.pt for the next run."""
    cache = os.path.join(args.out, "tokens.pt")
    if os.path.exists(cache):
        return torch.load(cache)
    os.makedirs(args.out, exist_ok=True)
    books = read_books(args.corpus)
    if args.init:
        vocab, merges, _ = load_model(args.init, model)
    else:
        vocab, merges = train_bpe(books, model.sizes.vocab)
    encode, train, held = encoder(vocab, merges), [], []
    for _, text in books:  # the last 2 % of every book is held out
        cut = text.rfind("\n", 0, int(len(text) * 0.98))
        train += encode(text[:cut]) + [0]
        held += encode(text[cut:]) + [0]
    train, held = torch.tensor(train, dtype=torch.int16), torch.tensor(held, dtype=torch.int16)
    torch.save((vocab, merges, train, held), cache)
    return vocab, merges, train, held


def batch(args, train, vocab_size, generator):
    """(ids [batch, window + 1], weight [batch, window]: 0 where nothing can be learned)."""
    window = args.window
    at = torch.randint(0, len(train) - window - 1, (args.batch,), generator=generator)
    rows = torch.stack([train[i:i + window + 1] for i in at]).long()
    for r in range(int(args.batch * args.repeat_share)):  # repeat a stretch of the row's own text
        span = random.randint(16, window // 2)
        copies = (window + 1 + span - 1) // span
        rows[r] = rows[r, :span].repeat(copies)[:window + 1] if random.random() < 0.5 else \
            torch.cat((rows[r, :window + 1 - span], rows[r, :span]))
    weight = torch.ones(args.batch, window)
    for r in range(args.batch - round(args.batch * args.random_share), args.batch):
        span = random.randint(args.min_period, args.max_period)
        some = torch.randint(1, vocab_size, (span,), generator=generator)
        if random.random() < 0.5:  # as frequent as in text, but unordered
            some = train[torch.randint(0, len(train), (span,), generator=generator)].long()
        rows[r] = some.repeat((window + span) // span + 1)[:window + 1]
        weight[r, :span - 1] = 0.0  # nothing can be learned from the first copy
    return rows, weight


def held_out_loss(model, held, window):
    """Mean loss over at most 128 windows of the held-out text."""
    model.eval()
    total, n = 0.0, 0
    with torch.no_grad():
        for i in range(0, min(len(held) - window - 1, 128 * window), window):
            ids = held[i:i + window + 1].long()[None]
            total += F.cross_entropy(model(ids[:, :-1])[0], ids[0, 1:], reduction="sum").item()
            n += window
    model.train()
    return total / n


def induction_loss(model, generator):
    """Mean loss on the first and on the second copy of 64 random tokens."""
    half = torch.randint(300, model.sizes.vocab, (16, 64), generator=generator)
    ids = torch.cat((half, half), 1)
    with torch.no_grad():
        loss = F.cross_entropy(model(ids)[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
    return loss[:, :63].mean().item(), loss[:, 64:].mean().item()


def train_step(model, optimizers, ids, weight, lr):
    """One update; returns the loss before it."""
    loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    loss = (loss * weight.flatten()).sum() / weight.sum()
    model.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
    return loss.item()


def parse_arguments():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--corpus", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--minutes", type=float, default=90, help="0: only measure the losses of --init")
    ap.add_argument("--batch", type=int, default=32)
    ap.add_argument("--window", type=int, default=256)
    ap.add_argument("--repeat-share", type=float, default=0.2, help="windows that repeat their own text")
    ap.add_argument("--random-share", type=float, default=0.0, help="windows of repeated random tokens")
    ap.add_argument("--min-period", type=int, default=8, help="shortest stretch of random tokens")
    ap.add_argument("--max-period", type=int, default=64, help="longest stretch of random tokens")
    ap.add_argument("--init", help="a folder of an earlier run: continue from its weights, sizes and tokenizer")
    ap.add_argument("--lr", type=float, default=2e-3)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--steps", type=int, default=0, help="stop after this many steps (0: by --minutes)")
    ap.add_argument("--keep-steps", default="", metavar="N,N,...",
                    help="also write the model after these steps of this run, each to OUT/stepN")
    ap.add_argument("--threads", type=int, default=0, help="of PyTorch (0: its own choice)")
    sizes = ap.add_argument_group("sizes, without --init")
    for name, kind in Sizes.__annotations__.items():
        sizes.add_argument("--" + name.replace("_", "-"), type=kind, default=getattr(Sizes, name),
                           metavar="X", help=f"default {getattr(Sizes, name)}")
    return ap.parse_args()


def main():
    args = parse_arguments()
    random.seed(args.seed)
    torch.manual_seed(args.seed)
    if args.threads:
        torch.set_num_threads(args.threads)
    start = time.time()
    sizes = Sizes.of_folder(args.init) if args.init else Sizes(**{n: getattr(args, n) for n in Sizes.__annotations__})
    model, history = GPTNeoX(sizes), []
    vocab, merges, train, held = read_tokens(args, model)
    print(f"tokens: {len(train)} train, {len(held)} held out; {time.time() - start:.0f} s", flush=True)
    if args.init:
        _, _, history = load_model(args.init, model)
    optimizers = optimizers_of(model, args.lr)
    print(f"parameters: {sum(p.numel() for p in model.parameters())}", flush=True)
    generator = torch.Generator().manual_seed(1 + args.seed)
    kept = {int(n) for n in args.keep_steps.split(",") if n}
    step, began, train_loss = 0, time.time(), None
    before = {k: history[-1][k] for k in ("step", "tokens", "seconds")} if history else \
        {"step": 0, "tokens": 0, "seconds": 0.0}

    def record():
        first, second = induction_loss(model, torch.Generator().manual_seed(2))
        history.append({"step": before["step"] + step,
                        "tokens": before["tokens"] + step * args.batch * args.window,
                        "train_loss": train_loss, "held_out_loss": held_out_loss(model, held, args.window),
                        "induction_first": first, "induction_second": second,
                        "seconds": before["seconds"] + time.time() - began})
        print(json.dumps(history[-1]), flush=True)
        save_model(args.out, model, vocab, merges, history)

    while args.minutes > 0:
        if step in kept:
            save_step(os.path.join(args.out, f"step{before['step'] + step}"), model)
        done = step / args.steps if args.steps else (time.time() - began) / (60 * args.minutes)
        if done >= 1:
            break
        lr = args.lr * min(1, (step + 1) / 100) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))
        train_loss = train_step(model, optimizers, *batch(args, train, sizes.vocab, generator), lr)
        step += 1
        if step % 100 == 0:
            record()
    record()


if __name__ == "__main__":
    main()
