/* y = x W^T + b with weights packed for the processor: in panels of 64 outputs, as floats or as 8-bit integers. */
#ifndef SACCADE_LINEAR_H
#define SACCADE_LINEAR_H

#include "vector.h"

#define PANEL 64 /* outputs */
#define DEPTH 4  /* 8-bit inputs that one instruction takes */

/* Outputs whose weights lie side by side: all that are computed at a time for many rows (linear.c). */
#if defined(__AVX512F__)
#define STRIP PANEL
#else
#define STRIP 16
#endif

typedef struct {
    int64_t inputs, outputs;
    const void *weight;   /* (panels, PANEL / STRIP, inputs, STRIP) floats, or int8 (panels, PANEL / STRIP,
                             inputs / DEPTH, STRIP, DEPTH) */
    const float *scale;   /* (panels * PANEL,): of each output's weights; NULL: they are floats */
    const int32_t *total; /* (panels * PANEL,): the sum of each output's 8-bit weights */
    const float *bias;    /* (panels * PANEL,) */
} Linear;

/* AVX2 has no instruction that multiplies four bytes with four weights, but one for two pairs of 16-bit numbers: bytes
   0 and 2, then 1 and 3, of every four lie there as such pairs. */
#if defined(__AVX2__) && !defined(__AVX512F__)
#define PAIRED 1
typedef uint16_t Byte;
#else
#define PAIRED 0
typedef uint8_t Byte;
#endif

/* Rows as 8-bit integers over the range that each one has, 0 among it: (byte - zero) * scale. */
typedef struct {
    Byte *bytes;
    float *scale;
    int32_t *zero;
} Quantised;

INLINE void quantise_row(const float *x, long width, Byte *to, float *scale, int32_t *zero) {
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
        typedef Byte bytes __attribute__((vector_size(LANES * sizeof(Byte)), aligned(1), may_alias));
        *(bytes *)(to + j) = __builtin_convertvector(bits & 0xff, bytes);
        for (int four = 0; PAIRED && four < LANES; four += 4) {
            const Byte second = to[j + four + 1];
            to[j + four + 1] = to[j + four + 2];
            to[j + four + 2] = second;
        }
    }
}

/* How many of `all` rows or sequences make a block: at most `most`. Blocks have one size, and if there are more of
   them than threads, each thread gets the same number. */
INLINE long block_size(long all, long most, int threads) {
    long blocks = (all + most - 1) / most;
    if (blocks > threads) blocks = (blocks + threads - 1) / threads * threads;
    return blocks ? (all + blocks - 1) / blocks : 1;
}

/* Threads may share out the panels of a product: number `thread` of `threads` begins at this one. */
INLINE long first_panel(const Linear *l, int threads, int thread) {
    return (l->outputs + PANEL - 1) / PANEL * thread / threads;
}

/* What a product reads: floats, or the same as 8-bit integers where the weights are. */
typedef struct {
    const float *floats;
    Quantised rounded;
} Input;

#define QUANTISED_BYTES(rows, inputs) ((rows) * ((inputs) * (long)sizeof(Byte) + 8)) /* that `input` needs */

INLINE Input input(const Linear *l, const float *x, long rows, void *quantised) {
    float *scale = (float *)((Byte *)quantised + rows * l->inputs);
    Input in = {x, {quantised, scale, (int32_t *)(scale + rows)}};
    if (l->scale)
        for (long i = 0; i < rows; i++)
            quantise_row(x + i * l->inputs, l->inputs, in.rounded.bytes + i * l->inputs, &in.rounded.scale[i],
                         &in.rounded.zero[i]);
    return in;
}

/* Panel p of the outputs of all rows to y, whose rows are y_row apart; how many outputs it has (linear.c). */
__attribute__((visibility("hidden"))) long panel(const Linear *l, long p, const Input *in, long rows, float *y,
                                                 long y_row);

/* y (rows, outputs) for x (rows, inputs), both without gaps; quantised: QUANTISED_BYTES. Of `threads` threads, number
   `thread` computes only its own share of the outputs. */
static void linear(const Linear *l, const float *x, float *y, long rows, void *quantised, int threads, int thread) {
    const Input in = input(l, x, rows, quantised);
    for (long p = first_panel(l, threads, thread); p < first_panel(l, threads, thread + 1); p++)
        panel(l, p, &in, rows, y + p * PANEL, l->outputs);
}

#endif
