/* edges_frame.h on NEON. */
#include "tile_neon.h"
#include "edges_frame.h"
