/* A harness without libFuzzer: runs each of the files, or of the files in folders, once, so that
 * CTest repeats seeds and findings with any compiler. usage: HARNESS FILE_OR_FOLDER... */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int runs;

static void run_file(const char *path) {
    FILE *file = fopen(path, "rb");
    size_t size = 0, room = 4096;
    uint8_t *bytes = malloc(room);
    printf("%s\n", path); /* the last one is the input that failed */
    fflush(stdout);
    fuzz_expect(file && bytes, "cannot read an input");
    for (size_t n; (n = fread(bytes + size, 1, room - size, file)) > 0;) {
        size += n;
        if (size < room) continue;
        room *= 2;
        bytes = realloc(bytes, room);
        if (!bytes) abort();
    }
    fclose(file);
    uint8_t *exact = malloc(size + !size); /* so that a sanitizer sees the input's end */
    if (!exact) abort();
    memcpy(exact, bytes, size);
    free(bytes);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    runs++;
}

static void run_folder(DIR *folder, const char *path) {
    char name[4096];
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.') continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        run_file(name);
    }
    closedir(folder);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        if (folder)
            run_folder(folder, argv[i]);
        else
            run_file(argv[i]);
    }
    printf("%d inputs\n", runs);
    return runs == 0; /* a folder without inputs tests nothing */
}
