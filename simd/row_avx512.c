/* row_frame.h on AVX-512. */
#include "tile_avx512.h"
#include "row_frame.h"
