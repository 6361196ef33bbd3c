/* vocabulary_frame.h on NEON. */
#include "tile_neon.h"
#include "vocabulary_frame.h"
