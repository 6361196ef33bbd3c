/* Completions for bash, zsh and fish. Plugins are completed with their options: "logits:level=". */
#include "generated.h"

#include <string.h>

#include "psc.h"

cli_value_kind cli_value_kind_of(const cli_option *option) {
    static const struct {
        const char *values;
        cli_value_kind kind;
    } kinds[] = {{"F", CLI_VALUE_FILE}, {"FILE", CLI_VALUE_FILE}, {"DIR", CLI_VALUE_FOLDER},
        {"MODEL", CLI_VALUE_FOLDER}, {"FOLDER", CLI_VALUE_FOLDER},
        {"NAME[:key=value,...]", CLI_VALUE_PLUGIN}};
    if (strcmp(option->name, "isa") == 0) return CLI_VALUE_ISA;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(option->values, kinds[i].values) == 0) return kinds[i].kind;
    return CLI_VALUE_FREE;
}

void cli_print_quoted(FILE *out, const char *text, const char *special, bool is_line) {
    for (; *text && !(is_line && *text == '\n'); text++) {
        if (strchr(special, *text)) fputc('\\', out);
        fputc(*text == '\n' ? ' ' : *text, out);
    }
}

int cli_generate(const cli_program *program, const char *kind) {
    static const struct {
        const char *name;
        void (*generate)(const cli_program *program, FILE *out);
    } kinds[] = {{"man", cli_generate_man}, {"bash", cli_generate_bash}, {"zsh", cli_generate_zsh},
        {"fish", cli_generate_fish}};
    for (size_t i = 0; kind && i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].name, kind) != 0) continue;
        kinds[i].generate(program, stdout);
        return cli_flush();
    }
    return cli_usage(NULL, "--generate needs man, bash, zsh or fish%s%s%s", kind ? ", not '" : "",
        kind ? kind : "", kind ? "'" : "");
}

/* --- bash ------------------------------------------------------------------------------------ */

static const char bash_begin[] =
    "# Completion of pythiascope for bash, made by pythiascope --generate bash.\n"
    "_pythiascope_plugin() { # NAME, or NAME:key=value,key=\n"
    "    local given=$1 name keys before\n"
    "    case $given in\n"
    "    *:*)\n"
    "        name=${given%%:*}\n"
    "        before=${given%\"${given##*[:,]}\"}\n"
    "        keys=$(_pythiascope_keys \"$name\")\n"
    "        COMPREPLY=($(compgen -P \"$before\" -W \"$keys\" -- \"${given##*[:,]}\"))\n"
    "        compopt -o nospace 2>/dev/null\n"
    "        ;;\n"
    "    *) COMPREPLY=($(compgen -W \"$_pythiascope_plugins\" -- \"$given\")"
    " $(compgen -f -X '!*.so' -- \"$given\")) ;;\n"
    "    esac\n"
    "}\n";
static const char bash_end[] =
    "_pythiascope() {\n"
    "    local line=${COMP_LINE:0:COMP_POINT} cur prev verb options strip n\n"
    "    local -a words\n"
    "    COMPREPLY=()\n"
    "    read -ra words <<<\"$line\"\n"
    "    [[ $line == *[[:space:]] ]] && words+=(\"\")\n"
    "    n=${#words[@]}\n"
    "    ((n > 1)) || return 0\n"
    "    cur=${words[n - 1]} prev=${words[n - 2]} verb=${words[1]}\n"
    "    if ((n == 2)); then\n"
    "        COMPREPLY=($(compgen -W \"$_pythiascope_verbs --help --version --generate\" -- \"$cur\"))\n"
    "        return 0\n"
    "    fi\n"
    "    if [[ $verb == --generate ]]; then\n"
    "        COMPREPLY=($(compgen -W 'man bash zsh fish' -- \"$cur\"))\n"
    "        return 0\n"
    "    fi\n"
    "    strip=${cur%\"${cur##*[:=]}\"}\n"
    "    [[ $cur == --*=* ]] && prev=${cur%%=*} cur=${cur#*=} strip=${strip#\"$prev\"=}\n"
    "    case $(_pythiascope_kind \"$verb\" \"$prev\") in\n"
    "    file) COMPREPLY=($(compgen -f -- \"$cur\")); compopt -o filenames 2>/dev/null ;;\n"
    "    folder) COMPREPLY=($(compgen -d -- \"$cur\")); compopt -o filenames 2>/dev/null ;;\n"
    "    plugin) _pythiascope_plugin \"$cur\" ;;\n"
    "    isa) COMPREPLY=($(compgen -W 'reference avx2 avx512 neon' -- \"$cur\")) ;;\n"
    "    value) ;;\n"
    "    *)\n"
    "        options=$(_pythiascope_options \"$verb\")\n"
    "        if [[ $cur == -* ]]; then\n"
    "            COMPREPLY=($(compgen -W \"$options --help\" -- \"$cur\"))\n"
    "        elif [[ $verb == plugins ]]; then\n"
    "            _pythiascope_plugin \"$cur\"\n"
    "        else\n"
    "            COMPREPLY=($(compgen -f -- \"$cur\"))\n"
    "            compopt -o filenames 2>/dev/null\n"
    "        fi\n"
    "        ;;\n"
    "    esac\n"
    "    COMPREPLY=(\"${COMPREPLY[@]#\"$strip\"}\") # bash replaces what follows the last : or =\n"
    "}\n"
    "complete -F _pythiascope pythiascope\n";

