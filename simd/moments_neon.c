/* moments_frame.h on NEON. */
#include "tile_neon.h"
#include "moments_frame.h"
