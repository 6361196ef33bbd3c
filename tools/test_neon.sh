#!/bin/sh
# The NEON kernels on Debian for amd64: cross-builds the tree for aarch64 without warnings and runs
# it under qemu. Compares every kernel with the reference, whole runs with each other, and the
# program's tensors with those of the native build, all to the bit. Called by .ci/run.
# Installs the cross compiler and qemu if missing; unpacks the arm64 libraries in build/neon, so
# that the system gets no foreign architecture.
# usage: test_neon.sh [PROGRAM]      default: build/release/pythiascope
set -eu
cd "$(dirname "$0")/.."

tree=$(pwd)
native=${1:-$tree/build/release/pythiascope}
work=$tree/build/neon
root=$work/sysroot
libraries=$root/usr/lib/aarch64-linux-gnu
compiler=aarch64-linux-gnu-gcc
passed=0
failed=0

if ! command -v apt-get >/dev/null 2>&1 || [ "$(dpkg --print-architecture)" != amd64 ]; then
    echo "this test is for Debian on amd64; on aarch64 ./test.sh itself runs the NEON kernels" >&2
    exit 1
fi
if [ ! -x "$native" ]; then
    echo "no program at $native; build it first or pass its path" >&2
    exit 1
fi

# --- dependencies -----------------------------------------------------------------------------

install_tools() {
    missing=
    command -v $compiler >/dev/null 2>&1 || missing="gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
    command -v qemu-aarch64-static >/dev/null 2>&1 || missing="$missing qemu-user-static"
    [ -n "$missing" ] || return 0
    as_root=
    [ "$(id -u)" -eq 0 ] || as_root=sudo
    echo "installing: $missing"
    $as_root apt-get update -qq
    # shellcheck disable=SC2086 # a list of packages
    if apt-get install -s --no-install-recommends $missing | grep '^Remv'; then
        echo "installing these would remove packages; nothing was installed" >&2
        exit 1
    fi
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends $missing >/dev/null
}

# Fetches the arm64 libraries with a separate apt state that knows arm64 only.
unpack_libraries() {
    if [ -e "$root/complete" ] && [ -e "$libraries/pkgconfig/libzstd.pc" ]; then return 0; fi
    echo "fetching the arm64 libraries"
    rm -rf "$root" "$work/apt"
    mkdir -p "$root" "$work/apt/state/lists/partial" "$work/apt/cache/archives/partial"
    : >"$work/apt/status"
    cat >"$work/apt/apt.conf" <<END
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
Dir::State "$work/apt/state";
Dir::State::status "$work/apt/status";
Dir::Cache "$work/apt/cache";
END
    APT_CONFIG=$work/apt/apt.conf apt-get update -qq
    (
        cd "$work/apt"
        APT_CONFIG=$work/apt/apt.conf apt-get download -qq libc6 libgcc-s1 \
            libsleef-dev libsleef3 libxxhash-dev libxxhash0 libjansson-dev libjansson4 \
            libpcre2-dev libpcre2-8-0 libutf8proc-dev libutf8proc2 \
            liblapacke-dev liblapacke liblapack-dev liblapack3 libblas-dev libblas3 \
            libtmglib3 libgfortran5 zlib1g-dev zlib1g libzstd-dev libzstd1
        for package in *.deb; do dpkg -x "$package" "$root"; done
    )
    # The links that Debian's alternatives would make.
    ln -sf lapack/liblapack.so.3 blas/libblas.so.3 "$libraries/"
    for name in lapack blas; do
        ln -sf $name-netlib.pc "$libraries/pkgconfig/$name.pc"
    done
    rm -rf "$work/apt"
    touch "$root/complete"
}

# --- building ---------------------------------------------------------------------------------

build_tree() {
    PKG_CONFIG_LIBDIR=$libraries/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root \
        cmake -S . -B "$work/tree" -G Ninja -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
        -DCMAKE_C_COMPILER=$compiler -DCMAKE_C_FLAGS="-isystem $root/usr/include/aarch64-linux-gnu" \
        -DCMAKE_EXE_LINKER_FLAGS="-L$libraries -Wl,-rpath-link,$libraries" -DCMAKE_SKIP_RPATH=ON \
        -DPSC_WERROR=ON -DPSC_BUILD_TESTS=OFF -DPSC_BUILD_BENCH=OFF -DPSC_PULL=OFF \
        -DBUILD_SHARED_LIBS=OFF \
        >"$work/configure.log" || { cat "$work/configure.log"; exit 1; }
    cmake --build "$work/tree" >"$work/build.log" || { cat "$work/build.log"; exit 1; }
}

header_folders() { find include base simd hooks runtime report tests -name '*.h' 2>/dev/null |
    grep -v criterion_shim | sed 's|/[^/]*$||' | sort -u | sed 's/^/-I/'; }

# build_test NAME SOURCE...: Criterion's tests with our own main(). Sources are file names.
build_test() {
    name=$1
    shift
    sources=$(for source in plain_main.c "$@"; do find tests -name "$source"; done)
    # shellcheck disable=SC2046,SC2086 # lists of folders and files
    $compiler -std=c11 -O2 -ffp-contract=off -Wall -Wextra -Werror -Wno-format-zero-length \
        -D_POSIX_C_SOURCE=200809L -DPSC_SOURCE_DIR="\"$tree\"" \
        -I"$(find tests -name criterion_shim)" $(header_folders) \
        -isystem "$root/usr/include" -isystem "$root/usr/include/aarch64-linux-gnu" \
        $sources "$work/tree/libpythiascope.a" \
        -L"$libraries" -Wl,-rpath-link,"$libraries" \
        -lsleef -lxxhash -ljansson -lpcre2-8 -lutf8proc -llapacke -lz -lzstd -lpthread -ldl -lm \
        -o "$work/$name"
}

