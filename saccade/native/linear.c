/* The product of a panel of weights and a few rows: where nearly all the time goes. Compiled once, here: it is large. */
#if defined(__AVX512VNNI__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#include "linear.h"

typedef ivec sums; /* of 8-bit products, in each lane */
typedef int32_t loose_sums __attribute__((vector_size(4 * LANES), aligned(1), may_alias));

INLINE int32_t four_bytes(const void *from) {
    int32_t four;
    memcpy(&four, from, sizeof four);
    return four;
}

/* sum + the products of four bytes with four weights, in each lane. Without the instruction for it, weights are spread
   over numbers of 16 bits: 0 and 2, 1 and 3. */
INLINE sums multiply_add(sums sum, const Byte *x, sums weights) {
#if defined(__AVX512VNNI__)
    return (sums)_mm512_dpbusd_epi32((__m512i)sum, _mm512_set1_epi32(four_bytes(x)), (__m512i)weights);
#elif defined(__AVX512BW__)
    const __m512i w = (__m512i)weights;
    const int32_t four = four_bytes(x);
    const __m512i even = _mm512_set1_epi32(four & 0x00ff00ff), odd = _mm512_set1_epi32(four >> 8 & 0x00ff00ff);
    sum += (sums)_mm512_madd_epi16(even, _mm512_srai_epi16(_mm512_slli_epi16(w, 8), 8));
    return sum + (sums)_mm512_madd_epi16(odd, _mm512_srai_epi16(w, 8));
#elif PAIRED
    const __m256i w = (__m256i)weights;
    const __m256i even = _mm256_set1_epi32(four_bytes(x)), odd = _mm256_set1_epi32(four_bytes(x + 2));
    sum += (sums)_mm256_madd_epi16(even, _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8));
    return sum + (sums)_mm256_madd_epi16(odd, _mm256_srai_epi16(w, 8));
#else
    for (int d = 0; d < DEPTH; d++) {
        const int up = 24 - 8 * d; /* brings weight d to the top of its lane, and its sign with it */
        sum += ((sums)((uvec)weights << up) >> 24) * x[d];
    }
    return sum;
#endif
}

/* sum + bias of `count` vectors of outputs, of which only the first `columns` outputs exist. */
INLINE void put(float *to, const vec *sum, const int count, const float *bias, long columns) {
    if (columns >= count * LANES) {
#pragma GCC unroll 8
        for (int v = 0; v < count; v++) store(to, v * LANES, sum[v] + load(bias, v * LANES, 0), 0);
        return;
    }
    for (long j = 0; j < columns; j++) to[j] = sum[j / LANES][j % LANES] + bias[j];
}

/* Vectors of a panel that are computed at a time, and the most rows, so that all sums stay in registers: AVX-512 has
   32, others have 16, and spread bytes take some of these. */
#if defined(__AVX512F__)
#define GROUP(rows) (PANEL / LANES)
#define BYTE_ROWS 6
#else
#define GROUP(rows) ((rows) == 1 ? 8 : (rows) <= 3 ? 4 : 2)
#define BYTE_ROWS 4
#endif

/* Outputs from `at` on, a group of them: all rows are multiplied with it before the next group, whose weights would
   drive it out of the cache. */
INLINE void group_of_floats(const int rows, const float *x, long x_row, const float *w, const float *bias, long depth,
                            float *y, long y_row, long columns, long at) {
    const int group = GROUP(rows);
    vec sum[6][PANEL / LANES];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < group; v++) sum[r][v] = (vec){0};
    for (long k = 0; k < depth; k++) {
        vec right[PANEL / LANES];
#pragma GCC unroll 8
        for (int v = 0; v < group; v++) {
            const long output = at + v * LANES;
            right[v] = load(w, (output / STRIP * depth + k) * STRIP + output % STRIP, 0);
        }
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) { /* one number of x at a time: with all, sums go to memory */
            const vec left = broadcast(x[r * x_row + k]);
#pragma GCC unroll 8
            for (int v = 0; v < group; v++) sum[r][v] += left * right[v];
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) put(y + r * y_row + at, sum[r], group, bias + at, columns - at);
}

INLINE void group_of_bytes(const int rows, const Byte *x, const float *x_scale, const int32_t *x_zero,
                           const int8_t *w, const float *scale, const int32_t *total, const float *bias, long inputs,
                           float *y, long y_row, long columns, long at) {
    const int group = GROUP(rows);
    sums sum[6][PANEL / LANES];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < group; v++) sum[r][v] = (sums){0};
    for (long k = 0; k < inputs; k += DEPTH) {
        sums right[PANEL / LANES];
#pragma GCC unroll 8
        for (int v = 0; v < group; v++) {
            const long output = at + v * LANES;
            right[v] = *(const loose_sums *)(w + (output / STRIP * inputs + k) * STRIP + output % STRIP * DEPTH);
        }
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
            for (int v = 0; v < group; v++) sum[r][v] = multiply_add(sum[r][v], x + r * inputs + k, right[v]);
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        vec out[PANEL / LANES];
#pragma GCC unroll 8
        for (int v = 0; v < group; v++) {
            typedef int32_t loose_int __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
            const long output = at + v * LANES;
            const sums exact = sum[r][v] - *(const loose_int *)(total + output) * x_zero[r];
            out[v] = __builtin_convertvector(exact, vec) * (load(scale, output, 0) * x_scale[r]);
        }
        put(y + r * y_row + at, out, group, bias + at, columns - at);
    }
}

EXPORT const int64_t strip = STRIP;

/* Groups of outputs outside, tiles of rows within. */
long panel(const Linear *l, long p, const Input *in, long rows, float *y, long y_row) {
    const long first = p * PANEL, columns = l->outputs - first;
    const float *bias = l->bias + first;
#define FLOATS(n) group_of_floats(n, in->floats + i * l->inputs, l->inputs, \
                                  (const float *)l->weight + p * l->inputs * PANEL, bias, l->inputs, y + i * y_row, \
                                  y_row, columns, at)
#define BYTES(n) group_of_bytes(n, in->rounded.bytes + i * l->inputs, in->rounded.scale + i, in->rounded.zero + i, \
                                (const int8_t *)l->weight + p * l->inputs * PANEL, l->scale + first, \
                                l->total + first, bias, l->inputs, y + i * y_row, y_row, columns, at)
#define TILES(kernel, n, from, to) \
    for (long at = 0; at < PANEL && at < columns; at += GROUP(n) * LANES) \
        for (long i = from; i < (to); i += n) kernel(n)
#define ALL(kernel, most) \
    const long whole = rows / (most) * (most); \
    TILES(kernel, most, 0, whole); \
    switch (rows - whole) { \
    case 1: TILES(kernel, 1, whole, rows); break; \
    case 2: TILES(kernel, 2, whole, rows); break; \
    case 3: TILES(kernel, 3, whole, rows); break; \
    case 4: TILES(kernel, 4, whole, rows); break; \
    case 5: TILES(kernel, 5, whole, rows); \
    }
    if (l->scale) {
        ALL(BYTES, BYTE_ROWS)
    } else {
        ALL(FLOATS, 6)
    }
#undef ALL
#undef TILES
#undef BYTES
#undef FLOATS
    return columns < PANEL ? columns : PANEL;
}
