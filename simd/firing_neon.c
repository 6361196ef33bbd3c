/* firing_frame.h on NEON. */
#include "tile_neon.h"
#include "firing_frame.h"
