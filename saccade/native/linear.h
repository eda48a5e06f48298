/* y = x W^T + b with weights packed for the processor: in panels of 64 outputs, as floats or as 8-bit integers. */
#ifndef SACCADE_LINEAR_H
#define SACCADE_LINEAR_H

#include <stdlib.h>

#if defined(__AVX512VNNI__)
#include <immintrin.h>
#endif

#include "vector.h"

#define PANEL 64 /* outputs */
#define DEPTH 4  /* 8-bit inputs that one instruction takes */

typedef struct {
    int64_t inputs, outputs;
    const void *weight;   /* (panels, inputs, PANEL) floats, or (panels, inputs / DEPTH, PANEL, DEPTH) int8 */
    const float *scale;   /* (panels * PANEL,): of each output's weights; NULL: they are floats */
    const int32_t *total; /* (panels * PANEL,): the sum of each output's 8-bit weights */
    const float *bias;    /* (panels * PANEL,) */
} Linear;

/* Rows as 8-bit integers over the range that each one has, 0 among it: (byte - zero) * scale. */
typedef struct {
    uint8_t *bytes;
    float *scale;
    int32_t *zero;
} Quantised;

INLINE void quantise_row(const float *x, long width, uint8_t *to, float *scale, int32_t *zero) {
    vec most = {0}, least = {0};
    for (long j = 0; j < width; j += LANES) {
        const vec v = load(x, j, 0);
        most = max_vec(most, v);
        least = max_vec(least, -v);
    }
    const float low = max_lanes(least), range = low + max_lanes(most);
    const float inverse = range > 0 ? 254 / range : 0; /* both ends may round up, and 255 is the last byte */
    *scale = range / 254;
    *zero = (int32_t)(low * inverse + 0.5f);
    for (long j = 0; j < width; j += LANES) {
        vec shifted = load(x, j, 0) * inverse + 12582912.0f; /* rounds; see exp_vec */
        uvec bits = ((uvec)shifted & 0xffff) + (uint32_t)*zero;
        typedef uint8_t bytes __attribute__((vector_size(16), aligned(1), may_alias));
        *(bytes *)(to + j) = __builtin_convertvector(bits & 0xff, bytes);
    }
}

INLINE ivec multiply_add(ivec sum, ivec four, ivec weights) {
#if defined(__AVX512VNNI__)
    return (ivec)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)four, (__m512i)weights);
#else
    const uint8_t *a = (const uint8_t *)&four;
    const int8_t *b = (const int8_t *)&weights;
    for (int i = 0; i < LANES; i++)
        for (int d = 0; d < DEPTH; d++) sum[i] += (int32_t)a[DEPTH * i + d] * b[DEPTH * i + d];
    return sum;
#endif
}

INLINE void put(float *to, const vec *from, const float *bias, long columns) {
    if (columns >= PANEL) {
        for (int v = 0; v < PANEL / LANES; v++) store(to, v * LANES, from[v] + load(bias, v * LANES, 0), 0);
        return;
    }
    for (long j = 0; j < columns; j++) to[j] = from[j / LANES][j % LANES] + bias[j];
}

INLINE void panel_of_floats(const int rows, const float *x, long x_row, const float *w, const float *bias, long depth,
                            float *y, long y_row, long columns) {
    vec sum[6][PANEL / LANES];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < PANEL / LANES; v++) sum[r][v] = (vec){0};
    for (long k = 0; k < depth; k++) {
#pragma GCC unroll 4
        for (int v = 0; v < PANEL / LANES; v++) {
            const vec right = load(w, k * PANEL + v * LANES, 0);
#pragma GCC unroll 6
            for (int r = 0; r < rows; r++) sum[r][v] += x[r * x_row + k] * right;
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) put(y + r * y_row, sum[r], bias, columns);
}

