/* A zip archive of PyTorch 1.6 and later, whose entries are stored:
 *
 *   <name>/data.pkl   pickle: {"gpt_neox.embed_in.weight": tensor, ..}
 *   <name>/data/<key> the elements of a storage, little-endian
 *   <name>/byteorder  "little"; absent in older files
 *
 *   tensor   _rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)
 *   storage  the persistent id ("storage", torch.HalfStorage, key, device, elements)
 *
 * Tensors may share a storage. Checksums are not compared: the model's hash covers the weights. */
#include "torch_file.h"

#include "arena.h"
#include "file_kind.h"
#include "pickle.h"
#include "utf8.h"
#include "zip_file.h"

#include <stdlib.h>
#include <string.h>

enum { ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, FIRST_STORAGE };
enum { STORAGE, TENSOR }; /* psc_pickle_value.n of an object */

static const struct {
    const char *module, *name, *dtype;
    uint64_t bytes; /* of an element */
} names[] = {{"collections", "OrderedDict", NULL, 0},
    {"torch._utils", "_rebuild_tensor_v2", NULL, 0},
    {"torch._utils", "_rebuild_parameter", NULL, 0}, {"torch", "FloatStorage", "F32", 4},
    {"torch", "HalfStorage", "F16", 2}, {"torch", "BFloat16Storage", "BF16", 2},
    {"torch", "DoubleStorage", "F64", 8}, {"torch", "LongStorage", "I64", 8},
    {"torch", "IntStorage", "I32", 4}, {"torch", "ShortStorage", "I16", 2},
    {"torch", "CharStorage", "I8", 1}, {"torch", "ByteStorage", "U8", 1},
    {"torch", "BoolStorage", "BOOL", 1}};
#define N_NAMES ((int)(sizeof names / sizeof names[0]))

/* A tensor before it has a name. */
typedef struct parsed {
    const unsigned char *data;
    const char *dtype, *flaw;
    uint64_t size;
    uint32_t rank;
    uint64_t shape[PSC_TENSOR_RANK];
} parsed;

typedef struct reader {
    const char *path;
    psc_zip zip;
    const char *prefix; /* "archive/" [prefix_bytes] */
    size_t prefix_bytes;
    parsed *tensors;
    size_t n, capacity;
    psc_error *error;
} reader;

static psc_status bad(const reader *r, const char *what) {
    return psc_fail(r->error, PSC_ERROR_INPUT, "%s: data.pkl %s", r->path, what);
}

/* --- names and storages ---------------------------------------------------------------------- */

static int find_name(const char *module, size_t module_bytes, const char *name, size_t name_bytes) {
    for (int i = 0; i < N_NAMES; i++)
        if (strlen(names[i].module) == module_bytes && strlen(names[i].name) == name_bytes &&
            memcmp(names[i].module, module, module_bytes) == 0 &&
            memcmp(names[i].name, name, name_bytes) == 0)
            return i;
    return -1;
}

static bool is_text(const psc_pickle_value *value, const char *text) {
    return value->kind == PSC_PICKLE_TEXT && value->n == strlen(text) &&
           memcmp(value->text, text, value->n) == 0;
}

/* The object's number: the index of its entry, and of its type's name above 32 bits. */
static psc_status load_storage(
    psc_pickle_value *out, const psc_pickle *machine, const psc_pickle_value *id, void *payload) {
    const reader *r = payload;
    char place[160] = "data/";
    if (id->kind != PSC_PICKLE_TUPLE || id->n != 5 ||
        !is_text(psc_pickle_item(machine, id, 0), "storage"))
        return bad(r, "refers to an object that is not a storage; the file is not read");
    const psc_pickle_value *type = psc_pickle_item(machine, id, 1);
    const psc_pickle_value *key = psc_pickle_item(machine, id, 2);
    const psc_pickle_value *length = psc_pickle_item(machine, id, 4);
    if (type->kind != PSC_PICKLE_NAME || type->number < FIRST_STORAGE ||
        key->kind != PSC_PICKLE_TEXT || key->n > 100 || length->kind != PSC_PICKLE_INT)
        return bad(r, "has a storage without type, key and length");
    memcpy(place + 5, key->text, key->n);
    const psc_zip_entry *entry =
        psc_zip_find(&r->zip, r->prefix, r->prefix_bytes, place, 5 + key->n);
    if (!entry)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: data.pkl refers to %.*s, which is not in the archive", r->path, 5 + (int)key->n,
            place);
    if (!entry->data)
        return psc_fail(r->error, PSC_ERROR_SUPPORT,
            "%s: %.*s is compressed or encrypted, which torch.save never does; the file is not "
            "read",
            r->path, 5 + (int)key->n, place);
    const uint64_t bytes = names[type->number].bytes;
    if (length->number < 0 || entry->size % bytes != 0 ||
        entry->size / bytes != (uint64_t)length->number)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: %.*s has %llu bytes, but data.pkl gives it %lld elements of %llu bytes", r->path,
            5 + (int)key->n, place, (unsigned long long)entry->size, (long long)length->number,
            (unsigned long long)bytes);
    *out = (psc_pickle_value){.kind = PSC_PICKLE_OBJECT, .n = STORAGE};
    out->number = (entry - r->zip.entries) | type->number << 32;
    return PSC_OK;
}

