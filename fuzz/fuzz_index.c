/* A sharded set: the index, shard a, shard b, separated. A first byte B takes the index of
 * pytorch_model.bin, whose shards are files of torch.save; S model.safetensors's. */
#include "fuzz.h"
#include "fuzz_tensors.h"
#include "weight_files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const fuzz_bytes none;
    fuzz_bytes rest = {data, size};
    psc_tensors *set = NULL;
    psc_error error = {0};
    const int torch = fuzz_byte(&rest) == 'B';
    const fuzz_bytes index = fuzz_part(&rest), a = fuzz_part(&rest);
    fuzz_make_folder("sharded");
    fuzz_put_if("sharded/model.safetensors.index.json", torch ? none : index);
    fuzz_put_if("sharded/pytorch_model.bin.index.json", torch ? index : none);
    if (torch) {
        fuzz_put("sharded/a.bin", a);
        fuzz_put("sharded/b.bin", rest);
    } else {
        fuzz_put_tensors("sharded/a.safetensors", a);
        fuzz_put_tensors("sharded/b.safetensors", rest);
    }
    const psc_status status = psc_tensors_open(&set, fuzz_path("sharded"), &error);
    fuzz_check(status, &error);
    fuzz_expect((status == PSC_OK) == (set != NULL), "a set without success");
    fuzz_read_tensors(set);
    psc_tensors_close(&set);
    return 0;
}
