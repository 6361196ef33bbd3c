/* Which part of a corpus this process reads (--shard), and names that hold the part ({shard}).
 * Private to cli/. Includes cli.h.
 * Threads: main thread only.
 * Ownership: the module keeps the texts that it makes until the process ends. */
#ifndef SHARDS_H
#define SHARDS_H

#include "cli.h"

/* Makes I/N of --shard auto and auto/N, from what a launcher left in the environment, and puts
 * K-of-N in place of {shard} in --state, --out and --html. Without --shard {shard} is refused.
 * Returns 0, or CLI_USAGE after a sentence: values that contradict each other, and with auto names
 * without {shard}, which all parts would share. */
int cli_shards_name(cli_arguments *arguments);

#endif
