/* Labels of units, from the word of each whose head is outside it (the first of several):
 *
 *   upos        its UPOS
 *   number      of NOUN, PROPN, PRON, VERB, AUX: Number, or "none"
 *   tense       of words with VerbForm: Tense and VerbForm
 *   role        of NOUN, PROPN: nsubj, obj, obl, nmod, compound or conj, without subtypes
 *   lemma       its lemma, in lower case (ASCII)
 *   question    the sentence's text ends with "?", quotes and brackets that close left out
 *   imperative  the root has Mood=Imp
 *   quotation   the word is inside quotation marks
 *   mention     of NOUN, PROPN: whether the lemma came earlier in the sequence
 *   feat:NAME   the value of a feature; words without it are left out */
#include "probe.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const rule_names[] = {
    "upos", "number", "tense", "role", "lemma", "question", "imperative", "quotation", "mention"};
enum { N_RULES = sizeof rule_names / sizeof *rule_names };

/* The two classes of a rule that has always the same two, ascending. */
static const char *const binary[N_RULES][2] = {
    [PROBE_QUESTION] = {"other", "question"},
    [PROBE_IMPERATIVE] = {"imperative", "other"},
    [PROBE_QUOTATION] = {"inside", "outside"},
    [PROBE_MENTION] = {"first", "repeated"},
};

/* --- the option ------------------------------------------------------------------------------ */

static int parse_one(probe_state *s, const char *text, size_t n) {
    probe_task *task = &s->tasks[s->n_tasks];
    if (s->n_tasks == PROBE_TASKS)
        return s->host->fail(
            s->context, "tasks=%.200s: at most %d tasks", s->tasks_text, PROBE_TASKS);
    char *name = s->host->life_alloc(s->context, n + 1);
    if (!name) return -1;
    memcpy(name, text, n);
    task->name = name;
    for (int32_t i = 0; i < s->n_tasks; i++)
        if (strcmp(s->tasks[i].name, name) == 0)
            return s->host->fail(s->context, "tasks=: '%.60s' is there twice", name);
    if (strncmp(name, "feat:", 5) == 0 && name[5]) {
        task->rule = PROBE_FEATURE;
        task->name = task->feature = name + 5;
        s->n_tasks++;
        return 0;
    }
    for (int32_t i = 0; i < N_RULES; i++) {
        if (strcmp(name, rule_names[i]) != 0) continue;
        task->rule = i;
        s->n_tasks++;
        return 0;
    }
    return s->host->fail(s->context,
        "tasks=: '%.60s' is not a task; use upos, number, tense, role, lemma, question, "
        "imperative, quotation, mention or feat:NAME",
        name);
}

int probe_tasks_parse(probe_state *s) {
    const char *at = s->tasks_text;
    for (;;) {
        const size_t n = strcspn(at, "+");
        if (parse_one(s, at, n)) return -1;
        if (!at[n]) return 0;
        at += n + 1;
    }
}

/* --- labels ---------------------------------------------------------------------------------- */

/* The value of a feature in "A=1|B=2", with its length; null without. */
static const char *feature(const psc_word *word, const char *name, size_t *n) {
    const size_t length = strlen(name);
    for (const char *at = word->feats; *at;) {
        const size_t size = strcspn(at, "|");
        if (size > length && at[length] == '=' && strncmp(at, name, length) == 0) {
            *n = size - length - 1;
            return at + length + 1;
        }
        at += size + (at[size] == '|');
    }
    *n = 0;
    return NULL;
}

/* A longer text is cut, between characters. */
static int copy(char *out, const char *text, size_t n) {
    if (n >= PROBE_LABEL) {
        n = PROBE_LABEL - 1;
        while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80) n--;
    }
    memcpy(out, text, n);
    out[n] = 0;
    return n > 0;
}

static int is_one_of(const char *text, size_t n, const char *const *list) {
    for (; *list; list++)
        if (strlen(*list) == n && strncmp(*list, text, n) == 0) return 1;
    return 0;
}

static int is_tagged(const psc_word *word, const char *const *tags) {
    return is_one_of(word->upos, strlen(word->upos), tags);
}

static const char *const nouns[] = {"NOUN", "PROPN", NULL};

