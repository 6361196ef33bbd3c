/* The data block, written twice: first without arrays into memory, which gives its size; then, once
 * the arrays' encodings are chosen for the bytes that remain, onto the page. */
#include "page_data.h"

#include <stdlib.h>
#include <string.h>

#include "json_head.h"
#include "memory_stream.h"
#include "page_axis.h"
#include "page_plan.h"
#include "page_text.h"
#include "page_vocabulary.h"
#include "report.h"

enum { ARRAY_BYTES = 250, SECTION_BYTES = 200, TOKEN_BYTES = 110, NOTES_BYTES = 5000 };

typedef struct data_writer {
    psc_page_writer texts;
    const psc_page_source *source;
    psc_page_plan *plan;
    psc_page_ids ids; /* of the run */
    int64_t reserved; /* for labels and texts of ids, which depend on the arrays */
    int next;         /* the plan's next array */
    bool measures;    /* the first time */
    psc_status status;
    psc_error *error;
} data_writer;

static psc_json *json_of(data_writer *w) {
    return &w->texts.json;
}

static void fail_memory(data_writer *w) {
    w->status = psc_fail(w->error, PSC_ERROR_MEMORY, "not enough memory to write the page");
}

/* --- arrays ---------------------------------------------------------------------------------- */

/* Labels of an axis that an encoding uses: [n], null unless the axis is long. */
typedef struct marks {
    psc_page_axis_use *axes;
    int n;
} marks;

static unsigned char *marks_of(const marks *m, const psc_array *array) {
    const char *last = array->n_axes > 0 ? array->axes[array->n_axes - 1] : NULL;
    for (int i = 0; last && i < m->n; i++)
        if (strcmp(m->axes[i].axis.name, last) == 0) return m->axes[i].used;
    return NULL;
}

static int64_t size_of_array(const psc_array *view) {
    int64_t size = ARRAY_BYTES + psc_page_text_size(view->key, strlen(view->key));
    for (int i = 0; i < view->n_axes; i++)
        if (view->axes[i]) size += psc_page_text_size(view->axes[i], strlen(view->axes[i]));
    return size;
}

static void put_array(data_writer *w, psc_page_array *array, const marks *m) {
    static const char *const dtypes[] = {"F32", "F64", "I32"};
    const psc_array *view = &array->view;
    psc_json *json = json_of(w);
    array->skipped = !psc_page_afford(&w->texts, size_of_array(view));
    if (array->skipped) return;
    psc_json_object(json, view->key);
    psc_json_member(json, "dtype", json_string(dtypes[view->element]));
    if (array->section >= 0) {
        psc_json_list(json, "axes", view->n_axes);
        for (int i = 0; i < view->n_axes; i++)
            psc_json_listed(json, psc_json_string(view->axes[i]));
        psc_json_list_end(json);
    }
    psc_json_list(json, "shape", view->n_axes);
    for (int i = 0; i < view->n_axes; i++) psc_json_listed(json, json_integer(view->shape[i]));
    psc_json_list_end(json);
    if (array->token_ids) psc_json_member(json, "token_ids", json_true());
    if (!w->measures) psc_page_ids_mark(&w->ids, array);
    const psc_page_encoding none = {.code = PSC_PAGE_OMITTED};
    const psc_status status = psc_page_encode(json, view, &array->facts,
        w->measures ? &none : &array->encoding, marks_of(m, view), w->error);
    if (status) w->status = status;
    psc_json_end(json);
}

/* The next n arrays of the plan. */
static void put_arrays(data_writer *w, const char *key, int n, const marks *m) {
    psc_json_object(json_of(w), key);
    for (int i = 0; i < n; i++) {
        const int64_t aside = psc_page_share(&w->texts, n - i);
        put_array(w, &w->plan->arrays[w->next++], m);
        w->texts.room += aside;
    }
    psc_json_end(json_of(w));
}

static void skip_arrays(data_writer *w, int run, int section) {
    for (psc_page_array *array; w->next < w->plan->n; w->next++) {
        array = &w->plan->arrays[w->next];
        if (array->run != run || array->section != section) return;
        array->skipped = true;
    }
}

/* --- a section ------------------------------------------------------------------------------- */

