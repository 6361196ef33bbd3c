/* The machine: a stack of values, a stack of marks on it, and a memo.
 *
 *   constants   push one value                      N K M J I G X U \x8c \x8a \x88 \x89 ) } ] ...
 *   memo        keep the top under a number, push   q r \x94 | h j
 *   collect     t \x85 \x86 \x87 (tuples)           s u (entries of a dict)   a e (items of a list)
 *   names       c \x93 push a name; R calls it; Q loads an object; b sets attributes, dropped
 *
 * Values are numbered, and dicts are chains of entries, so nothing here is recursive. */
#include "pickle.h"

#include "arena.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct numbers {
    uint32_t *list;
    size_t n, capacity;
} numbers;

typedef struct entry {
    uint32_t key, value, next; /* next: 1 + the index of the next entry; 0: none */
} entry;

struct psc_pickle {
    psc_pickle_value *values;
    size_t n_values, values_capacity;
    entry *entries;
    size_t n_entries, entries_capacity;
    numbers items, stack, marks, memo; /* memo: 1 + the value; 0: unused */
    const unsigned char *at, *end;
    const psc_pickle_calls *calls;
    bool is_done;
    psc_error *error;
};

static psc_status damaged(const psc_pickle *m, const char *what) {
    return psc_fail(
        m->error, PSC_ERROR_INPUT, "%s %s (is the file damaged?)", m->calls->source, what);
}

static psc_status too_large(const psc_pickle *m) {
    return psc_fail(m->error, PSC_ERROR_INPUT,
        "%s has more than %zu values, which no state dict needs; the file is not read",
        m->calls->source, PSC_PICKLE_VALUES);
}

/* Makes room for one more item. */
static psc_status grow(
    const psc_pickle *m, void **items, size_t *capacity, size_t needed, size_t bytes) {
    if (needed > PSC_PICKLE_VALUES) return too_large(m);
    if (psc_grow(items, capacity, needed, bytes)) return PSC_OK;
    return psc_fail(m->error, PSC_ERROR_MEMORY, "not enough memory to read %s", m->calls->source);
}

static psc_status append(const psc_pickle *m, numbers *to, uint32_t number) {
    psc_status status = grow(m, (void **)&to->list, &to->capacity, to->n + 1, sizeof *to->list);
    if (!status) to->list[to->n++] = number;
    return status;
}

/* The next `size` bytes of the data; null, with the error set, when they are missing. */
static const unsigned char *take(psc_pickle *m, uint64_t size) {
    const unsigned char *from = m->at;
    if (size > (uint64_t)(m->end - m->at)) {
        damaged(m, "ends in the middle of an instruction");
        return NULL;
    }
    m->at += size;
    return from;
}

/* A little-endian number of `bytes` bytes, up to 8. */
static psc_status take_number(uint64_t *out, psc_pickle *m, int bytes) {
    const unsigned char *from = take(m, (uint64_t)bytes);
    *out = 0;
    if (!from) return PSC_ERROR_INPUT;
    for (int i = bytes - 1; i >= 0; i--) *out = *out << 8 | from[i];
    return PSC_OK;
}

/* A line without its newline, as in the older protocols. */
static psc_status take_line(const char **line, size_t *bytes, psc_pickle *m) {
    const unsigned char *end = memchr(m->at, '\n', (size_t)(m->end - m->at));
    *line = (const char *)m->at;
    *bytes = 0;
    if (!end) return damaged(m, "ends in the middle of an instruction");
    *bytes = (size_t)(end - m->at);
    m->at = end + 1;
    return PSC_OK;
}

static psc_status push(psc_pickle *m, psc_pickle_value value) {
    psc_status status =
        grow(m, (void **)&m->values, &m->values_capacity, m->n_values + 1, sizeof *m->values);
    if (status) return status;
    m->values[m->n_values] = value;
    return append(m, &m->stack, (uint32_t)m->n_values++);
}

/* Whether the stack has n values above its last mark. */
static psc_status need(const psc_pickle *m, size_t n) {
    size_t floor = m->marks.n ? m->marks.list[m->marks.n - 1] : 0;
    return m->stack.n - floor >= n ? PSC_OK : damaged(m, "takes more values than it has made");
}

static psc_status pop_mark(size_t *floor, psc_pickle *m) {
    if (m->marks.n == 0) return damaged(m, "takes more values than it has made");
    *floor = m->marks.list[--m->marks.n];
    return PSC_OK;
}

static psc_pickle_value *top(const psc_pickle *m, size_t below) {
    return &m->values[m->stack.list[m->stack.n - 1 - below]];
}

/* --- constants ------------------------------------------------------------------------------- */

