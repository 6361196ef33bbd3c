/* elementwise_frame.h on NEON. */
#include "tile_neon.h"
#include "elementwise_frame.h"
