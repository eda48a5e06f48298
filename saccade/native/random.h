/* Random bits as a pure function of a seed and a place: nothing is stored between forward and backward. */
#ifndef SACCADE_RANDOM_H
#define SACCADE_RANDOM_H

#include "vector.h"

/* A mixer of 32 bits found by search for little bias (hash-prospector's "lowbias32", public domain). */
INLINE uint32_t mix(uint32_t x) {
    x ^= x >> 16;
    x *= 0x7feb352dU;
    x ^= x >> 15;
    x *= 0x846ca68bU;
    return x ^ (x >> 16);
}

INLINE uvec mix_vec(uvec x) {
    x ^= x >> 16;
    x *= 0x7feb352dU;
    x ^= x >> 15;
    x *= 0x846ca68bU;
    return x ^ (x >> 16);
}

/* Dropout at LANES neighbouring places of a row: 65,536 / (65,536 - drop) where one stays, else 0.
   The row enters twice, so that no two rows have the same sequence, shifted. */
INLINE vec kept_at(uint64_t seed, uint32_t row, long column, uint32_t drop) {
    const uint32_t first = mix(row ^ mix((uint32_t)seed)), second = mix(first ^ (uint32_t)(seed >> 32));
#if LANES == 16
    const uvec lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#elif LANES == 8
    const uvec lanes = {0, 1, 2, 3, 4, 5, 6, 7};
#else
    const uvec lanes = {0, 1, 2, 3};
#endif
    uvec draw = first + ((uint32_t)column + lanes) * 0x9e3779b9U;
    draw = mix_vec(second + (draw ^ draw >> 15) * 0x2c1b3c6dU) >> 16;
    return select_vec((ivec)(draw >= drop), broadcast(65536.0f / (65536 - drop)), (vec){0});
}

#endif
