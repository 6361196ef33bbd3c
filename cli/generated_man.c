/* The man page: man(7) source, every line at most 78 characters. */
#include "generated.h"

#include <ctype.h>
#include <string.h>

#include "psc.h"

#define MAN_DATE "2026-11-26"
enum { WIDTH = 76 };

static void print_character(FILE *out, char c) {
    if (c == '\\')
        fputs("\\e", out);
    else if (c == '-')
        fputs("\\-", out);
    else if (c == '\'')
        fputs("\\(aq", out);
    else
        fputc(c, out);
}

/* A word of running text; a new line must not begin with a macro. */
static int print_word(FILE *out, const char *word, int length, int column) {
    int width = length; /* as written */
    for (int i = 0; i < length; i++)
        width += word[i] == '\'' ? 3 : word[i] == '\\' || word[i] == '-';
    if (column > 0 && column + 1 + width > WIDTH) {
        fputc('\n', out);
        column = 0;
    } else if (column > 0) {
        fputc(' ', out);
        column++;
    }
    if (column == 0 && *word == '.') fputs("\\&", out);
    for (int i = 0; i < length; i++) print_character(out, word[i]);
    return column + width;
}

/* Text filled to the width; an empty line or an indented one begins a new line of the page. */
static void print_text(FILE *out, const char *text) {
    int column = 0;
    while (*text) {
        const int length = (int)strcspn(text, " \n");
        if (length > 0) column = print_word(out, text, length, column);
        text += length;
        if (*text == '\n' && (text[1] == ' ' || text[1] == '\n')) {
            fputs(column ? "\n.br\n" : "", out);
            column = 0;
        }
        text += *text != 0;
    }
    if (column) fputc('\n', out);
}

/* One line in bold: "--plugin NAME[...]". */
static void print_bold(FILE *out, const char *before, const char *name, const char *values) {
    fprintf(out, ".B %s", before);
    for (const char *c = name; *c; c++) print_character(out, *c);
    if (values && *values) fputc(' ', out);
    for (const char *c = values; c && *c; c++) print_character(out, *c);
    fputc('\n', out);
}

static void print_verb(FILE *out, const cli_verb *verb) {
    fputs(".SS ", out);
    fprintf(out, "%s\n", verb->name);
    print_bold(out, "pythiascope ", verb->name, verb->usage);
    fputs(".PP\n", out);
    print_text(out, verb->summary);
    for (const cli_option *option = verb->options; option->name; option++) {
        fputs(".TP\n", out);
        print_bold(out, "\\-\\-", option->name, option->values);
        print_text(out, option->help);
    }
    if (!verb->notes) return;
    fputs(".PP\n", out);
    print_text(out, verb->notes);
}

static void print_plugins(FILE *out) {
    const psc_plugin *plugin;
    fputs(".SH PLUGINS\n", out);
    print_text(out, "--plugin takes a name and options: NAME:key=value,key=value. "
                    "pythiascope plugins shows defaults and ranges.");
    for (int32_t i = 0; (plugin = psc_builtin(i)); i++) {
        fputs(".TP\n", out);
        print_bold(out, "", plugin->name, "");
        print_text(out, plugin->summary);
        for (const psc_option_description *o = plugin->options; o && o->key; o++) {
            fputs(".RS\n.TP\n", out);
            print_bold(out, "", o->key, "=");
            print_text(out, o->help);
            fputs(".RE\n", out);
        }
    }
}

void cli_generate_man(const cli_program *program, FILE *out) {
    fprintf(out, ".TH PYTHIASCOPE 1 \"%s\" \"pythiascope %s\"\n", MAN_DATE, psc_version());
    fputs(".SH NAME\n"
          "pythiascope \\- shows which parts of a Pythia model make up its predictions\n"
          ".SH SYNOPSIS\n.B pythiascope\n.I VERB\n[options]\n.PP\n"
          ".B pythiascope \\-\\-version\n.PP\n"
          ".B pythiascope \\-\\-generate man|bash|zsh|fish\n.SH DESCRIPTION\n",
        out);
    print_text(out,
        "pythiascope runs language models of the GPT-NeoX architecture on the CPU and shows every "
        "write into the residual stream to plugins. They split each logit into the shares of "
        "embeddings, attention heads and MLP neurons.");
    fputs(".SH VERBS\n", out);
    for (int i = 0; i < program->n; i++) print_verb(out, program->verbs[i]);
    print_plugins(out);
    fputs(".SH EXIT STATUS\n", out);
    print_text(out,
        "0: success. 1: the work failed, after one sentence on standard error. 2: the command "
        "line is wrong, after one sentence.");
    fputs(".SH EXAMPLES\n.nf\n"
          "pythiascope analyze \\-\\-text \"along the yellow brick road to the\"\n.fi\n",
        out);
}
