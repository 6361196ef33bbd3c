/* Widths are Unicode's East Asian widths by utf8proc, not the C locale's. */
#include "terminal_text.h"

#include <string.h>
#include <utf8proc.h>

#include "report.h"

/* Reads one character; returns its bytes, and -1 in *code for a byte that is not UTF-8. */
static size_t next_character(const char *text, size_t bytes, utf8proc_int32_t *code) {
    utf8proc_ssize_t n =
        utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)bytes, code);
    if (n > 0) return (size_t)n;
    *code = -1;
    return 1;
}

static int character_columns(utf8proc_int32_t code) {
    return code < 0 ? 1 : utf8proc_charwidth(code);
}

/* Columns of the first `bytes` of text. */
static int columns_of(const char *text, size_t bytes) {
    int columns = 0;
    for (size_t i = 0; i < bytes;) {
        utf8proc_int32_t code;
        i += next_character(text + i, bytes - i, &code);
        columns += character_columns(code);
    }
    return columns;
}

int psc_text_columns(const char *text) {
    return columns_of(text, strlen(text));
}

void psc_text_field(FILE *out, const char *text, int columns) {
    size_t bytes = strlen(text), end = 0;
    int used = 0, room = columns_of(text, bytes) <= columns ? columns : columns - 1;
    while (end < bytes) {
        utf8proc_int32_t code;
        size_t n = next_character(text + end, bytes - end, &code);
        if (used + character_columns(code) > room) break;
        used += character_columns(code);
        end += n;
    }
    fwrite(text, 1, end, out);
    if (end < bytes) {
        fputs("…", out);
        used++;
    }
    fprintf(out, "%*s", columns > used ? columns - used : 0, "");
}

void psc_text_wrap(FILE *out, const char *text, int indent, int width) {
    int column = width; /* beyond any word's place: the first word opens a line */
    bool first = true;
    while (*text) {
        size_t gap = strspn(text, " "), word = strcspn(text + gap, " ");
        int columns = columns_of(text + gap, word);
        if (!first && column + (int)gap + columns <= width) {
            fprintf(out, "%*s", (int)gap, "");
            column += (int)gap;
        } else {
            fprintf(out, "%s%*s", first ? "" : "\n", indent, "");
            column = indent;
        }
        fwrite(text + gap, 1, word, out);
        column += columns;
        text += gap + word;
        first = false;
    }
    fputc('\n', out);
}

/* Characters that would move the cursor, recolour or reorder what stands around them. */
static bool is_unsafe(utf8proc_int32_t c) {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff ||
           (c >= 0xe0000 && c <= 0xe007f);
}

static int escape_one(char *out, size_t size, const char *text, utf8proc_int32_t code) {
    if (code < 0) return snprintf(out, size, "\\x%02x", (unsigned)(unsigned char)*text);
    if (code == '\n') return snprintf(out, size, "\\n");
    if (code == '\t') return snprintf(out, size, "\\t");
    if (code == '\r') return snprintf(out, size, "\\r");
    if (code < 0x100) return snprintf(out, size, "\\x%02x", (unsigned)code);
    return snprintf(out, size, code < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)code);
}

size_t psc_report_escape(char *out, size_t size, const char *text, size_t bytes) {
    size_t used = 0;
    if (size == 0) return 0;
    for (size_t i = 0; i < bytes;) {
        utf8proc_int32_t code;
        char escaped[12];
        size_t n = next_character(text + i, bytes - i, &code), length = n;
        const char *shown = text + i;
        if (is_unsafe(code)) {
            length = (size_t)escape_one(escaped, sizeof escaped, text + i, code);
            shown = escaped;
        }
        if (length >= size - used) break;
        memcpy(out + used, shown, length);
        used += length;
        i += n;
    }
    out[used] = 0;
    return used;
}