/* --- tensors --------------------------------------------------------------------------------- */

/* shape and strides -> rank, shape, the flaw, and *count, the number of elements. */
static psc_status read_shape(parsed *t, uint64_t *count, const reader *r, const psc_pickle *machine,
    const psc_pickle_value *shape, const psc_pickle_value *strides) {
    bool is_empty = false, is_dense = true;
    uint64_t n = 1;
    if (shape->kind != PSC_PICKLE_TUPLE || strides->kind != PSC_PICKLE_TUPLE ||
        shape->n != strides->n)
        return bad(r, "has a tensor whose shape and strides do not fit each other");
    if (shape->n > PSC_TENSOR_RANK) return bad(r, "has a tensor of more than 8 dimensions");
    t->rank = shape->n;
    for (uint32_t i = shape->n; i-- > 0;) {
        const psc_pickle_value *extent = psc_pickle_item(machine, shape, i);
        const psc_pickle_value *stride = psc_pickle_item(machine, strides, i);
        if (extent->kind != PSC_PICKLE_INT || extent->number < 0 || stride->kind != PSC_PICKLE_INT)
            return bad(r, "has a tensor whose shape is not a list of non-negative integers");
        t->shape[i] = (uint64_t)extent->number;
        is_empty = is_empty || t->shape[i] == 0;
        is_dense = is_dense && (t->shape[i] == 1 || stride->number == (int64_t)n);
        if (t->shape[i] > 0 && n > INT64_MAX / 8 / t->shape[i])
            return bad(r, "has a tensor whose shape overflows");
        if (t->shape[i] > 0) n *= t->shape[i];
    }
    *count = is_empty ? 0 : n;
    if (!is_dense && !is_empty)
        t->flaw = "is not contiguous in the file; save a copy made by Tensor.contiguous()";
    return PSC_OK;
}

static psc_status rebuild_tensor(psc_pickle_value *out, reader *r, const psc_pickle *machine,
    const psc_pickle_value *arguments) {
    parsed t = {0};
    uint64_t count = 0;
    if (arguments->n != 6 && arguments->n != 7)
        return bad(r, "rebuilds a tensor from other than 6 or 7 arguments");
    const psc_pickle_value *storage = psc_pickle_item(machine, arguments, 0);
    const psc_pickle_value *offset = psc_pickle_item(machine, arguments, 1);
    const psc_pickle_value *facts = psc_pickle_item(machine, arguments, arguments->n - 1);
    if (storage->kind != PSC_PICKLE_OBJECT || storage->n != STORAGE ||
        offset->kind != PSC_PICKLE_INT || offset->number < 0)
        return bad(r, "rebuilds a tensor without a storage and an offset");
    if (arguments->n == 7 && facts->kind != PSC_PICKLE_NONE &&
        !(facts->kind == PSC_PICKLE_DICT && facts->n == 0))
        return bad(
            r, "has a tensor with properties that no state dict needs; the file is not read");
    psc_status status = read_shape(&t, &count, r, machine, psc_pickle_item(machine, arguments, 2),
        psc_pickle_item(machine, arguments, 3));
    if (status) return status;
    const psc_zip_entry *entry = &r->zip.entries[storage->number & UINT32_MAX];
    const uint64_t bytes = names[storage->number >> 32].bytes, length = entry->size / bytes;
    const uint64_t begin = (uint64_t)offset->number;
    if (!t.flaw && (begin > length || count > length - begin))
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: a tensor reads %llu elements from element %llu of %.*s, which has only %llu",
            r->path, (unsigned long long)count, (unsigned long long)begin,
            (int)(entry->name_bytes < 100 ? entry->name_bytes : 100), entry->name,
            (unsigned long long)length);
    t.dtype = names[storage->number >> 32].dtype;
    t.data = t.flaw ? NULL : entry->data + begin * bytes;
    t.size = t.flaw ? 0 : count * bytes;
    if (r->n == PSC_TORCH_TENSORS) return bad(r, "has more tensors than any model");
    if (!psc_grow((void **)&r->tensors, &r->capacity, r->n + 1, sizeof *r->tensors))
        return psc_fail(r->error, PSC_ERROR_MEMORY, "not enough memory to open %s", r->path);
    r->tensors[r->n] = t;
    *out = (psc_pickle_value){.kind = PSC_PICKLE_OBJECT, .n = TENSOR, .number = (int64_t)r->n++};
    return PSC_OK;
}

