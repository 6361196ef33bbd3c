/* subsets_frame.h on AVX-512. */
#include "tile_avx512.h"
#include "subsets_frame.h"