static void put_options(data_writer *w, int run, int section, int n) {
    const psc_results *results = w->source->runs[run];
    psc_json_object(json_of(w), "options");
    for (int i = 0; i < n; i++) {
        const char *key, *value;
        if (!psc_results_option_at(&key, &value, results, section, i, NULL))
            psc_page_put_text(&w->texts, key, value);
    }
    psc_json_end(json_of(w));
}

static void put_value(data_writer *w, const psc_result_value *value) {
    const int64_t key = psc_page_text_size(value->name, strlen(value->name));
    if (value->kind == PSC_VALUE_TEXT)
        psc_page_put_text(&w->texts, value->name, value->texts[0]);
    else if (value->kind == PSC_VALUE_TEXTS)
        psc_page_put_texts(&w->texts, value->name, value->texts, value->n);
    else if (value->kind == PSC_VALUE_NUMBERS)
        psc_page_put_numbers(&w->texts, value->name, value->numbers, value->n);
    else if (psc_page_afford(&w->texts, key + 27))
        psc_json_member(json_of(w), value->name, psc_json_real(value->numbers[0]));
}

static void put_values(data_writer *w, int run, int section, int n) {
    psc_json_object(json_of(w), "values");
    for (int i = 0; i < n; i++) {
        psc_result_value value;
        const int64_t aside = psc_page_share(&w->texts, n - i);
        if (!psc_results_value_at(&value, w->source->runs[run], section, i, NULL))
            put_value(w, &value);
        w->texts.room += aside;
    }
    psc_json_end(json_of(w));
}

/* A list of names, which are short. */
static void list_name(data_writer *w, const char *name) {
    if (psc_page_afford(&w->texts, psc_page_text_size(name, strlen(name)) + 1))
        psc_json_listed(json_of(w), psc_json_string(name));
}

/* The names of axes, then of values: a JavaScript object does not keep the order of all keys. */
static void put_order(data_writer *w, int run, const marks *m, int section, int n_values) {
    psc_json_list(json_of(w), "order", m->n + n_values);
    for (int i = 0; i < m->n; i++) list_name(w, m->axes[i].axis.name);
    for (int i = 0; i < n_values; i++) {
        psc_result_value value;
        if (!psc_results_value_at(&value, w->source->runs[run], section, i, NULL))
            list_name(w, value.name);
    }
    psc_json_list_end(json_of(w));
}

static void put_bars(data_writer *w, const psc_result_item *item, bool is_first) {
    const int64_t aside = psc_page_share(&w->texts, 2);
    psc_json_object_in_list(json_of(w), is_first);
    psc_page_put_text(&w->texts, "title", item->title);
    psc_page_put_text(&w->texts, "unit", item->unit);
    psc_page_put_texts(&w->texts, "labels", item->labels, item->n);
    w->texts.room += aside;
    psc_page_put_numbers(&w->texts, "values", item->values, item->n);
    psc_json_end(json_of(w));
}

static void put_summary(data_writer *w, int run, int section, int n) {
    psc_json *json = json_of(w);
    int written = 0;
    psc_json_list(json, "summary", n);
    for (int i = 0; i < n; i++) {
        psc_result_item item;
        if (psc_results_item_at(&item, w->source->runs[run], section, i, NULL) ||
            !psc_page_afford(&w->texts, 60))
            continue;
        if (item.sentence) {
            json->n_listed = written++;
            psc_json_listed(json, psc_page_text(&w->texts, item.sentence, strlen(item.sentence)));
        } else {
            put_bars(w, &item, written++ == 0);
        }
    }
    psc_json_list_end(json);
}

static void put_axes(data_writer *w, const marks *m) {
    psc_json_object(json_of(w), "axes");
    for (int i = 0; i < m->n; i++) {
        const int64_t aside = psc_page_share(&w->texts, m->n - i);
        w->reserved += psc_page_put_axis(&w->texts, &m->axes[i]);
        w->texts.room += aside;
    }
    psc_json_end(json_of(w));
}

static void free_marks(marks *m) {
    for (int i = 0; m->axes && i < m->n; i++) free(m->axes[i].used);
    free(m->axes);
}