# --- running ----------------------------------------------------------------------------------

emulate() { timeout 600 qemu-aarch64-static -L "$root" "$@"; }

check() { # check DESCRIPTION COMMAND...
    description=$1
    shift
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "failed: $description"; fi
}

# Reads the counts from the last line of a program's output and shows the failures.
count_tests() { # count_tests LOG STATUS
    grep -v '^passed' "$1" || true
    line=$(grep '^[0-9]* passed, [0-9]* failed$' "$1" || echo '0 passed, 1 failed')
    ok=${line%% *}
    bad=${line#*, }
    bad=${bad%% *}
    if [ "$2" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    passed=$((passed + ok))
    failed=$((failed + bad))
}

run_tests() {
    echo "every kernel against the reference, and runs in every configuration"
    emulate "$work/kernels" >"$work/kernels.log" 2>&1 &
    kernels=$!
    status=0
    emulate "$work/bits" bits/small_models bits/many_rows bits/long_sequence \
        >"$work/bits.log" 2>&1 || status=$?
    count_tests "$work/bits.log" "$status"
    status=0
    emulate "$work/product" bits_product/pairs >"$work/product.log" 2>&1 || status=$?
    count_tests "$work/product.log" "$status"
    status=0
    wait $kernels || status=$?
    count_tests "$work/kernels.log" "$status"
}

points=hook_embed,hook_logits,ln_final.hook_scale,ln_final.hook_normalized
for point in hook_resid_pre hook_attn_out hook_mlp_out hook_resid_post ln1.hook_scale \
    ln1.hook_normalized ln2.hook_scale ln2.hook_normalized attn.hook_q attn.hook_k attn.hook_v \
    attn.hook_rot_q attn.hook_rot_k attn.hook_attn_scores attn.hook_pattern attn.hook_z \
    attn.hook_result mlp.hook_pre mlp.hook_post; do
    points=$points,blocks.*.$point
done

# analyze NAME PROGRAM... -- MODEL INPUT OPTIONS...: writes every plugin array and hook point to
# NAME
analyze() {
    name=$1
    shift
    rm -rf "$work/out/$name"
    "$@" --out "$work/out/$name" --target '#3' --target top:2 --contrast '#5' '#7' \
        --plugin logits:level=layer+head+source+neuron,rows=all \
        --plugin ln:rows=all,target_rows=all --plugin mlp:rows=all,target_rows=all,arrays=all \
        --plugin lens:rows=all --plugin sampling:rows=all --plugin partition:rows=all,level=layer+head \
        --plugin attention:reader=L1H0 --plugin edges:rows=all,carry=yes --plugin sweep:over=heads \
        --plugin spans:prefixes=yes,closure=yes,heads=causal,links=frozen+causal \
        >"$work/out/log" 2>&1 ||
        { cat "$work/out/log"; return 1; }
}

same_tensors() { cmp "$work/out/$1/tensors.safetensors" "$work/out/$2/tensors.safetensors"; }
same_results() { # except the run's settings
    for name in "$1" "$2"; do
        grep -v '"isa":\|"threads":\|"chunk":\|"command":' "$work/out/$name/results.json" >"$work/out/$name.json"
    done
    cmp "$work/out/$1.json" "$work/out/$2.json"
}

# compare_model LABEL FOLDER TOKENS: two native runs, and three under qemu
compare_model() {
    label=$1
    model=$2
    tokens=$3
    captured=$points
    case $label in sequential*) captured="$points,blocks.*.hook_resid_mid" ;; esac
    set -- analyze --model "$model" --tokens "$tokens" --capture "$captured,all_grad" --metric log_prob
    check "$label, reference" analyze base "$native" "$@" --isa reference --threads 1
    check "$label, this machine's" analyze native "$native" "$@" --threads 1
    check "$label, neon" analyze neon emulate "$work/tree/pythiascope" "$@" --isa neon --threads 1
    check "$label, neon in parts" analyze parts emulate "$work/tree/pythiascope" "$@" \
        --threads 3 --chunk 4
    check "$label, scalar arm" analyze scalar emulate "$work/tree/pythiascope" "$@" \
        --isa reference --threads 2
    for name in native neon parts scalar; do
        check "$label: the tensors of $name" same_tensors base $name
        check "$label: the results of $name" same_results base $name
    done
}

mkdir -p "$work/out"
install_tools
unpack_libraries
echo "building for aarch64"
build_tree
build_test kernels test_fp_state.c test_kernels.c test_kernel_reference.c \
    test_golden_bits.c test_erf.c test_tanh.c test_exp.c
build_test bits golden.c test_bits.c
build_test product golden.c test_bits_product.c
run_tests
echo "the program against this machine's, on each variant of model"
for folder in tests/golden/parity/*/; do
    compare_model "$(basename "$folder")" "$folder" 0,1,2,3,4,5,6,7,8,9,10,11,12,13
done
if [ -e models/books-5m/model.safetensors ]; then
    compare_model embedded models/books-5m 0,300,301,12,45,77,1000,2,9
fi
check 'it chooses neon' grep -q '"isa": "neon"' "$work/out/parts/results.json"
check 'avx2 is refused there' sh -c "! timeout 60 qemu-aarch64-static -L '$root' \
    '$work/tree/pythiascope' analyze --model tests/golden/parity/tied_f32 --tokens 1 --isa avx2 \
    >/dev/null 2>&1"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
