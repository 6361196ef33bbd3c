/* The near tile at every height, each a separate kernel; how rows are split into tiles.
 * Private to simd/: the frames, after tile_<isa>.h.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef TILE_ROWS_H
#define TILE_ROWS_H

/* How many rows the tile at row r takes: the rest is spread evenly over the fewest tiles, because a
 * tile of one or two rows waits for its own chains. */
static inline size_t tile_height(size_t rows_left, size_t most) {
    if (rows_left >= 2 * most) return most;
    return rows_left <= most ? rows_left : (rows_left + 1) / 2;
}

/* Runs all rows of in through near tiles. */
ALWAYS_INLINE void near_strip(near_input in, size_t rows, const int registers) {
#define HEIGHT(n)                                                                                  \
    case n:                                                                                        \
        near_tile(&in, n, registers, false, PSC_DTYPE_F32);                                        \
        break;
    for (size_t height; rows > 0; rows -= height) {
        height = tile_height(rows, NEAR_TILE_ROWS);
        switch (height) {
            HEIGHT(1)
            HEIGHT(2)
            HEIGHT(3)
            HEIGHT(4)
#if NEAR_TILE_ROWS > 4
            HEIGHT(5)
#endif
#if NEAR_TILE_ROWS > 5
            HEIGHT(6)
            HEIGHT(7)
            HEIGHT(8)
#endif
        default:
            return;
        }
        in.x += height * in.ldx;
        in.y += height * in.ldy;
    }
#undef HEIGHT
}

#endif
