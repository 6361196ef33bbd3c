/* products_frame.h on NEON. */
#include "tile_neon.h"
#include "products_frame.h"
