/* The register tile at every height, each a kernel of its own.
 * Private to simd/: the frames, after tile_<isa>.h.
 * Threads: pure functions.
 * Ownership: nothing is kept. */
#ifndef TILE_ROWS_H
#define TILE_ROWS_H

/* 1 to TILE_ROWS rows by `panels` panels. */
ALWAYS_INLINE void tile_rows(
    float *sums, const tile_input *in, size_t rows, const int panels, const psc_dtype dtype) {
#define HEIGHT(n)                                                                                  \
    case n:                                                                                        \
        tile(sums, in, n, panels, dtype, false, 0);                                                \
        break;
    switch (rows) {
        HEIGHT(1)
        HEIGHT(2)
        HEIGHT(3)
        HEIGHT(4)
        HEIGHT(5)
#if TILE_ROWS > 5
        HEIGHT(6)
#endif
#if TILE_ROWS > 6
        HEIGHT(7)
        HEIGHT(8)
        HEIGHT(9)
        HEIGHT(10)
        HEIGHT(11)
        HEIGHT(12)
#endif
    default:
        break;
    }
#undef HEIGHT
}

/* How many rows the tile at row r takes: the rest spread evenly over the fewest tiles, since a tile
 * of one or two rows waits for its own chains. */
static inline size_t tile_height(size_t rows_left, size_t most) {
    if (rows_left >= 2 * most) return most;
    return rows_left <= most ? rows_left : (rows_left + 1) / 2;
}

/* Rows of x copied close together, n terms each, so that a tile's rows lie in one stream and at
 * constant distances: NEAR_LD apart, which is not a power of two, so in different cache banks. */
#define NEAR_LD (PSC_K_BLOCK + 8)

static inline void copy_near(float *near, const float *x, size_t ldx, size_t rows, size_t n) {
    for (size_t r = 0; r < rows; r++, near += NEAR_LD, x += ldx) {
        size_t i = 0;
        for (; i + VEC <= n; i += VEC) {
            __builtin_prefetch(x + 4 * ldx + i);
            vec_store(near + i, vec_load(x + i));
        }
        for (; i < n; i++) near[i] = x[i];
    }
}

/* All rows of in through near tiles. */
ALWAYS_INLINE void near_strip(near_input in, size_t rows, const int registers) {
#define HEIGHT(n)                                                                                  \
    case n:                                                                                        \
        near_tile(&in, n, registers);                                                              \
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
