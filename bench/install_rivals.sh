#!/bin/sh
# Installs what the bench compares with into a Python environment of its own, by default
# build/rivals. usage: bench/install_rivals.sh [FOLDER]
# Needs python3 (3.11 or later) with venv, cmake and a C++ compiler: llama.cpp is compiled here, for
# this machine, which takes some minutes. The environment has 6 GB, since PyTorch from PyPI brings
# CUDA along. JOBS=N compiles with N jobs, PYTHON names the interpreter.
set -eu
cd "$(dirname "$0")/.."
folder=${1:-build/rivals}
wanted=bench/rivals/requirements.txt
"${PYTHON:-python3}" -m venv "$folder"
# As good as its own build makes it: this machine's instructions, OpenMP, its matrix kernels. Without
# pip's cache, which may hold one that was compiled otherwise.
CMAKE_ARGS="-DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DGGML_OPENMP=ON -DGGML_LLAMAFILE=ON -DLLAVA_BUILD=OFF"
CMAKE_BUILD_PARALLEL_LEVEL=${JOBS:-$(getconf _NPROCESSORS_ONLN)}
export CMAKE_ARGS CMAKE_BUILD_PARALLEL_LEVEL
llama=$(grep '^llama-cpp-python==' "$wanted")
"$folder/bin/pip" install --no-deps --no-cache-dir --no-binary llama-cpp-python "$llama"
"$folder/bin/pip" install --no-binary llama-cpp-python -r "$wanted"
"$folder/bin/python" - <<'END_OF_CHECK'
import llama_cpp
info = llama_cpp.llama_print_system_info().decode()
print(info)
if "OPENMP = 1" not in info:
    raise SystemExit("llama.cpp was compiled without OpenMP")
END_OF_CHECK
echo "rivals are in $folder"