static psc_status do_constant(psc_pickle *m, int op) {
    switch (op) {
    case 'N':
        return push(m, (psc_pickle_value){.kind = PSC_PICKLE_NONE});
    case ')':
        return push(m, (psc_pickle_value){.kind = PSC_PICKLE_TUPLE});
    case '}':
        return push(m, (psc_pickle_value){.kind = PSC_PICKLE_DICT});
    case ']':
        return push(m, (psc_pickle_value){.kind = PSC_PICKLE_OPAQUE});
    default: /* 0x88 true, 0x89 false */
        return push(m, (psc_pickle_value){.kind = PSC_PICKLE_BOOL, .number = op == 0x88});
    }
}

static psc_status push_integer(psc_pickle *m, int64_t number) {
    return push(m, (psc_pickle_value){.kind = PSC_PICKLE_INT, .number = number});
}

static psc_status do_integer(psc_pickle *m, int op) {
    uint64_t n = 0;
    psc_status status = take_number(&n, m, op == 'K' ? 1 : op == 'M' ? 2 : 4);
    if (status) return status;
    return push_integer(m, op == 'J' ? (int64_t)(int32_t)(uint32_t)n : (int64_t)n);
}

/* 0x8a: a length of one byte, then two's complement. A number beyond 64 bits is opaque. */
static psc_status do_long(psc_pickle *m, int op) {
    uint64_t length, n = 0;
    (void)op;
    psc_status status = take_number(&length, m, 1);
    if (status) return status;
    const unsigned char *from = take(m, length);
    if (!from) return PSC_ERROR_INPUT;
    if (length > 8) return push(m, (psc_pickle_value){.kind = PSC_PICKLE_OPAQUE});
    for (size_t i = (size_t)length; i-- > 0;) n = n << 8 | from[i];
    if (length > 0 && length < 8 && from[length - 1] & 0x80) n |= UINT64_MAX << (8 * length);
    return push_integer(m, (int64_t)n);
}

/* "I01\n" and "I00\n" are protocol 1's true and false; it has no other integers as text. */
static psc_status do_text_bool(psc_pickle *m, int op) {
    const char *line;
    size_t bytes;
    (void)op;
    psc_status status = take_line(&line, &bytes, m);
    if (status) return status;
    if (bytes != 2 || line[0] != '0' || (line[1] != '0' && line[1] != '1'))
        return psc_fail(m->error, PSC_ERROR_SUPPORT,
            "%s has an integer as text, which no state dict needs; the file is not read",
            m->calls->source);
    return push(m, (psc_pickle_value){.kind = PSC_PICKLE_BOOL, .number = line[1] == '1'});
}

static psc_status do_float(psc_pickle *m, int op) {
    (void)op;
    if (!take(m, 8)) return PSC_ERROR_INPUT;
    return push(m, (psc_pickle_value){.kind = PSC_PICKLE_OPAQUE});
}

static psc_status do_text(psc_pickle *m, int op) {
    uint64_t bytes;
    psc_status status = take_number(&bytes, m, op == 'X' ? 4 : op == 0x8d ? 8 : 1);
    if (status) return status;
    const unsigned char *from = take(m, bytes);
    if (!from) return PSC_ERROR_INPUT;
    if (bytes > UINT32_MAX) return too_large(m);
    return push(m, (psc_pickle_value){
                       .kind = PSC_PICKLE_TEXT, .n = (uint32_t)bytes, .text = (const char *)from});
}

/* --- memo ------------------------------------------------------------------------------------ */

static psc_status do_keep(psc_pickle *m, int op) {
    uint64_t slot = m->memo.n; /* 0x94 appends */
    psc_status status = need(m, 1);
    if (!status && op != 0x94) status = take_number(&slot, m, op == 'q' ? 1 : 4);
    if (!status && slot >= PSC_PICKLE_VALUES) status = too_large(m);
    while (!status && m->memo.n <= slot) status = append(m, &m->memo, 0);
    if (!status) m->memo.list[slot] = 1 + m->stack.list[m->stack.n - 1];
    return status;
}

static psc_status do_recall(psc_pickle *m, int op) {
    uint64_t slot;
    psc_status status = take_number(&slot, m, op == 'h' ? 1 : 4);
    if (status) return status;
    if (slot >= m->memo.n || m->memo.list[slot] == 0)
        return damaged(m, "recalls a value that it has not kept");
    return append(m, &m->stack, m->memo.list[slot] - 1);
}

/* --- tuples, dicts, lists -------------------------------------------------------------------- */

static psc_status do_mark(psc_pickle *m, int op) {
    (void)op;
    return append(m, &m->marks, (uint32_t)m->stack.n);
}

