#!/bin/sh
# Installs the rivals of the bench into a separate Python environment.
# usage: bench/install_rivals.sh [FOLDER]      default: build/rivals
# Needs python3 (3.11 or later) with venv, cmake and a C++ compiler, and compiles llama.cpp for this
# machine in some minutes. The environment takes 6 GB, because PyTorch from PyPI includes CUDA.
# JOBS=N compiles with N jobs; PYTHON names the interpreter.
set -eu
cd "$(dirname "$0")/.."
folder=${1:-build/rivals}
wanted=bench/rivals/requirements.txt
"${PYTHON:-python3}" -m venv "$folder"
# llama.cpp as its own build makes it: native instructions, OpenMP, its matrix kernels. Without
# pip's cache, which may hold a differently compiled wheel.
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
# TransformerLens 4 has no place beside TransformerLens 3: an environment inside, with the rest.
"$folder/bin/python" -m venv "$folder/bridge"
shared=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
place=$("$folder/bridge/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "$shared" > "$place/shared.pth"
"$folder/bridge/bin/pip" install -r bench/rivals/requirements_bridge.txt
echo "rivals are in $folder"