static int number_of(const psc_word *word, char *out) {
    static const char *const inflected[] = {"NOUN", "PROPN", "PRON", "VERB", "AUX", NULL};
    size_t n = 0;
    if (!is_tagged(word, inflected)) return 0;
    const char *value = feature(word, "Number", &n);
    return value ? copy(out, value, n) : copy(out, "none", 4);
}

static int tense_of(const psc_word *word, char *out) {
    size_t n = 0, m = 0;
    const char *form = feature(word, "VerbForm", &n), *tense = feature(word, "Tense", &m);
    if (!form) return 0;
    snprintf(out, PROBE_LABEL, "%.*s%s%.*s", tense ? (int)m : 0, tense ? tense : "",
        tense ? " " : "", (int)n, form);
    return 1;
}

static int role_of(const psc_word *word, char *out) {
    static const char *const roles[] = {"nsubj", "obj", "obl", "nmod", "compound", "conj", NULL};
    const size_t n = strcspn(word->deprel, ":");
    if (!is_tagged(word, nouns) || !is_one_of(word->deprel, n, roles)) return 0;
    return copy(out, word->deprel, n);
}

static int lemma_of(const psc_word *word, char *out) {
    const int found = copy(out, word->lemma, strlen(word->lemma));
    for (; *out; out++) *out = (char)tolower((unsigned char)*out);
    return found;
}

static int is_question(const psc_sentence *sentence) {
    static const char *const closing[] = {
        " ", "\n", "'", "\"", ")", "\xe2\x80\x99", "\xe2\x80\x9d"};
    uint32_t n = sentence->bytes;
    for (size_t i = 0; i < sizeof closing / sizeof *closing; i++) {
        const uint32_t size = (uint32_t)strlen(closing[i]);
        if (n < size || memcmp(sentence->text + n - size, closing[i], size) != 0) continue;
        n -= size;
        i = (size_t)-1; /* look at all again */
    }
    return n > 0 && sentence->text[n - 1] == '?';
}

static int is_imperative(const psc_sentence *sentence) {
    size_t n = 0;
    for (int32_t w = 0; w < sentence->n; w++) {
        const char *mood =
            sentence->words[w].head < 0 ? feature(&sentence->words[w], "Mood", &n) : 0;
        if (mood) return n == 3 && strncmp(mood, "Imp", 3) == 0;
    }
    return 0;
}

static int same_lemma(const char *a, const char *b) {
    while (*a && tolower((unsigned char)*a) == tolower((unsigned char)*b)) a++, b++;
    return *a == 0 && *b == 0;
}

/* Whether a noun with this lemma stands before the word in its sequence. */
static int is_repeated(const probe_state *s, const probe_unit *unit) {
    const psc_sentence *sentence = &s->sentences[unit->sentence];
    const char *lemma = sentence->words[unit->word].lemma;
    for (int32_t i = s->first_of[unit->sentence]; i <= unit->sentence; i++) {
        const psc_sentence *other = &s->sentences[i];
        const int32_t end = i == unit->sentence ? unit->word : other->n;
        for (int32_t w = 0; w < end; w++)
            if (is_tagged(&other->words[w], nouns) && same_lemma(lemma, other->words[w].lemma))
                return 1;
    }
    return 0;
}

static int mention_of(const probe_state *s, const probe_unit *unit) {
    const psc_word *word = &s->sentences[unit->sentence].words[unit->word];
    if (!is_tagged(word, nouns) || !*word->lemma) return -1;
    return is_repeated(s, unit);
}

/* Which of the two classes of a binary rule; -1: the task does not concern the unit. */
static int side_of(const probe_state *s, const probe_task *task, const probe_unit *unit) {
    const psc_sentence *sentence = &s->sentences[unit->sentence];
    switch (task->rule) {
    case PROBE_QUESTION:
        return is_question(sentence);
    case PROBE_IMPERATIVE:
        return !is_imperative(sentence);
    case PROBE_QUOTATION:
        return !unit->quoted;
    default:
        return mention_of(s, unit);
    }
}

int probe_label(const probe_state *s, const probe_task *task, const probe_unit *unit, char *out) {
    const psc_word *word = &s->sentences[unit->sentence].words[unit->word];
    size_t n = 0;
    const char *text = NULL;
    switch (task->rule) {
    case PROBE_UPOS:
        return *word->upos ? copy(out, word->upos, strlen(word->upos)) : copy(out, "_", 1);
    case PROBE_NUMBER:
        return number_of(word, out);
    case PROBE_TENSE:
        return tense_of(word, out);
    case PROBE_ROLE:
        return role_of(word, out);
    case PROBE_LEMMA:
        return lemma_of(word, out);
    case PROBE_FEATURE:
        text = feature(word, task->feature, &n);
        break;
    default: {
        const int side = side_of(s, task, unit);
        text = side < 0 ? NULL : binary[task->rule][side];
        n = text ? strlen(text) : 0;
    }
    }
    return text ? copy(out, text, n) : 0;
}