static psc_status do_tuple(psc_pickle *m, int op) {
    size_t floor = 0, n = (size_t)(op - 0x84); /* 0x85: one item */
    psc_status status = op == 't' ? pop_mark(&floor, m) : need(m, n);
    if (status) return status;
    if (op == 't')
        n = m->stack.n - floor;
    else
        floor = m->stack.n - n;
    psc_pickle_value tuple = {.kind = PSC_PICKLE_TUPLE, .n = (uint32_t)n};
    tuple.first = (uint32_t)m->items.n;
    for (size_t i = 0; i < n && !status; i++)
        status = append(m, &m->items, m->stack.list[floor + i]);
    m->stack.n = floor;
    return status ? status : push(m, tuple);
}

static psc_status add_entry(psc_pickle *m, psc_pickle_value *dict, uint32_t key, uint32_t value) {
    psc_status status =
        grow(m, (void **)&m->entries, &m->entries_capacity, m->n_entries + 1, sizeof *m->entries);
    if (status) return status;
    m->entries[m->n_entries++] = (entry){key, value, 0};
    if (dict->n == 0)
        dict->first = (uint32_t)m->n_entries;
    else
        m->entries[dict->last - 1].next = (uint32_t)m->n_entries;
    dict->last = (uint32_t)m->n_entries;
    dict->n++;
    return PSC_OK;
}

static psc_status do_entries(psc_pickle *m, int op) {
    size_t floor = m->stack.n - 2;
    psc_status status = op == 'u' ? pop_mark(&floor, m) : need(m, 3);
    if (status) return status;
    size_t n = m->stack.n - floor;
    m->stack.n = floor;
    status = need(m, 1);
    if (!status && (n % 2 != 0 || top(m, 0)->kind != PSC_PICKLE_DICT))
        status = damaged(m, "sets entries of a value that is not a dict");
    for (size_t i = 0; i < n && !status; i += 2)
        status = add_entry(m, top(m, 0), m->stack.list[floor + i], m->stack.list[floor + i + 1]);
    return status;
}

/* A list keeps nothing. */
static psc_status do_items(psc_pickle *m, int op) {
    size_t floor = m->stack.n - 1;
    psc_status status = op == 'e' ? pop_mark(&floor, m) : need(m, 2);
    if (status) return status;
    m->stack.n = floor;
    status = need(m, 1);
    if (!status && top(m, 0)->kind != PSC_PICKLE_OPAQUE)
        status = damaged(m, "appends to a value that is not a list");
    return status;
}

/* --- names and objects ----------------------------------------------------------------------- */

static psc_status push_name(
    psc_pickle *m, const char *module, size_t module_bytes, const char *name, size_t name_bytes) {
    int found = m->calls->find(module, module_bytes, name, name_bytes);
    if (found >= 0) return push(m, (psc_pickle_value){.kind = PSC_PICKLE_NAME, .number = found});
    return psc_fail(m->error, PSC_ERROR_SUPPORT,
        "%s calls %.*s.%.*s, which no state dict needs; the file is not read", m->calls->source,
        (int)(module_bytes < 60 ? module_bytes : 60), module,
        (int)(name_bytes < 60 ? name_bytes : 60), name);
}

static psc_status do_name(psc_pickle *m, int op) {
    const char *module, *name;
    size_t module_bytes, name_bytes;
    (void)op;
    psc_status status = take_line(&module, &module_bytes, m);
    if (!status) status = take_line(&name, &name_bytes, m);
    return status ? status : push_name(m, module, module_bytes, name, name_bytes);
}

static psc_status do_stack_name(psc_pickle *m, int op) {
    (void)op;
    psc_status status = need(m, 2);
    if (status) return status;
    psc_pickle_value module = *top(m, 1), name = *top(m, 0);
    if (module.kind != PSC_PICKLE_TEXT || name.kind != PSC_PICKLE_TEXT)
        return damaged(m, "names something by a value that is not a text");
    m->stack.n -= 2;
    return push_name(m, module.text, module.n, name.text, name.n);
}

static psc_status do_call(psc_pickle *m, int op) {
    psc_pickle_value result = {0};
    (void)op;
    psc_status status = need(m, 2);
    if (status) return status;
    if (top(m, 1)->kind != PSC_PICKLE_NAME || top(m, 0)->kind != PSC_PICKLE_TUPLE)
        return damaged(m, "calls a value that is not a function");
    status = m->calls->call(&result, m, top(m, 1)->number, top(m, 0), m->calls->payload);
    m->stack.n -= 2;
    return status ? status : push(m, result);
}

static psc_status do_load(psc_pickle *m, int op) {
    psc_pickle_value result = {0};
    (void)op;
    psc_status status = need(m, 1);
    if (!status) status = m->calls->load(&result, m, top(m, 0), m->calls->payload);
    if (status) return status;
    m->stack.n--;
    return push(m, result);
}

