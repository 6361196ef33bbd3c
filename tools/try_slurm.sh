#!/bin/sh
# Runs the commands of docs/cluster.md literally on a Slurm of this machine: a controller and a node of its
# own ports and files, which end with this script. Its blocks are indented lines after "`NAME`:".
# usage: try_slurm.sh PROGRAM (as root; install_dependencies.sh --mpi)
set -eu
program=$(readlink -f "$1")
source=$(cd "$(dirname "$0")/.." && pwd)
skip() {
    echo "skipped: $1"
    exit 0
}
[ "$(id -u)" -eq 0 ] || skip 'the daemons of Slurm need root'
for command in munged slurmctld slurmd sbatch srun mpirun; do
    command -v $command >/dev/null 2>&1 || skip "there is no $command"
done
work=$(mktemp -d)
chmod 755 "$work" # munge's socket must be reachable
mkdir "$work/state" "$work/spool" "$work/munge" "$work/bin"
finish() {
    scancel --state=RUNNING --state=PENDING --full >/dev/null 2>&1 || true
    for daemon in slurmd slurmctld munged; do
        if [ -s "$work/$daemon.pid" ]; then kill "$(cat "$work/$daemon.pid")" 2>/dev/null || true; fi
    done
    sleep 1
    rm -rf "$work"
}
trap finish EXIT

host=$(hostname -s)
dd if=/dev/urandom of="$work/munge/key" bs=1024 count=1 2>/dev/null
chmod 400 "$work/munge/key"
munged --force --key-file="$work/munge/key" --socket="$work/munge/socket" \
    --pid-file="$work/munged.pid" --log-file="$work/munge/log" --seed-file="$work/munge/seed" ||
    skip 'munged does not start here'
cat >"$work/slurm.conf" <<END
ClusterName=try
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=27817
SlurmdPort=27818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
CredType=cred/munge
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES
END
export SLURM_CONF="$work/slurm.conf"
slurmctld -f "$SLURM_CONF" -i >/dev/null 2>&1 || skip 'slurmctld does not start here'
slurmd -f "$SLURM_CONF" >/dev/null 2>&1 || skip 'slurmd does not start here'
tries=0
until [ "$(sinfo -h -o %T 2>/dev/null)" = idle ]; do
    tries=$((tries + 1))
    [ $tries -lt 60 ] || skip 'the node of Slurm does not become idle here'
    sleep 0.5
done

# The page's files and commands, with the program in PATH and a small corpus in books/.
block() { # block NAME: the indented lines after "`NAME`:"
    awk -v name="\`$1\`:" 'index($0, name) == 1 {on = 1; next}
        on && /^    / {print substr($0, 5); some = 1; next}
        on && /^$/ && !some {next}
        on && /^$/ {print ""; next}
        on {exit}' "$source/docs/cluster.md"
}
ln -s "$program" "$work/bin/pythiascope"
export PATH="$work/bin:$PATH" OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
mkdir "$work/books"
for page in corpus hooks numerics; do head -c 8000 "$source/docs/$page.md" >"$work/books/$page.md"; done
cd "$work"
failed=0
check() { # check DESCRIPTION COMMAND...
    description=$1
    shift
    if "$@"; then
        echo "passed: $description"
    else
        echo "failed: $description"
        tail -n 5 ./*.out 2>/dev/null
        failed=1
    fi
}
same() { # same A B: two folders of results, except threads, chunks and the command
    cmp -s "$1/tensors.safetensors" "$2/tensors.safetensors" || return 1
    for one in "$1" "$2"; do grep -vE '"(threads|chunk|command)"' "$one/results.json" >"$one.plain"; done
    cmp -s "$1.plain" "$2.plain"
}
for name in array.sbatch mpi.sbatch srun.sbatch; do
    block $name >$name
    check "$name is on the page" test -s $name
    sed -i 's/--array=1-100/--array=1-4/; s,auto/100,auto/4,; s/--cpus-per-task=[0-9]*/--cpus-per-task=1/
        s/--nodes=[0-9]*/--nodes=1/; s/--ntasks-per-node=[0-9]*/--ntasks-per-node=2/' $name
done
pythiascope corpus books --state one.state --out one >/dev/null
mkdir parts

check 'the array' sbatch -W -o 'array-%a.out' array.sbatch
rm parts/2-of-4.state
missing=$(pythiascope merge --missing parts/*.state) || true
check 'the part that is missing' test "$missing" = 2
block again >again
check 'it is submitted again' sh -c '. ./again'
while [ -n "$(squeue -h)" ]; do sleep 0.5; done
block merge >merge
check 'the parts are merged' sh -c '. ./merge >merge.out'
check 'the results of the array' same one books-mlp
rm -r books-mlp

check 'mpirun in a job' sbatch -W -o mpi.out mpi.sbatch
check 'its results' same one books-mlp
check 'its state' cmp -s one.state books.state
rm -r books-mlp books.state
if srun --mpi=list 2>&1 | grep -q pmix; then
    check 'srun in a job' sbatch -W -o srun.out srun.sbatch
    check 'its results' same one books-mlp
    check 'its state' cmp -s one.state books.state
    rm -rf books-mlp
else
    echo 'skipped: srun --mpi=pmix, which this Slurm does not have'
fi
check 'several tasks without MPI are refused' \
    sh -c '! srun -n 2 pythiascope corpus books 2>refused.out && grep -q "mpi=pmix to srun" refused.out'
exit $failed
