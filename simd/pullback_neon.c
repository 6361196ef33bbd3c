/* pullback_frame.h on NEON. */
#include "tile_neon.h"
#include "pullback_frame.h"
