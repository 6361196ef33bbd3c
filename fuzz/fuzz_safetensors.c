/* A safetensors file: HEADER "\f\f" DATA, or the raw file. */
#include "fuzz.h"
#include "fuzz_tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    psc_tensors *set = NULL;
    psc_error error = {0};
    const char *path = fuzz_put_tensors("one.safetensors", (fuzz_bytes){data, size});
    const psc_status status = psc_tensors_open_file(&set, path, &error);
    fuzz_check(status, &error);
    fuzz_expect((status == PSC_OK) == (set != NULL), "a set without success");
    fuzz_read_tensors(set);
    psc_tensors_close(&set);
    return 0;
}
