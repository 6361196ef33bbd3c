/* matmul_frame.h on NEON. */
#include "tile_neon.h"
#include "matmul_frame.h"