/* --- classes --------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int32_t probe_class_of(const probe_task *task, const char *label) {
    const char **found =
        bsearch(&label, task->labels, (size_t)task->n_classes, sizeof *task->labels, by_text);
    return found ? (int32_t)(found - task->labels) : -1;
}

typedef struct counted {
    const char *label;
    int64_t n;
} counted;

/* The more frequent first, then by text. */
static int by_count(const void *a, const void *b) {
    const counted *x = a, *y = b;
    if (x->n != y->n) return x->n > y->n ? -1 : 1;
    return strcmp(x->label, y->label);
}

/* The labels of all units of the run, one after another in a run's memory. */
static int collect(probe_state *s, const probe_task *task, const char ***out, int64_t *n) {
    char label[PROBE_LABEL];
    uint64_t bytes = 0;
    char *text = NULL;
    *out = s->host->run_alloc(s->context, (uint64_t)s->n_units * sizeof **out + 1);
    if (!*out) return -1;
    for (int pass = 0; pass < 2; pass++) {
        uint64_t used = 0;
        *n = 0;
        for (int32_t u = 0; u < s->n_units; u++) {
            if (!s->units_at[u].kept || !probe_label(s, task, &s->units_at[u], label)) continue;
            const size_t size = strlen(label) + 1;
            if (pass) (*out)[*n] = memcpy(text + used, label, size);
            used += size;
            (*n)++;
        }
        bytes = used;
        if (!pass && !(text = s->host->run_alloc(s->context, bytes + 1))) return -1;
    }
    return 0;
}

/* Keeps the most frequent labels as the task's classes. */
static int keep_classes(probe_state *s, probe_task *task, counted *found, int32_t n) {
    task->n_found = n;
    task->n_classes = n < s->classes ? n : s->classes;
    qsort(found, (size_t)n, sizeof *found, by_count);
    task->labels =
        s->host->life_alloc(s->context, (uint64_t)task->n_classes * sizeof *task->labels + 1);
    if (!task->labels) return -1;
    for (int32_t c = 0; c < task->n_classes; c++) {
        const size_t size = strlen(found[c].label) + 1;
        char *label = s->host->life_alloc(s->context, size);
        if (!label) return -1;
        task->labels[c] = memcpy(label, found[c].label, size);
    }
    qsort(task->labels, (size_t)task->n_classes, sizeof *task->labels, by_text);
    return 0;
}

static int fix_task(probe_state *s, probe_task *task) {
    const char **labels = NULL;
    int64_t n = 0;
    int32_t distinct = 0;
    if (collect(s, task, &labels, &n)) return -1;
    counted *found = s->host->run_alloc(s->context, (uint64_t)n * sizeof *found + 1);
    if (!found) return -1;
    if (n > 0) qsort(labels, (size_t)n, sizeof *labels, by_text);
    for (int64_t i = 0; i < n; i++) {
        if (i == 0 || strcmp(labels[i], labels[i - 1]) != 0) found[distinct++].label = labels[i];
        found[distinct - 1].n++;
    }
    return keep_classes(s, task, found, distinct);
}

int probe_classes_fix(probe_state *s) {
    int32_t all = -1;
    s->n_groups = 0;
    for (int32_t i = 0; i < s->n_tasks; i++) {
        probe_task *task = &s->tasks[i];
        const int two = task->rule >= PROBE_QUESTION && task->rule <= PROBE_MENTION;
        if (two) {
            task->labels = (const char **)binary[task->rule];
            task->n_classes = task->n_found = 2;
        } else if (fix_task(s, task)) {
            return -1;
        }
        /* Tasks that label every unit share their rows. */
        const int whole = (two && task->rule != PROBE_MENTION) ||
                          (task->rule == PROBE_UPOS && task->n_classes == task->n_found);
        task->group = whole && all >= 0 ? all : s->n_groups++;
        if (whole) all = task->group;
    }
    return 0;
}
