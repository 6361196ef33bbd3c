/* What `partition` accumulates over documents. */
#include "partition.h"

int partition_corpus_open(partition_state *s) {
    return s->host->fail(s->context, "partition does not accumulate over documents yet");
}

void partition_corpus_row(partition_state *s) {
    (void)s;
}

int partition_corpus_sequence(partition_state *s) {
    (void)s;
    return 0;
}

int partition_corpus_report(partition_state *s) {
    (void)s;
    return 0;
}