/* An OrderedDict of PyTorch carries _metadata as an attribute. Attributes are dropped. */
static psc_status do_attributes(psc_pickle *m, int op) {
    (void)op;
    psc_status status = need(m, 2);
    if (status) return status;
    if (top(m, 1)->kind != PSC_PICKLE_DICT || top(m, 0)->kind != PSC_PICKLE_DICT)
        return damaged(m, "sets attributes of a value that is not a dict");
    m->stack.n--;
    return PSC_OK;
}

static psc_status do_header(psc_pickle *m, int op) {
    uint64_t ignored;
    psc_status status = take_number(&ignored, m, op == 0x80 ? 1 : 8); /* protocol, or a frame */
    if (!status && op == 0x80 && ignored > 5)
        status = psc_fail(m->error, PSC_ERROR_SUPPORT,
            "%s has pickle protocol %d; only 1 to 5 are read", m->calls->source, (int)ignored);
    return status;
}

static psc_status do_stop(psc_pickle *m, int op) {
    (void)op;
    m->is_done = true;
    if (m->marks.n == 0 && m->stack.n == 1) return PSC_OK;
    return damaged(m, "does not end with one value");
}

/* --- running --------------------------------------------------------------------------------- */

static const struct {
    unsigned char op;
    psc_status (*run)(psc_pickle *m, int op);
} instructions[] = {{0x80, do_header}, {0x95, do_header}, {'.', do_stop}, {'(', do_mark},
    {'N', do_constant}, {0x88, do_constant}, {0x89, do_constant}, {')', do_constant},
    {'}', do_constant}, {']', do_constant}, {'K', do_integer}, {'M', do_integer}, {'J', do_integer},
    {'I', do_text_bool}, {0x8a, do_long}, {'G', do_float}, {'X', do_text}, {'U', do_text},
    {0x8c, do_text}, {0x8d, do_text}, {'q', do_keep}, {'r', do_keep}, {0x94, do_keep},
    {'h', do_recall}, {'j', do_recall}, {'t', do_tuple}, {0x85, do_tuple}, {0x86, do_tuple},
    {0x87, do_tuple}, {'s', do_entries}, {'u', do_entries}, {'a', do_items}, {'e', do_items},
    {'c', do_name}, {0x93, do_stack_name}, {'R', do_call}, {'Q', do_load}, {'b', do_attributes}};

static psc_status run(psc_pickle *m) {
    unsigned char place[256] = {0}; /* 1 + the index of the instruction */
    psc_status status = PSC_OK;
    for (size_t i = 0; i < sizeof instructions / sizeof instructions[0]; i++)
        place[instructions[i].op] = (unsigned char)(i + 1);
    while (!status && !m->is_done) {
        if (m->at == m->end) return damaged(m, "has no end");
        const int op = *m->at++;
        if (place[op])
            status = instructions[place[op] - 1].run(m, op);
        else
            status = psc_fail(m->error, PSC_ERROR_SUPPORT,
                "%s has the pickle instruction 0x%02x, which no state dict needs; the file is not "
                "read",
                m->calls->source, (unsigned)op);
    }
    return status;
}

psc_status psc_pickle_run(psc_pickle **out, const unsigned char *data, size_t size,
    const psc_pickle_calls *calls, psc_error *error) {
    psc_pickle *m = calloc(1, sizeof *m);
    *out = NULL;
    if (!m) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to read %s", calls->source);
    m->at = data;
    m->end = data + size;
    m->calls = calls;
    m->error = error;
    psc_status status = run(m);
    if (status)
        psc_pickle_close(&m);
    else
        *out = m;
    return status;
}

void psc_pickle_close(psc_pickle **machine) {
    psc_pickle *m = *machine;
    if (!m) return;
    free(m->values);
    free(m->entries);
    free(m->items.list);
    free(m->stack.list);
    free(m->marks.list);
    free(m->memo.list);
    free(m);
    *machine = NULL;
}

const psc_pickle_value *psc_pickle_result(const psc_pickle *m) {
    return top(m, 0);
}

const psc_pickle_value *psc_pickle_item(
    const psc_pickle *m, const psc_pickle_value *tuple, uint32_t i) {
    return &m->values[m->items.list[tuple->first + i]];
}

int psc_pickle_entry(const psc_pickle_value **key, const psc_pickle_value **value,
    const psc_pickle *m, const psc_pickle_value *dict, uint32_t *at) {
    const uint32_t next = *at ? m->entries[*at - 1].next : dict->n ? dict->first : 0;
    if (next == 0) return 0;
    *key = &m->values[m->entries[next - 1].key];
    *value = &m->values[m->entries[next - 1].value];
    *at = next;
    return 1;
}
