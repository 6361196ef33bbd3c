#!/bin/sh
# Installs the packages of tools/make_packages.sh into fresh systems of this machine's Debian release
# and runs them there. A system is what mmdebstrap makes: the essential packages and apt. Needs root
# and Debian's mirror. Called by .ci/run.
# usage: try_packages.sh
set -eu
cd "$(dirname "$0")/.."
packages=$PWD/build/packages
work=$(mktemp -d "${TMPDIR:-/tmp}/psc-packages-XXXXXX")
passed=0

fail() {
    echo "try_packages: $*" >&2
    exit 1
}
remove() {
    [ ! -e "$work/root/proc/self" ] || umount "$work/root/proc"
    rm -rf --one-file-system "$work"
}
trap remove EXIT
[ "$(id -u)" -eq 0 ] || fail "it needs root, for chroot; run it by sudo"
command -v mmdebstrap >/dev/null 2>&1 || fail "mmdebstrap is missing; run tools/install_dependencies.sh --packages"
# shellcheck disable=SC1091 # the machine's own
release=$(. /etc/os-release && echo "$VERSION_CODENAME")

in_system() { # in_system COMMAND...: as root in the fresh system
    chroot "$work/root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive ${http_proxy:+http_proxy="$http_proxy"} "$@" >"$work/log" 2>&1
}
as_user() { # the same as a user without rights, without a home folder that can be written
    chroot --userspec=nobody:nogroup "$work/root" /usr/bin/env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 \
        HOME=/nonexistent "$@" >"$work/log" 2>&1
}
check() { # check DESCRIPTION COMMAND...
    description=$1
    shift
    "$@" || { tail -n 20 "$work/log" >&2; fail "$description"; }
    passed=$((passed + 1))
}
says() { grep -q -- "$1" "$work/log"; }

fresh_system() {
    if [ ! -e "$work/system.tar" ]; then
        echo "making a fresh $release"
        mmdebstrap --quiet --variant=apt --mode=root --skip=cleanup/apt "$release" "$work/system.tar" \
            >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "mmdebstrap failed"; }
    fi
    [ ! -e "$work/root/proc/self" ] || umount "$work/root/proc"
    rm -rf --one-file-system "$work/root"
    mkdir "$work/root"
    tar -xf "$work/system.tar" -C "$work/root" --exclude=./dev
    mkdir -p "$work/root/dev" "$work/root/proc"
    for device in 'null 1 3' 'zero 1 5' 'urandom 1 9'; do
        # shellcheck disable=SC2086 # a name and two numbers
        set -- $device
        mknod -m 666 "$work/root/dev/$1" c "$2" "$3"
    done
    mount -t proc proc "$work/root/proc" # the program finds itself by /proc/self/exe
    cp /etc/resolv.conf "$work/root/etc/"
}

# try_program PROGRAM: what a new user would try
try_program() {
    check 'it starts' as_user "$1" --version
    check 'it names its version' says 0
    check 'it finds its model' as_user "$1" info
    check 'it analyzes' as_user "$1" analyze --text 'The old man gave the little girl a red apple.' \
        --html /tmp/page.html --out /tmp/result
    check 'it shows shares' says 'Shares of'
    check 'the page is there' test -s "$work/root/tmp/page.html"
    check 'the results are there' test -s "$work/root/tmp/result/tensors.safetensors"
    check 'it reads compressed documents and forms' as_user "$1" forms
    rm -rf "$work/root/tmp/page.html" "$work/root/tmp/result"
}

deb=$(echo "$packages"/pythiascope_*.deb)
archive=$(echo "$packages"/pythiascope-*.tar.gz)
[ -e "$deb" ] && [ -e "$archive" ] || fail "no packages in build/packages; run tools/make_packages.sh"

fresh_system
echo "installing ${deb##*/}"
cp "$deb" "$work/root/tmp/pythiascope.deb"
check 'apt installs the package' in_system apt-get install -y --no-install-recommends /tmp/pythiascope.deb
try_program pythiascope
check 'headers, pkg-config file and docs are there' in_system sh -c 'test -e /usr/include/pythiascope/psc.h &&
    test -e /usr/lib/*/pkgconfig/pythiascope.pc -o -e /usr/lib/pkgconfig/pythiascope.pc &&
    test -e /usr/share/doc/pythiascope/docs/install.md'
check 'man page and completions are there' in_system sh -c 'cd /usr/share && test -e man/man1/pythiascope.1 &&
    test -e bash-completion/completions/pythiascope && test -e zsh/vendor-completions/_pythiascope &&
    test -e fish/vendor_completions.d/pythiascope.fish'
check 'apt removes the package' in_system apt-get purge -y pythiascope
check 'nothing of it is left' sh -c "! find '$work/root/usr' '$work/root/etc' -iname '*pythiascope*' | grep ."

fresh_system
echo "unpacking ${archive##*/}"
mkdir "$work/root/opt/tools"
tar -xzf "$archive" -C "$work/root/opt/tools"
folder=$(cd "$work/root/opt/tools" && echo pythiascope-*)
check 'the libraries are installed as docs/install.md says' in_system sh -c \
    "xargs apt-get install -y --no-install-recommends </opt/tools/$folder/share/doc/pythiascope/libraries.txt"
try_program "/opt/tools/$folder/bin/pythiascope"
mv "$work/root/opt/tools/$folder" "$work/root/srv/moved"
try_program /srv/moved/bin/pythiascope
check 'it uses the model beside it' as_user /srv/moved/bin/pythiascope info
check 'the model beside it is named' says '/srv/moved/'
echo "the packages: $passed checks passed"