static bool is_tensor(const psc_pickle_value *value) {
    return value->kind == PSC_PICKLE_OBJECT && value->n == TENSOR;
}

static psc_status call(psc_pickle_value *out, const psc_pickle *machine, int64_t name,
    const psc_pickle_value *arguments, void *payload) {
    reader *r = payload;
    if (name == ORDERED_DICT && arguments->n == 0) {
        *out = (psc_pickle_value){.kind = PSC_PICKLE_DICT};
        return PSC_OK;
    }
    if (name == REBUILD_TENSOR) return rebuild_tensor(out, r, machine, arguments);
    if (name == REBUILD_PARAMETER && arguments->n == 3 &&
        is_tensor(psc_pickle_item(machine, arguments, 0))) {
        *out = *psc_pickle_item(machine, arguments, 0);
        return PSC_OK;
    }
    return psc_fail(r->error, PSC_ERROR_SUPPORT,
        "%s: data.pkl calls %s.%s with arguments that no state dict needs; the file is not read",
        r->path, names[name].module, names[name].name);
}

/* --- the state dict -------------------------------------------------------------------------- */

static psc_status add_tensor(psc_tensors *set, size_t file, const reader *r,
    const psc_pickle_value *key, const parsed *from) {
    psc_tensor t = {.rank = from->rank,
        .data = from->data,
        .size = (size_t)from->size,
        .file = file,
        .flaw = from->flaw};
    if (!psc_grow((void **)&set->items, &set->capacity, set->count + 1, sizeof *set->items) ||
        !(t.name = malloc(key->n + 1)))
        return psc_fail(r->error, PSC_ERROR_MEMORY, "not enough memory to open %s", r->path);
    memcpy(t.name, key->text, key->n);
    t.name[key->n] = 0;
    memcpy(t.dtype, from->dtype, strlen(from->dtype) + 1);
    for (uint32_t i = 0; i < from->rank; i++) t.shape[i] = (size_t)from->shape[i];
    set->items[set->count++] = t;
    return PSC_OK;
}

static psc_status add_state(
    psc_tensors *set, size_t file, const reader *r, const psc_pickle *machine) {
    const psc_pickle_value *state = psc_pickle_result(machine), *key, *value;
    uint32_t at = 0;
    if (state->kind != PSC_PICKLE_DICT)
        return bad(
            r, "is not a dict; save the model's state dict: torch.save(model.state_dict(), FILE)");
    while (psc_pickle_entry(&key, &value, machine, state, &at)) {
        if (key->kind != PSC_PICKLE_TEXT || key->n > PSC_TORCH_NAME_BYTES ||
            memchr(key->text, 0, key->n) || psc_utf8_valid(key->text, key->n) != key->n)
            return bad(r, "has a tensor whose name is not a text of at most 1,024 bytes");
        if (!is_tensor(value))
            return psc_fail(r->error, PSC_ERROR_INPUT,
                "%s: the entry \"%.*s\" is not a tensor; save the state dict alone: "
                "torch.save(model.state_dict(), FILE)",
                r->path, (int)(key->n < 200 ? key->n : 200), key->text);
        if (set->count == PSC_TORCH_TENSORS) return bad(r, "has more tensors than any model");
        psc_status status = add_tensor(set, file, r, key, &r->tensors[value->number]);
        if (status) return status;
    }
    return PSC_OK;
}

