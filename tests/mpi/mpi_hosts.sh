#!/bin/sh
# Three hosts made of network namespaces, of which one is cut off in the middle: the run ends in bounded
# time, its state is kept, and the run that continues gives the bytes of one process.
# usage: mpi_hosts.sh PROGRAM SOURCE_DIR MPIRUN LARGE_PLUGIN
. "$(dirname "$0")/mpi_checks.sh"
tag=psc$$

skip() {
    echo "skipped: $1"
    exit 0
}
case $options in *oversubscribe*) ;; *) skip 'the hosts need the mpirun of Open MPI' ;; esac
command -v ip >/dev/null 2>&1 || skip 'the hosts need ip (iproute2)'
ip netns add "$tag-hub" 2>/dev/null || skip 'network namespaces are not permitted here'
remove() {
    for host in 1 2 3 hub; do ip netns del "$tag-$host" 2>/dev/null; done
    chmod -R u+w "$work"
    rm -rf "$work"
}
trap remove EXIT

# A switch, and three hosts 10.77.0.1 to 10.77.0.3.
build() {
    set -e
    ip -n "$tag-hub" link add bridge type bridge
    ip -n "$tag-hub" link set bridge up
    for host in 1 2 3; do
        ip netns add "$tag-$host"
        ip link add net0 netns "$tag-$host" type veth peer name "port$host" netns "$tag-hub"
        ip -n "$tag-hub" link set "port$host" master bridge
        ip -n "$tag-hub" link set "port$host" up
        ip -n "$tag-$host" addr add "10.77.0.$host/24" dev net0
        ip -n "$tag-$host" link set net0 up
        ip -n "$tag-$host" link set lo up
    done
}
(build) 2>"$work/why" || skip "network namespaces cannot be connected here: $(tail -1 "$work/why")"

# mpirun reaches a host by a program in place of ssh: a shell in its namespace, under its own name.
cat >"$work/agent" <<END
#!/bin/sh
host=\${1##*.}
shift
exec ip netns exec $tag-\$host unshare -u sh -c "hostname node\$host; \$*"
END
chmod +x "$work/agent"
run="corpus $docs --window 64 --threads 1 --batch 2 --plugin mlp"
hosts() { # hosts ARGUMENTS...: three ranks, one on each host
    # shellcheck disable=SC2086
    timeout 120 "$work/agent" 10.77.0.1 exec "$mpirun" $options --mca plm_rsh_agent "$work/agent" \
        --mca btl tcp,self --mca btl_tcp_if_include net0 --mca oob_tcp_if_include net0 $keepalive \
        -H 10.77.0.1,10.77.0.2,10.77.0.3 -n 3 "$program" $run "$@" \
        >"$work/stdout" 2>"$work/stderr" </dev/null
}
await() { # await COMMAND...: up to 60 seconds
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || return 1
        sleep 0.1
    done
}
has_tokens() { # has_tokens STATE: more than the beginning is saved
    grep -aoE '"tokens":[0-9]+' "$1" | grep -qv ':0$'
}
gone() { # gone STATE: no process of the run is left
    ! pgrep -f -- "--state $1( |\$)" && ! pgrep -f "orted.*plm_rsh_agent"
}
cut() { # cut NAME HOST SENTENCE: the host loses its network while the run is at work
    state=$work/$1.state
    hosts --state "$state" --save-seconds 0.2 --mpi-timeout 4 &
    launched=$!
    check "$1: it saves" await has_tokens "$state"
    begin=$(date +%s)
    ip -n "$tag-hub" link set "port$2" down
    wait "$launched"
    code=$?
    seconds=$(($(date +%s) - begin))
    ip -n "$tag-hub" link set "port$2" up
    check "$1: it ends with a failure" test $code -ne 0 -a $code -ne 124
    [ -z "$3" ] || check "$1: the sentence" says "$3"
    check "$1: it ends soon ($seconds s)" test $seconds -le 40
    check "$1: every process ends" await gone "$state"
    # shellcheck disable=SC2086
    check "$1: it continues alone" alone $run --state "$state"
    check "$1: its state" cmp -s "$work/whole" "$state"
}

keepalive=
# shellcheck disable=SC2086 # a list of arguments
check 'one process' alone $run --state "$work/whole" --out "$work/o1"
check 'three hosts' hosts --state "$work/three" --out "$work/o3"
check 'the state of three hosts' cmp -s "$work/whole" "$work/three"
check 'the results of three hosts' same "$work/o1" "$work/o3"
cut worker 3 'rank 2 on node3 has been silent for 4 seconds'
cut first 1 'rank [12] on node[23] has been silent for 4 seconds'
keepalive='--mca oob_tcp_keepalive_time 2 --mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 2'
cut keepalive 2 '' # mpirun itself may be the first to notice
conclude
