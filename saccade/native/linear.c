/* The product of a panel of weights and a few rows: where nearly all the time goes. Compiled once, here: it is large. */
#if defined(__AVX512VNNI__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#include "linear.h"

/* sum + the products of four bytes with four weights, in each lane. Without the instruction for it, bytes are spread
   over numbers of 16 bits: 0 and 2, 1 and 3. (Left to itself, the compiler takes minutes and finds nothing better.) */
INLINE ivec multiply_add(ivec sum, ivec four, ivec weights) {
#if defined(__AVX512VNNI__)
    return (ivec)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)four, (__m512i)weights);
#else
    typedef int16_t shorts __attribute__((vector_size(64)));
    const ivec even = four & 0x00ff00ff, odd = (ivec)((uvec)four >> 8) & 0x00ff00ff;
    const ivec even_weights = (ivec)((shorts)((uvec)weights << 8) >> 8), odd_weights = (ivec)((shorts)weights >> 8);
#if defined(__AVX512BW__)
    sum += (ivec)_mm512_madd_epi16((__m512i)even, (__m512i)even_weights);
    return sum + (ivec)_mm512_madd_epi16((__m512i)odd, (__m512i)odd_weights);
#elif defined(__AVX2__)
    __m256i parts[5][2];
    memcpy(parts[0], &sum, sizeof sum), memcpy(parts[1], &even, sizeof sum), memcpy(parts[2], &odd, sizeof sum);
    memcpy(parts[3], &even_weights, sizeof sum), memcpy(parts[4], &odd_weights, sizeof sum);
    for (int half = 0; half < 2; half++) {
        const __m256i added = _mm256_add_epi32(_mm256_madd_epi16(parts[1][half], parts[3][half]),
                                               _mm256_madd_epi16(parts[2][half], parts[4][half]));
        parts[0][half] = _mm256_add_epi32(parts[0][half], added);
    }
    memcpy(&sum, parts[0], sizeof sum);
    return sum;
#else
    const ivec low_even = (ivec)((uvec)even_weights << 16) >> 16, low_odd = (ivec)((uvec)odd_weights << 16) >> 16;
    sum += (even & 0xffff) * low_even + (even >> 16) * (even_weights >> 16);
    return sum + (odd & 0xffff) * low_odd + (odd >> 16) * (odd_weights >> 16);
#endif
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

/* The sums of up to 6 rows stay in registers. */
long panel(const Linear *l, long p, const Input *in, long rows, float *y, long y_row) {
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