/* --- the archive ----------------------------------------------------------------------------- */

/* Finds <name>/data.pkl, and with it the prefix of all entries. */
static const psc_zip_entry *find_pickle(reader *r) {
    static const char tail[] = "/data.pkl";
    const size_t n = sizeof tail - 1;
    for (size_t i = 0; i < r->zip.n; i++) {
        const psc_zip_entry *e = &r->zip.entries[i];
        if (e->name_bytes <= n || memcmp(e->name + e->name_bytes - n, tail, n) != 0) continue;
        if (memchr(e->name, '/', e->name_bytes - n)) continue;
        r->prefix = e->name;
        r->prefix_bytes = e->name_bytes - n + 1;
        return e;
    }
    return NULL;
}

/* Refuses other archives: TorchScript, big-endian, compressed. */
static psc_status check_archive(const psc_zip_entry **pickle, reader *r) {
    *pickle = find_pickle(r);
    if (!*pickle)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s is a zip archive without data.pkl, not a file of torch.save", r->path);
    if (psc_zip_find(&r->zip, r->prefix, r->prefix_bytes, "constants.pkl", 13))
        return psc_fail(r->error, PSC_ERROR_SUPPORT,
            "%s is a TorchScript program; save the model's state dict: "
            "torch.save(model.state_dict(), FILE)",
            r->path);
    const psc_zip_entry *order = psc_zip_find(&r->zip, r->prefix, r->prefix_bytes, "byteorder", 9);
    if (order && !(order->data && order->size == 6 && memcmp(order->data, "little", 6) == 0))
        return psc_fail(r->error, PSC_ERROR_SUPPORT,
            "%s was saved with another byte order than little-endian; save it again on another "
            "machine",
            r->path);
    if (!(*pickle)->data)
        return psc_fail(r->error, PSC_ERROR_SUPPORT,
            "%s: data.pkl is compressed or encrypted, which torch.save never does; the file is "
            "not read",
            r->path);
    if ((*pickle)->size > PSC_TORCH_PICKLE_CAP)
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: data.pkl has %llu bytes; the limit is %zu",
            r->path, (unsigned long long)(*pickle)->size, PSC_TORCH_PICKLE_CAP);
    return PSC_OK;
}

static psc_status add_archive(psc_tensors *set, size_t file, reader *r) {
    const psc_mapping *map = &set->files[file].mapping;
    const psc_zip_entry *pickle = NULL;
    psc_pickle *machine = NULL;
    char source[1200];
    psc_status status = psc_zip_open(&r->zip, map->data, map->size, r->path, r->error);
    if (!status) status = check_archive(&pickle, r);
    if (!status) {
        snprintf(source, sizeof source, "%s: data.pkl", r->path);
        const psc_pickle_calls calls = {find_name, call, load_storage, source, r};
        status = psc_pickle_run(&machine, pickle->data, (size_t)pickle->size, &calls, r->error);
    }
    if (!status) status = add_state(set, file, r, machine);
    psc_pickle_close(&machine);
    psc_zip_close(&r->zip);
    free(r->tensors);
    return status;
}

psc_status psc_torch_add_mapped(psc_tensors *set, size_t file, const char *path, psc_error *error) {
    const psc_mapping *map = &set->files[file].mapping;
    const psc_file_kind kind = psc_file_kind_of(map->data, map->size);
    psc_status status = psc_file_kind_refuse(kind, path, error);
    if (status) return status;
    if (kind != PSC_FILE_ZIP)
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s is not a file of torch.save: it is no zip archive (is the download complete?)",
            path);
    reader r = {.path = path, .error = error};
    return add_archive(set, file, &r);
}

psc_status psc_torch_add_file(psc_tensors *set, size_t file, const char *path, psc_error *error) {
    psc_status status = psc_map_file(&set->files[file].mapping, path, error);
    return status ? status : psc_torch_add_mapped(set, file, path, error);
}