static bool make_marks(marks *m, const psc_results *results, int section, int n) {
    *m = (marks){calloc((size_t)n + 1, sizeof *m->axes), n};
    for (int i = 0; m->axes && i < n; i++) {
        psc_result_axis *axis = &m->axes[i].axis;
        if (psc_results_axis_at(axis, results, section, i, NULL)) return false;
        if (!axis->labels || axis->n <= PSC_PAGE_LONG_AXIS) continue;
        m->axes[i].used = calloc((size_t)axis->n, 1);
        if (!m->axes[i].used) return false;
    }
    return m->axes != NULL;
}

static void put_section(data_writer *w, int run, int index, bool is_first) {
    const psc_results *results = w->source->runs[run];
    psc_result_section section = PSC_RESULT_SECTION_INIT;
    marks m = {0};
    if (psc_results_section_at(&section, results, index, NULL)) return;
    if (!make_marks(&m, results, index, section.n_axes)) {
        w->status = psc_fail(w->error, PSC_ERROR_MEMORY, "not enough memory to write the page");
        free_marks(&m);
        return;
    }
    psc_json_object_in_list(json_of(w), is_first);
    psc_page_put_text(&w->texts, "name", section.name);
    psc_page_put_text(&w->texts, "version", section.version);
    const char *described =
        psc_report_section_page(psc_results_version(results), section.name, section.version);
    if (described) psc_page_put_text(&w->texts, "docs", described);
    int64_t aside = psc_page_share(&w->texts, 4);
    put_options(w, run, index, section.n_options);
    put_arrays(w, "arrays", section.n_arrays, &m);
    w->texts.room += aside;
    aside = psc_page_share(&w->texts, 3);
    put_order(w, run, &m, index, section.n_values);
    put_values(w, run, index, section.n_values);
    w->texts.room += aside;
    aside = psc_page_share(&w->texts, 2);
    put_summary(w, run, index, section.n_items);
    w->texts.room += aside;
    put_axes(w, &m);
    psc_json_end(json_of(w));
    free_marks(&m);
}

/* --- a run ----------------------------------------------------------------------------------- */

static json_t *token_object(data_writer *w, const psc_result_token *token) {
    json_t *text =
        token->bytes ? psc_page_text(&w->texts, token->bytes, token->n_bytes) : json_null();
    return json_pack("{s:i, s:o, s:i, s:i, s:I, s:I}", "id", (int)token->id, "text", text,
        "sequence", (int)token->sequence, "position", (int)token->position, "start",
        (json_int_t)token->start, "end", (json_int_t)token->end);
}

static void put_tokens(data_writer *w, const psc_results *results) {
    const int32_t n = psc_results_token_count(results);
    psc_json *json = json_of(w);
    psc_json_list(json, "tokens", n);
    for (int32_t i = 0; i < n; i++) {
        psc_result_token token;
        if (w->texts.room < TOKEN_BYTES) {
            w->texts.cut += n - i;
            break;
        }
        w->texts.room -= TOKEN_BYTES;
        if (!psc_results_token_at(&token, results, i, NULL))
            psc_json_object_listed(json, token_object(w, &token));
    }
    psc_json_objects_end(json);
}

static void put_head(data_writer *w, int run) {
    const psc_results *results = w->source->runs[run];
    psc_result_model model = PSC_RESULT_MODEL_INIT;
    psc_result_run facts = PSC_RESULT_RUN_INIT;
    psc_corpus_totals corpus = PSC_CORPUS_TOTALS_INIT;
    psc_page_put_text(&w->texts, "label", w->source->labels[run]);
    psc_page_put_text(&w->texts, "version", psc_results_version(results));
    if (!psc_results_get_model(&model, results, NULL)) psc_json_model(json_of(w), &model);
    if (!psc_results_get_run(&facts, results, NULL)) psc_json_run(json_of(w), &facts);
    if (!psc_results_get_corpus(&corpus, results, NULL)) psc_json_corpus(json_of(w), &corpus);
}

/* A section for which the room is too small is left out with its arrays. */
static void put_sections(data_writer *w, int run) {
    const int32_t n = psc_results_section_count(w->source->runs[run]);
    bool is_first = true;
    psc_json_list(json_of(w), "sections", n);
    for (int32_t i = 0; i < n; i++) {
        const int64_t aside = psc_page_share(&w->texts, n - i + 1); /* the last: the vocabulary */
        if (psc_page_afford(&w->texts, SECTION_BYTES)) {
            put_section(w, run, i, is_first);
            is_first = false;
        } else {
            skip_arrays(w, run, i);
        }
        w->texts.room += aside;
    }
    psc_json_list_end(json_of(w));
}

