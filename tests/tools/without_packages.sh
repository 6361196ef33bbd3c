#!/bin/sh
# Each Python script that needs a package says so in one sentence where the package is missing.
# Usage: without_packages.sh SOURCES PYTHON
sources=$1
python=$2
failed=0
for script in "$sources"/tools/*.py "$sources"/tools/train/*.py "$sources"/tests/tools/*.py "$sources"/bench/*.py; do
    grep -q '^    import \|^    from ' "$script" || continue
    grep -q 'except ModuleNotFoundError' "$script" || continue
    # -S: without installed packages.
    said=$("$python" -S -B "$script" 2>&1 </dev/null)
    code=$?
    if [ $code -ne 1 ] || [ "$(printf '%s\n' "$said" | wc -l)" -ne 1 ] ||
        ! printf '%s\n' "$said" | grep -q 'needs the package [a-z_]*; pip install'; then
        echo "failed: $script: exit code $code: $said"
        failed=1
    fi
done
# A script that imports a package at its top must be one of those above. Two hold programs of others as texts.
if grep -ln '^import numpy\|^from numpy\|^import torch\|^from torch\|^from safetensors\|^from transformers\|^from tokenizers\|^import mpmath\|^from pycparser' \
    "$sources"/tools/*.py "$sources"/tools/train/*.py "$sources"/tests/tools/*.py "$sources"/bench/*.py | grep -v 'bench/start.py\|bench/python_cost.py'; then
    echo 'failed: these scripts import a package without a sentence for its absence'
    failed=1
fi
exit $failed
