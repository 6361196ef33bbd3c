#!/bin/sh
# Parts of a corpus from outside: by launcher, by size, named, listed, missing and merged.
# usage: shards.sh PROGRAM
. "$(dirname "$0")/checks.sh"
program=$1
unset SLURM_ARRAY_TASK_ID SLURM_ARRAY_TASK_COUNT SLURM_ARRAY_TASK_MIN SLURM_ARRAY_TASK_MAX SLURM_ARRAY_TASK_STEP \
    SLURM_PROCID SLURM_NTASKS SLURM_JOB_ID SLURM_STEP_ID SLURM_STEP_NUM_TASKS OMPI_COMM_WORLD_RANK \
    OMPI_COMM_WORLD_SIZE PMI_RANK PMI_SIZE

docs=$work/docs
mkdir "$docs"
for i in 1 2 3 4 5 6 7 8 9; do
    for j in $(seq $((i * i))); do echo "Chapter $i.$j tells of a road of yellow brick, and of $i towers."; done >"$docs/$i.txt"
    echo "{\"text\": \"Line $i of a file of lines, which is $(seq -s ' ' $((i * 9)))\"}"
done >"$docs/lines.jsonl"
cd "$work" || exit 1
survey() { # survey ARGUMENTS...: over docs, stdout to $work/out, stderr to $work/err
    "$program" corpus docs --plugin ln --plugin neurons:contexts=2 --window 32 --threads 1 "$@" >"$work/out" 2>"$work/err"
}
rest() { # rest FOLDER: results.json without what may differ
    grep -vE '"(threads|chunk|command)"' "$1/results.json"
}
same() {
    cmp -s "$1/tensors.safetensors" "$2/tensors.safetensors" || return 1
    rest "$1" >"$work/one.json"
    rest "$2" >"$work/two.json"
    cmp -s "$work/one.json" "$work/two.json"
}
check 'one run' survey --out whole

# By launcher: the part is said, and stands in the names.
mkdir slurm
for task in 0 2 4; do
    check "task $task of an array 0-4:2" env SLURM_ARRAY_TASK_ID=$task SLURM_ARRAY_TASK_COUNT=3 SLURM_ARRAY_TASK_MIN=0 \
        SLURM_ARRAY_TASK_MAX=4 SLURM_ARRAY_TASK_STEP=2 SLURM_PROCID=0 SLURM_NTASKS=1 "$program" corpus docs --plugin ln \
        --plugin neurons:contexts=2 --window 32 --shard auto --state 'slurm/{shard}.state' --out 'slurm/{shard}' >out 2>err
    check 'it says its part' grep -q "^pythiascope: note: part $((task / 2 + 1))/3 of the corpus (task $task of the Slurm array)" err
