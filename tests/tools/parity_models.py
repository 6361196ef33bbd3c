"""The small random models of the parity tests: one folder per variant of GPT-NeoX in use, made by
tools/make_model.py.
"""
import os
import shutil
import subprocess
import sys
import tempfile

try:
    from safetensors.torch import load_file, save_file
except ModuleNotFoundError as error:
    need = f"{__file__}: needs the package {error.name}; pip install {error.name}"
    raise SystemExit(need) from None

MAKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools",
                     "make_model.py")
BASE = "--layers 2 --d-model 24 --heads 3 --d-mlp 48 --vocab 80 --context 64 --dtype f32"

# name: options of make_model.py that differ from BASE
VARIANTS = {
    "parallel_f32": "--d-model 32 --heads 4 --d-mlp 128 --context 320 --seed 1",
    "sequential_f32": "--sequential --d-model 32 --heads 2 --seed 2",
    "tied_f32": "--tied --seed 3",
    "old_f16": "--dtype f16 --old-buffers --seed 4",
    "sequential_bf16_v5": "--sequential --dtype bf16 --config-style 5 --lm-head --seed 5",
    "rotary_full": "--rotary-pct 1 --rotary-base 500 --d-model 16 --heads 2 --seed 6",
    "rotary_base_v5": "--rotary-base 1000000 --d-model 16 --heads 1 --config-style 5 --seed 7",
    "sharded_padded_f16": "--dtype f16 --layers 3 --d-model 16 --heads 2 --vocab 260 "
                          "--vocab-pad 60 --shards 3 --seed 8",
    "odd_sizes": "--d-model 20 --heads 5 --d-mlp 277 --rotary-pct 0.5 --vocab 97 --eps 1e-3 "
                 "--no-prefix --seed 9",
    "no_attention_bias": "--no-attention-bias --dtype mixed --config-style flat --seed 10",
    "large_scores": "--d-model 16 --heads 2 --seed 12",
    "gelu_fast": "--activation gelu_fast --d-model 16 --heads 2 --context 320 --seed 13",
    "rope_linear": "--activation gelu_new --sequential --d-model 16 --heads 2 --context 320 "
                   '--rotary-pct 0.5 --rope {"type":"linear","factor":4.0} --seed 14',
    "rope_dynamic": "--activation gelu_pytorch_tanh --d-model 16 --heads 1 --context 320 "
                    '--config-style 5 --rope {"rope_type":"dynamic","factor":2.0} --seed 15',
    "rope_yarn": "--d-model 32 --heads 2 --context 320 --rotary-pct 1 --rotary-base 500 --rope "
                 '{"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":80,'
                 '"beta_fast":8} --seed 16',
}
# those whose accuracy is compared with transformers's too
ACCURATE = ("parallel_f32", "gelu_fast", "rope_linear", "rope_dynamic", "rope_yarn")


def write_tokenizer(path):
    """A byte-level tokenizer of 260 entries, fewer than the model's padded vocabulary."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {s: i for i, s in enumerate(["<|endoftext|>"] + alphabet + ["th", "the", "\u0120the"])}
    tokenizer = Tokenizer(models.BPE(vocab, [("t", "h"), ("th", "e"), ("\u0120", "the")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>")])
    tokenizer.save(path, pretty=False)


def make_scores_large(path, heads):
    """The last head of each layer gets q near +u and k near -u in the last dimension, which does
    not rotate, so every score is near -110,000 while keys differ by thousands."""
    tensors = load_file(path)
    for name, tensor in tensors.items():
        if "query_key_value" in name:
            view = tensor.view(heads, 3, tensor.shape[0] // heads // 3, -1)[heads - 1, :, -1]
            if name.endswith("weight"):
                view[1] *= 20.0
            else:
                view[0] += 570.0
                view[1] -= 570.0
    save_file(tensors, path, {"format": "pt"})


def make_model(folder, name, options=""):
    """Writes the variant's folder; adds options to the variant's own."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, MAKER, folder] + f"{BASE} {VARIANTS[name]} {options}".split()
    with tempfile.TemporaryDirectory() as spare:
        if "padded" in name:
            path = os.path.join(spare, "tokenizer.json")
            write_tokenizer(path)
            command += ["--tokenizer", path]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    if name == "large_scores":
        make_scores_large(os.path.join(folder, "model.safetensors"), heads=2)
