/* statistics_frame.h on NEON. */
#include "tile_neon.h"
#include "statistics_frame.h"