done
check 'the names' test -f slurm/1-of-3.state -a -f slurm/2-of-3.state -a -f slurm/3-of-3.state -a -d slurm/2-of-3
check 'merged' "$program" merge slurm/*.state --out slurm/all >out 2>&1
check 'they are the whole' same whole slurm/all
rank() { # rank PATTERN ENV...: what part 2 of 4 is called
    pattern=$1
    shift
    env "$@" "$program" corpus docs --plugin ln --window 32 --shard auto --state 'of_rank.{shard}' --limit-tokens 10 >out 2>err
    check "$pattern" grep -qF "note: part 2/4 of the corpus ($pattern)" err
    check "the state of $pattern" test -s of_rank.2-of-4
    rm -f of_rank.*
}
rank 'rank 1 of Open MPI' OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=4 SLURM_PROCID=0 SLURM_NTASKS=2
rank 'rank 1 of the process manager' PMI_RANK=1 PMI_SIZE=4 SLURM_PROCID=0 SLURM_NTASKS=1
rank 'rank 1 of srun' SLURM_PROCID=1 SLURM_NTASKS=4 SLURM_JOB_ID=7 SLURM_STEP_ID=0
rank 'task 2 of the Slurm array' SLURM_ARRAY_TASK_ID=2 SLURM_ARRAY_TASK_COUNT=4 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_STEP=1
check 'names are as wide as the last' sh -c "SLURM_ARRAY_TASK_ID=7 '$program' corpus docs --plugin ln --shard auto/120 --state 'w.{shard}' >out 2>err"
check 'with zeros' test -s w.007-of-120
check 'I/N fills them in, too' survey --shard 3/10 --state 'x.{shard}.{shard}'
check 'twice' test -s x.03-of-10.03-of-10

refuse() { # refuse PATTERN ENV... -- ARGUMENTS...
    pattern=$1
    shift
    variables=
    while [ "$1" != -- ]; do
        variables="$variables $1"
        shift
    done
    shift
    # shellcheck disable=SC2086 # a list of variables
    env $variables "$program" corpus docs --plugin ln "$@" >out 2>err
    check "refused: $pattern" test $? -eq 2
    check "says: $pattern" grep -qE -- "^pythiascope: .*$pattern" err
    check 'one line' test "$(wc -l <err)" -eq 1 -a ! -s out
}
array='SLURM_ARRAY_TASK_ID=3 SLURM_ARRAY_TASK_COUNT=4 SLURM_ARRAY_TASK_MIN=3 SLURM_ARRAY_TASK_MAX=9 SLURM_ARRAY_TASK_STEP=1'
refuse 'finds no Slurm array, mpirun or srun' -- --shard auto
refuse 'needs PMI_SIZE, which is not set' PMI_RANK=1 -- --shard auto
refuse 'needs SLURM_PROCID, which is not set' SLURM_NTASKS=4 -- --shard auto
refuse "needs a number in SLURM_PROCID, not 'x1'" SLURM_NTASKS=4 SLURM_PROCID=x1 -- --shard auto
refuse "needs a number in OMPI_COMM_WORLD_SIZE, not '-4'" OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=-4 -- --shard auto
refuse 'PMI_RANK=4 is not a rank of PMI_SIZE=4' PMI_RANK=4 PMI_SIZE=4 -- --shard auto
refuse 'srun started 4 processes, not 5' SLURM_PROCID=1 SLURM_NTASKS=4 -- --shard auto/5
refuse 'not one of them; start it with srun' SLURM_PROCID=0 SLURM_NTASKS=4 SLURM_JOB_ID=7 -- --shard auto
refuse 'needs SLURM_ARRAY_TASK_MIN, which is not set' SLURM_ARRAY_TASK_ID=1 SLURM_ARRAY_TASK_COUNT=2 -- --shard auto
# shellcheck disable=SC2086 # a list of variables
{
    refuse 'are not a range of 4; pass --shard auto/N' $array -- --shard auto
    refuse 'runs several processes' $array SLURM_STEP_NUM_TASKS=2 -- --shard auto/100
    refuse 'task 3 of the Slurm array is none of the parts 1 to 2; start it with --array=1-2' $array -- --shard auto/2
}
refuse 'state one.state is the same for all parts; put .shard. into its name' PMI_RANK=1 PMI_SIZE=4 -- --shard auto \
    --state one.state
refuse 'out dir is the same for all parts' PMI_RANK=1 PMI_SIZE=4 -- --shard auto --state '{shard}' --out dir
refuse 'needs I/N with I from 1 to N, auto or auto/N' -- --shard auto/0
refuse 'needs I/N with I from 1 to N, auto or auto/N' -- --shard automatic
refuse 'shard-by needs document or size' -- --shard 1/2 --shard-by bytes
refuse 'shard-by needs --shard' -- --shard-by size

# By size: the same results, to the byte.
mkdir size
for part in 1 2 3 4 5; do
    check "part $part by size" survey --shard $part/5 --shard-by size --state 'size/{shard}.state' --batch $part
done
check 'merged by size' "$program" merge size/*.state --out size/all >out 2>&1
check 'is the whole' same whole size/all
check 'no part has more than 1.3 of its share' sh -c "for f in size/*.state; do
    strings -n 20 \$f | grep -o '\"tokens\":[0-9]*' | tail -1 | cut -d: -f2; done |
    sort -n | awk '{all += \$1; most = \$1} END {exit !(NR == 5 && 5 * most < 1.3 * all)}'"
survey --shard 2/5 --state other.state
expect 1 'part 2/5 was split by document, but the parts before by size' merge size/1-of-5.state other.state
expect 1 'for part 2/5 of the corpus, not part 2/5 of the corpus by size' corpus docs --plugin ln \
    --plugin neurons:contexts=2 --window 32 --shard 2/5 --shard-by size --state other.state

# Parts that are not there: a list for sbatch, and an exit code.
mkdir many
for part in 1 2 4 5 6 10 12; do
    survey --shard $part/12 --state 'many/{shard}'
done
missing() { # missing CODE LIST FILE...
    code=$1
    list=$2
    shift 2
    "$program" merge --missing "$@" >out 2>err
    check "missing: exit code $code" test $? -eq "$code"
    check "missing: $list" test "$(cat out)" = "$list"
}
missing 1 3,7-9,11 many/01* many/02* many/04* many/05* many/06* many/10* many/12*
check 'what to do' grep -q '^pythiascope: 5 of 12 parts are missing; run them with sbatch --array and --shard auto/12$' err
check 'in one line' test "$(wc -l <err)" -eq 1
missing 0 '' size/*.state
check 'nothing is said then' test ! -s err
missing 1 2-5 size/1-of-5.state
missing 1 1 size/2-of-5.state size/3-of-5.state size/4-of-5.state size/5-of-5.state
echo nonsense >size/bad.state
missing 1 1-3,5 size/bad.state size/4-of-5.state size/none.state
check 'a bad file is noted' grep -q 'note: size/bad.state is not a pythiascope state file; it is left out' err
check 'a missing file is noted' grep -q 'none.state: No such file or directory; it is left out' err
mkdir long
for i in 1 2 3; do for _ in $(seq 40); do cat docs/9.txt; done >long/$i.txt; done # cut long before its end
check 'it begins' hold cut.state "$program" corpus long --plugin ln --window 32 --threads 1 --batch 1 --shard 2/3 --state cut.state \
    --save-seconds 0
kill -9 $held
wait $held 2>/dev/null
missing 1 1-3 cut.state
check 'an unfinished part is noted' grep -q 'cut.state: part 2/3 is not finished; it is left out' err
"$program" merge --missing size/bad.state >out 2>err
check 'without any part' test $? -eq 1 -a ! -s out
check 'it says so' grep -q 'no state file could be read, so the number of parts is unknown' err

# Lists of paths.
find docs -name '*.txt' | sort >list
check 'a list' "$program" corpus --from-list list --plugin ln --window 32 --out listed >out 2>err
check 'the same by hand' "$program" corpus docs/*.txt --plugin ln --window 32 --out given >out 2>err
check 'are the same' same given listed
tr '\n' '\0' <list >list0
check 'with 0 bytes' "$program" corpus --from-list list0 --plugin ln --window 32 --out listed0 >out 2>err
check 'are the same, too' same given listed0
check 'from a pipe' sh -c "cat list | '$program' corpus --from-list - --plugin ln --window 32 --out piped >out 2>err"
check 'are the same' same given piped
check 'beside operands' sh -c "tail -n +2 list | '$program' corpus docs/1.txt --from-list - --plugin ln --window 32 --out beside >out 2>err"
check 'in that order' same given beside
printf '\ndocs/1.txt\n\ndocs/gone.txt\ndocs/2.txt' >list
check 'a missing path is left out' "$program" corpus --from-list list --plugin ln --window 32 --json >out 2>err
check 'noted' grep -q '^pythiascope: docs/gone.txt does not exist; skipped$' err
check 'and counted' grep -q '"documents_skipped": 1' out
expect 1 'docs/gone.txt does not exist' corpus --from-list list --plugin ln --strict
expect 1 'cannot open the list nothing' corpus --from-list nothing
: >list
expect 1 'the list list has no paths' corpus --from-list list
mkfifo pipe
expect 1 'the list pipe is a pipe that no program writes to' corpus --from-list pipe
printf 'docs/1.txt\n' >pipe & # it waits for a reader
check 'a pipe with a writer is read' "$program" corpus --from-list pipe --plugin ln --window 32 --json >out 2>err
wait
expect 1 'cannot read the list docs: Is a directory' corpus --from-list docs
expect 2 'read once' corpus - --from-list list
for option in --state --out --html; do
    expect 2 "$option a.\{shard\} has \{shard\} in its name, which needs --shard I/N or --shard auto" \
        corpus docs --plugin ln $option 'a.{shard}'
done
conclude
