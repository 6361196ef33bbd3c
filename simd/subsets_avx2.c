/* subsets_frame.h on AVX2. */
#include "tile_avx2.h"
#include "subsets_frame.h"