static void put_run(data_writer *w, int run) {
    const psc_results *results = w->source->runs[run];
    if (!psc_page_ids_make(&w->ids, results)) {
        fail_memory(w);
        return;
    }
    psc_json_object_in_list(json_of(w), run == 0);
    put_head(w, run);
    int64_t aside = psc_page_share(&w->texts, 2);
    put_tokens(w, results);
    w->texts.room += aside;
    put_sections(w, run);
    put_arrays(w, "captures", psc_results_capture_count(results), &(marks){0});
    w->reserved += psc_page_put_vocabulary(&w->texts, results, &w->ids);
    psc_page_ids_free(&w->ids);
    psc_json_end(json_of(w));
}

/* --- the whole ------------------------------------------------------------------------------- */

static void put_notes(data_writer *w) {
    char text[1200];
    psc_json_list(json_of(w), "notes", 0);
    for (int kind = 0; kind < PSC_PAGE_NOTES; kind++)
        if (psc_page_plan_note(text, sizeof text, w->plan, kind))
            psc_json_listed(json_of(w), psc_json_string(text));
    if (w->texts.cut > 0) {
        snprintf(text, sizeof text,
            "%lld texts, labels or numbers are shortened or left out here; results.json has them.",
            (long long)w->texts.cut);
        psc_json_listed(json_of(w), psc_json_string(text));
    }
    psc_json_list_end(json_of(w));
}

/* room: of the texts. */
static psc_status put_document(data_writer *w, FILE *out, int64_t room) {
    const int n_runs = w->source->runs[1] ? 2 : 1;
    psc_json *json = json_of(w);
    w->texts = (psc_page_writer){.json = {.out = out, .page = true}, .room = room};
    w->next = 0;
    w->reserved = 0;
    psc_json_object(json, NULL);
    psc_json_member(json, "format", json_integer(1));
    if (w->source->command) psc_page_put_text(&w->texts, "command", w->source->command);
    psc_json_list(json, "runs", n_runs);
    for (int run = 0; run < n_runs; run++) {
        const int64_t aside = psc_page_share(&w->texts, n_runs - run);
        put_run(w, run);
        w->texts.room += aside;
    }
    psc_json_list_end(json);
    if (!w->measures) put_notes(w);
    psc_json_end(json);
    if (psc_json_close(json) || w->status) return w->status;
    return psc_fail(w->error, PSC_ERROR_MEMORY, "not enough memory to write the page");
}

/* Writes the document without its arrays; *size: its bytes. */
static psc_status measure(data_writer *w, int64_t room, int64_t *size) {
    char *text = NULL;
    size_t bytes = 0;
    psc_memory_stream memory;
    if (!psc_memory_open(&memory))
        return psc_fail(w->error, PSC_ERROR_MEMORY, "not enough memory to write the page");
    w->measures = true;
    psc_status status = put_document(w, memory.file, room);
    if (!psc_memory_close(&text, &bytes, &memory))
        status = psc_fail(w->error, PSC_ERROR_MEMORY, "not enough memory to write the page");
    free(text);
    w->measures = false;
    *size = (int64_t)bytes;
    return status;
}

psc_status psc_page_write_data(
    const psc_page_source *source, int64_t room, FILE *out, psc_error *error) {
    psc_page_plan plan;
    data_writer w = {.source = source, .plan = &plan, .error = error};
    const int64_t texts = (room - NOTES_BYTES) / 3 * 2;
    int64_t size = 0;
    psc_status status = psc_page_plan_make(&plan, source, error);
    if (status) return status;
    status = measure(&w, texts > 0 ? texts : 0, &size);
    room -= size + w.reserved + NOTES_BYTES;
    if (!status) status = psc_page_plan_choose(&plan, room, error);
    if (!status) status = put_document(&w, out, texts > 0 ? texts : 0);
    psc_page_plan_free(&plan);
    return status;
}