static const char *kind_name(const cli_option *option) {
    static const char *const names[] = {"value", "file", "folder", "plugin", "isa"};
    return names[cli_value_kind_of(option)];
}

static void print_bash_tables(const cli_program *program, FILE *out) {
    const psc_plugin *plugin;
    fputs("_pythiascope_verbs='", out);
    for (int i = 0; i < program->n; i++)
        fprintf(out, "%s%s", i ? " " : "", program->verbs[i]->name);
    fputs("'\n_pythiascope_plugins='", out);
    for (int32_t i = 0; (plugin = psc_builtin(i)); i++)
        fprintf(out, "%s%s", i ? " " : "", plugin->name);
    fputs("'\n_pythiascope_keys() {\n    case $1 in\n", out);
    for (int32_t i = 0; (plugin = psc_builtin(i)); i++) {
        if (!plugin->options || !plugin->options->key) continue;
        fprintf(out, "    %s) echo '", plugin->name);
        for (const psc_option_description *o = plugin->options; o->key; o++)
            fprintf(out, "%s%s=", o == plugin->options ? "" : " ", o->key);
        fputs("' ;;\n", out);
    }
    fputs("    esac\n}\n_pythiascope_options() {\n    case $1 in\n", out);
    for (int i = 0; i < program->n; i++) {
        fprintf(out, "    %s) echo '", program->verbs[i]->name);
        for (const cli_option *o = program->verbs[i]->options; o->name; o++)
            fprintf(out, "%s--%s", o == program->verbs[i]->options ? "" : " ", o->name);
        fputs("' ;;\n", out);
    }
    fputs("    esac\n}\n_pythiascope_kind() { # VERB OPTION\n    case \"$1 $2\" in\n", out);
    for (int i = 0; i < program->n; i++)
        for (const cli_option *o = program->verbs[i]->options; o->name; o++)
            if (o->n_values)
                fprintf(out, "    '%s --%s') echo %s ;;\n", program->verbs[i]->name, o->name,
                    kind_name(o));
    fputs("    esac\n}\n", out);
}

void cli_generate_bash(const cli_program *program, FILE *out) {
    fputs(bash_begin, out);
    print_bash_tables(program, out);
    fputs(bash_end, out);
}

/* --- zsh ------------------------------------------------------------------------------------- */

/* Text inside '...': a single quote ends the string, stands alone, and begins it again. */
static void print_zsh(FILE *out, const char *text, bool is_line) {
    for (; *text && !(is_line && *text == '\n'); text++) {
        if (*text == '\'')
            fputs("'\\''", out);
        else if (strchr("[]:\\", *text))
            fprintf(out, "\\%c", *text);
        else
            fputc(*text == '\n' ? ' ' : *text, out);
    }
}

static void print_zsh_option(FILE *out, const cli_option *option) {
    static const char *const actions[] = {
        "", "_files", "_files -/", "_pythiascope_plugin", "(reference avx2 avx512 neon)"};
    fprintf(out, "      '%s--%s%s[", option->repeatable ? "*" : "", option->name,
        option->n_values ? "=" : "");
    print_zsh(out, option->help, false);
    fputs("]", out);
    for (int i = 0; i < option->n_values; i++) {
        fputs(":", out);
        print_zsh(out, option->n_values > 1 ? i ? "second" : "first" : option->values, false);
        fprintf(out, ":%s", actions[cli_value_kind_of(option)]);
    }
    fputs("' \\\n", out);
}

