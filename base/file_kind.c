/* First bytes:  "GGUF" | "PK\3\4" | pickle: 0x80 and a protocol | old PyTorch: the pickle of a
 * magic number, or a tar archive ("ustar" at 257) | safetensors: a length, then '{' at 8 */
#include "file_kind.h"

#include <stdbool.h>
#include <string.h>

static const char lfs[] = "version https://git-lfs.github.com/spec/";
static const unsigned char old_torch[] = {
    0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

static bool begins(const unsigned char *data, size_t size, const void *with, size_t bytes) {
    return size >= bytes && memcmp(data, with, bytes) == 0;
}

psc_file_kind psc_file_kind_of(const unsigned char *data, size_t size) {
    if (begins(data, size, lfs, sizeof lfs - 1)) return PSC_FILE_LFS_POINTER;
    if (begins(data, size, "GGUF", 4)) return PSC_FILE_GGUF;
    if (begins(data, size, "PK\3\4", 4)) return PSC_FILE_ZIP;
    if (begins(data, size, "\x89HDF\r\n", 6)) return PSC_FILE_HDF5;
    if (begins(data, size, "<!DOCTYPE", 9) || begins(data, size, "<!doctype", 9) ||
        begins(data, size, "<html", 5))
        return PSC_FILE_HTML;
    if (begins(data, size, old_torch, sizeof old_torch)) return PSC_FILE_OLD_TORCH;
    if (size >= 262 && memcmp(data + 257, "ustar", 5) == 0) return PSC_FILE_OLD_TORCH;
    if (size >= 2 && data[0] == 0x80 && data[1] >= 2 && data[1] <= 5) return PSC_FILE_PICKLE;
    if (size >= 10 && data[8] == '{' && data[6] == 0 && data[7] == 0) return PSC_FILE_SAFETENSORS;
    return PSC_FILE_OTHER;
}

psc_status psc_file_kind_refuse(psc_file_kind kind, const char *path, psc_error *error) {
    switch (kind) {
    case PSC_FILE_LFS_POINTER:
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s is a git-lfs pointer, not the file itself; run git lfs pull in its folder", path);
    case PSC_FILE_GGUF:
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "%s is a GGUF file, which is not read; pass the Hugging Face folder that it was made "
            "from",
            path);
    case PSC_FILE_HDF5:
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "%s is an HDF5 file, which is not read; save the model as safetensors", path);
    case PSC_FILE_HTML:
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s is an HTML page, not the file itself; download it again", path);
    case PSC_FILE_OLD_TORCH:
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "%s has PyTorch's format from before 1.6, which is not read; convert it in Python: "
            "torch.save(torch.load(FILE), FILE)",
            path);
    default:
        return PSC_OK;
    }
}
