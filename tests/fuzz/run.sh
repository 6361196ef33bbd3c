#!/bin/sh
# Fuzzes the reader of torch.save's files with the address and undefined-behavior sanitizers and
# coverage: builds tests/fuzz/fuzz_torch_file.c in build/fuzz and runs it on tests/golden/torch/files.
# usage: run.sh [SECONDS]      default: 3600
set -eu
cd "$(dirname "$0")/../.."
work=build/fuzz
mkdir -p "$work"
flags="-std=c11 -g -O1 -D_POSIX_C_SOURCE=200809L -ffp-contract=off -fsanitize=address,undefined
    -fno-sanitize-recover=undefined -fno-omit-frame-pointer -Iinclude/pythiascope -Ibase"
objects=
for name in arena error file_kind files pickle safetensors torch_file utf8 zip_file; do
    # shellcheck disable=SC2086 # a list of flags
    ${CC:-cc} $flags -fsanitize-coverage=trace-pc -c "base/$name.c" -o "$work/$name.o"
    objects="$objects $work/$name.o"
done
# shellcheck disable=SC2086,SC2046 # lists
${CC:-cc} $flags tests/fuzz/fuzz_torch_file.c $objects $(pkg-config --libs jansson libutf8proc) \
    -o "$work/fuzz_torch_file"
export ASAN_OPTIONS=max_allocation_size_mb=256:hard_rss_limit_mb=2000:detect_leaks=1
exec "$work/fuzz_torch_file" tests/golden/torch/files --seconds "${1:-3600}" --keep "$work" \
    --seed "$(date +%s)"