void cli_generate_zsh(const cli_program *program, FILE *out) {
    const psc_plugin *plugin;
    fputs("#compdef pythiascope\n"
          "# Completion of pythiascope for zsh, made by pythiascope --generate zsh.\n"
          "_pythiascope_plugin() {\n  local -a names\n  names=(",
        out);
    for (int32_t i = 0; (plugin = psc_builtin(i)); i++) {
        fprintf(out, "\n    %s", plugin->name);
        for (const psc_option_description *o = plugin->options; o && o->key; o++)
            fprintf(out, " %s:%s=", plugin->name, o->key);
    }
    fputs("\n  )\n  compadd -S '' -a names\n  _files -g '*.so'\n}\n"
          "_pythiascope() {\n  local -a verbs\n  verbs=(\n",
        out);
    for (int i = 0; i < program->n; i++) {
        fprintf(out, "    '%s:", program->verbs[i]->name);
        print_zsh(out, program->verbs[i]->summary, true);
        fputs("'\n", out);
    }
    fputs("  )\n  if (( CURRENT == 2 )); then\n    _describe verb verbs\n"
          "    compadd -- --help --version --generate\n    return\n  fi\n"
          "  local verb=$words[2]\n  shift words\n  (( CURRENT-- ))\n  case $verb in\n"
          "  --generate) compadd man bash zsh fish ;;\n",
        out);
    for (int i = 0; i < program->n; i++) {
        const cli_verb *verb = program->verbs[i];
        fprintf(out, "  %s)\n    _arguments -s \\\n", verb->name);
        for (const cli_option *o = verb->options; o->name; o++) print_zsh_option(out, o);
        fprintf(out, "      '--help[show this help]' '*:operand:%s'\n    ;;\n",
            strcmp(verb->name, "plugins") == 0 ? "_pythiascope_plugin" : "_files");
    }
    fputs("  esac\n}\n_pythiascope \"$@\"\n", out);
}

/* --- fish ------------------------------------------------------------------------------------ */

static void print_fish_option(FILE *out, const cli_verb *verb, const cli_option *option) {
    static const char *const values[] = {"-x", "-rF", "-xa '(__fish_complete_directories)'",
        "-xa '(__pythiascope_plugins)'", "-xa 'reference avx2 avx512 neon'"};
    fprintf(out, "complete -c pythiascope -n '__fish_seen_subcommand_from %s' -l %s %s -d '",
        verb->name, option->name, option->n_values ? values[cli_value_kind_of(option)] : "-f");
    cli_print_quoted(out, option->help, "'\\", false);
    fputs("'\n", out);
}

void cli_generate_fish(const cli_program *program, FILE *out) {
    const psc_plugin *plugin;
    fputs("# Completion of pythiascope for fish, made by pythiascope --generate fish.\n"
          "function __pythiascope_plugins\n    string collect -- ",
        out);
    fputs("'", out);
    for (int32_t i = 0; (plugin = psc_builtin(i)); i++) {
        fprintf(out, "%s%s\t", i ? "\n" : "", plugin->name);
        cli_print_quoted(out, plugin->summary, "'\\", true);
        for (const psc_option_description *o = plugin->options; o && o->key; o++)
            fprintf(out, "\n%s:%s=", plugin->name, o->key);
    }
    fputs("'\nend\n"
          "complete -c pythiascope -n __fish_use_subcommand -f\n"
          "complete -c pythiascope -n __fish_use_subcommand -l help -d 'show this help'\n"
          "complete -c pythiascope -n __fish_use_subcommand -l version -d 'show the version'\n"
          "complete -c pythiascope -n __fish_use_subcommand -l generate -xa 'man bash zsh fish'\n",
        out);
    for (int i = 0; i < program->n; i++) {
        const cli_verb *verb = program->verbs[i];
        fprintf(out, "complete -c pythiascope -n __fish_use_subcommand -a %s -d '", verb->name);
        cli_print_quoted(out, verb->summary, "'\\", true);
        fputs("'\n", out);
        for (const cli_option *o = verb->options; o->name; o++) print_fish_option(out, verb, o);
        if (strcmp(verb->name, "plugins") == 0)
            fputs("complete -c pythiascope -n '__fish_seen_subcommand_from plugins' "
                  "-a '(__pythiascope_plugins)'\n",
                out);
    }
}
