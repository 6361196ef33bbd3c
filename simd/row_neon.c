/* row_frame.h on NEON. */
#include "tile_neon.h"
#include "row_frame.h"
