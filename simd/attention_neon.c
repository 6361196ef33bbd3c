/* attention_frame.h on NEON. */
#include "tile_neon.h"
#include "attention_frame.h"
