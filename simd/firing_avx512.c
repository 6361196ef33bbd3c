/* firing_frame.h on AVX-512. */
#include "tile_avx512.h"
#include "firing_frame.h"