INLINE void panel_of_bytes(const int rows, const uint8_t *x, const float *x_scale, const int32_t *x_zero,
                           const int8_t *w, const float *scale, const int32_t *total, const float *bias, long inputs,
                           float *y, long y_row, long columns) {
    ivec sum[6][PANEL / LANES];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < PANEL / LANES; v++) sum[r][v] = (ivec){0};
    typedef ivec loose_ivec __attribute__((aligned(1), may_alias));
    for (long k = 0; k < inputs; k += DEPTH) {
#pragma GCC unroll 4
        for (int v = 0; v < PANEL / LANES; v++) {
            const ivec right = *(const loose_ivec *)(w + k * PANEL + v * LANES * DEPTH);
#pragma GCC unroll 6
            for (int r = 0; r < rows; r++) {
                int32_t four;
                memcpy(&four, x + r * inputs + k, sizeof four);
                sum[r][v] = multiply_add(sum[r][v], four - (ivec){0}, right);
            }
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        vec out[PANEL / LANES];
#pragma GCC unroll 4
        for (int v = 0; v < PANEL / LANES; v++) {
            typedef int32_t loose_int __attribute__((vector_size(64), aligned(4), may_alias));
            const ivec exact = sum[r][v] - *(const loose_int *)(total + v * LANES) * x_zero[r];
            out[v] = __builtin_convertvector(exact, vec) * (load(scale, v * LANES, 0) * x_scale[r]);
        }
        put(y + r * y_row, out, bias, columns);
    }
}

/* How many of `all` rows or sequences make a block: at most `most`, blocks of one size, and where there are more
   than threads as many for each of them. */
INLINE long block_size(long all, long most, int threads) {
    long blocks = (all + most - 1) / most;
    if (blocks > threads) blocks = (blocks + threads - 1) / threads * threads;
    return blocks ? (all + blocks - 1) / blocks : 1;
}

/* Threads may share out the panels of a product: number `me` of `members` begins at this one. */
INLINE long first_panel(const Linear *l, int members, int me) {
    return (l->outputs + PANEL - 1) / PANEL * me / members;
}

/* What a product reads: floats, or the same as 8-bit integers where the weights are. */
typedef struct {
    const float *floats;
    Quantised rounded;
} Input;

#define SPARE(rows, inputs) ((rows) * ((inputs) + 8)) /* bytes that `input` needs for 8-bit integers */

INLINE Input input(const Linear *l, const float *x, long rows, void *spare) {
    float *scale = (float *)((uint8_t *)spare + rows * l->inputs);
    Input in = {x, {spare, scale, (int32_t *)(scale + rows)}};
    if (l->scale)
        for (long i = 0; i < rows; i++)
            quantise_row(x + i * l->inputs, l->inputs, in.rounded.bytes + i * l->inputs, &in.rounded.scale[i],
                         &in.rounded.zero[i]);
    return in;
}

/* Panel p of the outputs of all rows to y, whose rows are y_row apart; how many outputs it has. The sums of up to 6
   rows stay in registers. */
static long panel(const Linear *l, long p, const Input *in, long rows, float *y, long y_row) {
    const long first = p * PANEL, columns = l->outputs - first;
    const float *bias = l->bias + first;
#define FLOATS(n) panel_of_floats(n, in->floats + i * l->inputs, l->inputs, \
                                  (const float *)l->weight + p * l->inputs * PANEL, bias, l->inputs, y + i * y_row, \
                                  y_row, columns)
#define BYTES(n) panel_of_bytes(n, in->rounded.bytes + i * l->inputs, in->rounded.scale + i, in->rounded.zero + i, \
                                (const int8_t *)l->weight + p * l->inputs * PANEL, l->scale + first, \
                                l->total + first, bias, l->inputs, y + i * y_row, y_row, columns)
#define TILE(kernel) \
    switch (rows - i) { \
    case 1: kernel(1); break; \
    case 2: kernel(2); break; \
    case 3: kernel(3); break; \
    case 4: kernel(4); break; \
    case 5: kernel(5); break; \
    default: kernel(6); \
    }
    for (long i = 0; i < rows; i += 6)
        if (l->scale) TILE(BYTES)
        else TILE(FLOATS)
#undef TILE
#undef BYTES
#undef FLOATS
    return columns < PANEL ? columns : PANEL;
}

/* y (rows, outputs) for x (rows, inputs), both without gaps; spare: SPARE bytes. Of `members` threads number
   `me` computes only its own share of the outputs. */
static void linear(const Linear *l, const float *x, float *y, long rows, void *spare, int members, int me) {
    const Input in = input(l, x, rows, spare);
    for (long p = first_panel(l, members, me); p < first_panel(l, members, me + 1); p++)
        panel(l, p, &in, rows, y + p * PANEL, l->outputs);
}

#endif
