/* subsets_frame.h on NEON. */
#include "tile_neon.h"
#include "subsets_frame.h"
