/* Dropout; and LayerNorm(x + Dropout(y)) with its gradient, a row at a time. */
#include "layout.h"
#include "random.h"
#include "vector.h"

/* to = from * mask: the forward pass of dropout, and its backward pass. rows of `width` elements. */
INLINE void drop_rows(const void *from, void *to, long rows, long width, uint32_t drop, uint64_t seed, int low) {
    const long whole = width / LANES * LANES;
#pragma omp parallel for
    for (long i = 0; i < rows; i++) {
        long j = 0;
        for (; j < whole; j += LANES) {
            vec mask = kept_at(seed, (uint32_t)i, j, drop);
            store(to, i * width + j, load(from, i * width + j, low) * mask, low);
        }
        if (j < width) {
            vec mask = kept_at(seed, (uint32_t)i, j, drop);
            for (; j < width; j++) store_one(to, i * width + j, load_one(from, i * width + j, low) * mask[j - whole], low);
        }
    }
}

EXPORT void dropout(const void *from, void *to, long rows, long width, uint32_t drop, uint64_t seed, int low) {
    if (low) drop_rows(from, to, rows, width, drop, seed, 1);
    else drop_rows(from, to, rows, width, drop, seed, 0);
}

typedef struct {
    int64_t rows, width;
    float epsilon;
    uint32_t drop;
    uint64_t seed;
    const float *weight, *bias; /* (width,) */
    float *sum, *mean, *scale;  /* x + Dropout(y) (rows, width); mean and 1 / deviation (rows,) */
    int32_t low;                /* y is bfloat16; all else is float */
    int32_t threads;
} ResidualNorm;

/* Width is a multiple of LANES. */
INLINE void norm_rows(const ResidualNorm *a, const float *x, const void *y, float *out, int low) {
    const long width = a->width;
#pragma omp parallel for
    for (long i = 0; i < a->rows; i++) {
        float *sum = a->sum + i * width;
        vec total = {0}, square = {0};
        for (long j = 0; j < width; j += LANES) {
            vec added = load(y, i * width + j, low);
            if (a->drop) added *= kept_at(a->seed, (uint32_t)i, j, a->drop);
            vec s = load(x, i * width + j, 0) + added;
            total += s;
            store(sum, j, s, 0);
        }
        const float mean = sum_lanes(total) / (float)width;
        for (long j = 0; j < width; j += LANES) {
            vec d = load(sum, j, 0) - mean;
            square += d * d;
        }
        const float scale = 1 / sqrtf(sum_lanes(square) / (float)width + a->epsilon);
        for (long j = 0; j < width; j += LANES) {
            vec z = (load(sum, j, 0) - mean) * scale;
            store(out, i * width + j, z * load(a->weight, j, 0) + load(a->bias, j, 0), 0);
        }
        a->mean[i] = mean;
        a->scale[i] = scale;
    }
}

/* part (2, width): the gradients of weight and bias from this thread's rows. */
INLINE void slope_row(const ResidualNorm *a, const float *outer, float *to_x, void *to_y, float *part, long i, int low) {
    const long width = a->width;
    const float mean = a->mean[i], scale = a->scale[i];
    const float *sum = a->sum + i * width;
    outer += i * width;
    vec total = {0}, along = {0};
    for (long j = 0; j < width; j += LANES) {
        vec z = (load(sum, j, 0) - mean) * scale, g = load(outer, j, 0), w = g * load(a->weight, j, 0);
        total += w;
        along += w * z;
        store(part, j, load(part, j, 0) + g * z, 0);
        store(part, width + j, load(part, width + j, 0) + g, 0);
    }
    const float shift = sum_lanes(total) / (float)width, slope = sum_lanes(along) / (float)width;
    for (long j = 0; j < width; j += LANES) {
        vec z = (load(sum, j, 0) - mean) * scale;
        vec d = (load(outer, j, 0) * load(a->weight, j, 0) - shift - z * slope) * scale;
        store(to_x, i * width + j, d, 0);
        if (a->drop) d *= kept_at(a->seed, (uint32_t)i, j, a->drop);
        store(to_y, i * width + j, d, low);
    }
}

/* Each of `threads` threads has its share of the rows and its own part: sums are the same in every run. */
INLINE void slope_rows(const ResidualNorm *a, const float *outer, float *to_x, void *to_y, float *parts, int low) {
#pragma omp parallel for num_threads(a->threads)
    for (long t = 0; t < a->threads; t++)
        for (long i = a->rows * t / a->threads; i < a->rows * (t + 1) / a->threads; i++)
            slope_row(a, outer, to_x, to_y, parts + 2 * t * a->width, i, low);
}

EXPORT void norm_forward(const ResidualNorm *a, const float *x, const void *y, float *out) {
    if (a->low) norm_rows(a, x, y, out, 1);
    else norm_rows(a, x, y, out, 0);
}

/* parts (threads, 2, width) start as zeros; their sum over threads is the gradient of weight and bias. */
EXPORT void norm_backward(const ResidualNorm *a, const float *outer, float *to_x, void *to_y, float *parts) {
    if (a->low) slope_rows(a, outer, to_x, to_y, parts, 1);
    else slope_rows(a, outer, to_x, to_y, parts, 0);
}

LAYOUT(ResidualNorm, FIELD(ResidualNorm, rows), FIELD(ResidualNorm, width), FIELD(ResidualNorm, epsilon),
       FIELD(ResidualNorm, drop), FIELD(ResidualNorm, seed), FIELD(ResidualNorm, weight), FIELD(ResidualNorm, bias),
       FIELD(ResidualNorm, sum), FIELD(ResidualNorm, mean), FIELD(ResidualNorm, scale), FIELD(ResidualNorm, low),
       FIELD(ResidualNorm, threads));
