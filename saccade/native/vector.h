/* As many floats at a time as a register holds, in the vector extensions of GCC and Clang: the compiler chooses the
   instructions. Longer vectors would work too, but compilers keep those in memory, which took 5 to 10 times as long. */
#ifndef SACCADE_VECTOR_H
#define SACCADE_VECTOR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#define INLINE static inline __attribute__((always_inline))
#define EXPORT __attribute__((visibility("default")))

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES)));
typedef uint32_t uvec __attribute__((vector_size(4 * LANES)));
typedef float loose_vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint16_t loose_half __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

INLINE long round_up(long n) { return (n + LANES - 1) / LANES * LANES; }
INLINE vec broadcast(float x) { return x - (vec){0}; }

/* Element types: float, or bfloat16 as its 16 bits. `low` is a constant wherever these are inlined. */
INLINE vec load(const void *from, long at, int low) {
    if (!low) return *(const loose_vec *)((const float *)from + at);
    return (vec)(__builtin_convertvector(*(const loose_half *)((const uint16_t *)from + at), uvec) << 16);
}

INLINE void store(void *to, long at, vec x, int low) {
    if (!low) {
        *(loose_vec *)((float *)to + at) = x;
        return;
    }
    uvec bits = (uvec)x;
    bits += 0x7fff + ((bits >> 16) & 1); /* to nearest, ties to even */
    *(loose_half *)((uint16_t *)to + at) = __builtin_convertvector(bits >> 16, loose_half);
}

INLINE float load_one(const void *from, long at, int low) {
    if (!low) return ((const float *)from)[at];
    uint32_t bits = (uint32_t)((const uint16_t *)from)[at] << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

INLINE void store_one(void *to, long at, float x, int low) {
    if (!low) {
        ((float *)to)[at] = x;
        return;
    }
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits += 0x7fff + ((bits >> 16) & 1);
    ((uint16_t *)to)[at] = (uint16_t)(bits >> 16);
}

INLINE vec select_vec(ivec condition, vec yes, vec no) {
    return (vec)(((ivec)yes & condition) | ((ivec)no & ~condition));
}
INLINE vec max_vec(vec a, vec b) { return select_vec(a > b, a, b); }

/* In halves, as a tree. */
INLINE float sum_lanes(vec x) {
    float sum[LANES];
    memcpy(sum, &x, sizeof x);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) sum[i] += sum[i + half];
    return sum[0];
}

INLINE float max_lanes(vec x) {
    float most = x[0];
    for (int i = 1; i < LANES; i++) most = x[i] > most ? x[i] : most;
    return most;
}

/* e^x for x <= 88, to within 2 units in the last place; 0 below -87.3. x = n ln 2 + r, e^r by its Taylor polynomial. */
INLINE vec exp_vec(vec x) {
    const vec magic = broadcast(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer in the low bits */
    ivec underflow = x < broadcast(-87.3f);
    x = select_vec(underflow, broadcast(-87.3f), x);
    vec shifted = x * 1.44269504f + magic;
    vec n = shifted - magic;
    vec r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    vec p = broadcast(1.0f / 5040);
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    vec scaled = (vec)((ivec)p + ((ivec)shifted << 23));
    return select_vec(underflow, (vec){0}, scaled);
}

/* c (rows, vecs * LANES) = a (rows, depth) b (depth, vecs * LANES), for constant `rows` and `vecs`. */
INLINE void tile(const int rows, const int vecs, const float *a, long a_row, const float *b, long b_row,
                 float *c, long c_row, long depth) {
    vec sum[6][2];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++) sum[r][v] = (vec){0};
    for (long k = 0; k < depth; k++) {
        vec right[2];
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++) right[v] = load(b, k * b_row + v * LANES, 0);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) { /* one number of a at a time: with all, sums go to memory */
            const vec left = broadcast(a[r * a_row + k]);
#pragma GCC unroll 2
            for (int v = 0; v < vecs; v++) sum[r][v] += left * right[v];
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++) store(c, r * c_row + v * LANES, sum[r][v], 0);
}

/* c = a b for small matrices; the columns of b and c are filled up to whole vectors. */
__attribute__((unused)) static void product(const float *a, long a_row, const float *b, long b_row, float *c, long c_row,
                    long rows, long columns, long depth) {
    for (long j = 0; j < columns; j += 2 * LANES) {
        const int wide = columns - j > LANES;
        long i = 0;
        for (; i + 6 <= rows; i += 6) {
            if (wide) tile(6, 2, a + i * a_row, a_row, b + j, b_row, c + i * c_row + j, c_row, depth);
            else tile(6, 1, a + i * a_row, a_row, b + j, b_row, c + i * c_row + j, c_row, depth);
        }
        for (; i + 2 <= rows; i += 2) {
            if (wide) tile(2, 2, a + i * a_row, a_row, b + j, b_row, c + i * c_row + j, c_row, depth);
            else tile(2, 1, a + i * a_row, a_row, b + j, b_row, c + i * c_row + j, c_row, depth);
        }
        for (; i < rows; i++) {
            if (wide) tile(1, 2, a + i * a_row, a_row, b + j, b_row, c + i * c_row + j, c_row, depth);
            else tile(1, 1, a + i * a_row, a_row, b + j, b_row, c + i * c_row + j, c_row, depth);
        }
    }
}

#endif
