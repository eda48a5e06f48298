/* Softmax in place of the logits, with or without the target taken off, and the gradient of R-Drop: one row, or a pair
   of rows, at a time, while it is in the cache. */
#include "status.h"
#include "vector.h"

/* The exponentials of a row, e^(logit - peak), into round_up(classes) floats, 0 behind the last; their sum is
   1 / scale. Returns log sum e^logit. argmax: the likeliest class, of equals the first; NULL: it is not wanted. */
INLINE float exponentials(const void *logits, long classes, float *out, float *scale, int64_t *argmax, int low) {
    const long whole = classes / LANES * LANES;
    vec most = broadcast(-INFINITY);
    for (long j = 0; j < whole; j += LANES) {
        vec x = load(logits, j, low);
        store(out, j, x, 0);
        most = max_vec(x, most);
    }
    float peak = max_lanes(most);
    for (long j = whole; j < classes; j++) {
        out[j] = load_one(logits, j, low);
        peak = out[j] > peak ? out[j] : peak;
    }
    if (argmax) {
        long j = 0;
        while (j < classes - 1 && out[j] != peak) j++;
        *argmax = j;
    }
    for (long j = classes; j < round_up(classes); j++) out[j] = -INFINITY;
    vec total = {0};
    for (long j = 0; j < classes; j += LANES) {
        vec e = exp_vec(load(out, j, 0) - peak);
        store(out, j, e, 0);
        total += e;
    }
    const float sum = sum_lanes(total);
    *scale = 1 / sum;
    return peak + logf(sum);
}

/* In place; scratch, scale, argmax and what is returned: see `exponentials`. */
INLINE float softmax_row(void *logits, long classes, float *scratch, float *scale, int64_t *argmax, int low) {
    const long whole = classes / LANES * LANES;
    const float normaliser = exponentials(logits, classes, scratch, scale, argmax, low);
    for (long j = 0; j < whole; j += LANES) store(logits, j, load(scratch, j, 0) * *scale, low);
    for (long j = whole; j < classes; j++) store_one(logits, j, scratch[j] * *scale, low);
    return normaliser;
}

/* Returns logsumexp - logit of gold. */
INLINE float gradient_row(void *logits, long classes, long gold, float smoothing, float *scratch,
                          float *gold_logit, int low) {
    float scale;
    *gold_logit = load_one(logits, gold, low);
    const float normaliser = softmax_row(logits, classes, scratch, &scale, NULL, low);
    store_one(logits, gold, scratch[gold] * scale + smoothing - 1, low);
    return normaliser - *gold_logit;
}

INLINE int gradient_rows(void *logits, long rows, long classes, const int64_t *gold, float smoothing, float *loss,
                         float *gold_logit, int low) {
    const long bytes = low ? 2 : 4;
    int status = OK;
#pragma omp parallel
    {
        float *scratch = allocate(round_up(classes), sizeof(float));
        if (!scratch) report(&status, NO_MEMORY);
#pragma omp for
        for (long row = 0; row < rows; row++)
            if (scratch)
                loss[row] = gradient_row((char *)logits + row * classes * bytes, classes, gold[row], smoothing,
                                         scratch, &gold_logit[row], low);
        release(scratch);
    }
    return status;
}

/* logits (rows, classes) become softmax - (1 - smoothing) [class = gold]; loss and gold_logit (rows,). */
EXPORT int softmax_gradient(void *logits, long rows, long classes, const int64_t *gold, float smoothing, float *loss,
                            float *gold_logit, int low) {
    if (!all_below(gold, rows, classes)) return BAD_TARGET;
    if (low) return gradient_rows(logits, rows, classes, gold, smoothing, loss, gold_logit, 1);
    return gradient_rows(logits, rows, classes, gold, smoothing, loss, gold_logit, 0);
}

INLINE int softmax_each(void *logits, long rows, long classes, float *normaliser, int64_t *argmax, int low) {
    int status = OK;
#pragma omp parallel
    {
        float *scratch = allocate(round_up(classes), sizeof(float)), scale;
        if (!scratch) report(&status, NO_MEMORY);
#pragma omp for
        for (long row = 0; row < rows; row++)
            if (scratch)
                normaliser[row] = softmax_row((char *)logits + row * classes * (low ? 2 : 4), classes, scratch, &scale,
                                              &argmax[row], low);
        release(scratch);
    }
    return status;
}

/* logits (rows, classes) become their softmax; logsumexp and the likeliest class (rows,). */
EXPORT int softmax_rows(void *logits, long rows, long classes, float *normaliser, int64_t *argmax, int low) {
    if (low) return softmax_each(logits, rows, classes, normaliser, argmax, 1);
    return softmax_each(logits, rows, classes, normaliser, argmax, 0);
}

/* R-Drop of one token: the two rows of logits become the gradient, the token's loss is returned. scratch: three
   rows. p, q: the two distributions; apart: log p - log q. */
INLINE float r_drop_row(void *first, void *second, long classes, long gold, float smoothing, float strength,
                        float *scratch, int low) {
    const long room = round_up(classes), whole = classes / LANES * LANES;
    float *p = scratch, *q = scratch + room, *apart = scratch + 2 * room, scale_p, scale_q;
    const float gold_p = load_one(first, gold, low), gold_q = load_one(second, gold, low);
    const float norm_p = exponentials(first, classes, p, &scale_p, NULL, low);
    const float norm_q = exponentials(second, classes, q, &scale_q, NULL, low);
    for (long j = classes; j < room; j++) apart[j] = 0;
    vec sums = {0};
    for (long j = 0; j < whole; j += LANES) {
        vec a = load(first, j, low) - norm_p, b = load(second, j, low) - norm_q;
        store(apart, j, a - b, 0);
        sums += a + b;
    }
    float sum = sum_lanes(sums);
    for (long j = whole; j < classes; j++) {
        const float a = load_one(first, j, low) - norm_p, b = load_one(second, j, low) - norm_q;
        apart[j] = a - b;
        sum += a + b;
    }
    vec under_p = {0}, under_q = {0};
    for (long j = 0; j < classes; j += LANES) {
        vec l = load(apart, j, 0), x = load(p, j, 0) * scale_p, y = load(q, j, 0) * scale_q;
        store(p, j, x, 0);
        store(q, j, y, 0);
        under_p += x * l;
        under_q += y * l;
    }
    const float kl = sum_lanes(under_p), reverse = -sum_lanes(under_q); /* KL(p || q), KL(q || p) */
    const float quarter = strength / 4, spread = smoothing / classes / 2;
    for (long j = 0; j < room; j += LANES) {
        vec l = load(apart, j, 0), x = load(p, j, 0), y = load(q, j, 0);
        vec d_first = x * 0.5f - spread + (x * (l + (1 - kl)) - y) * quarter;
        vec d_second = y * 0.5f - spread + (y * ((1 - reverse) - l) - x) * quarter;
        store(p, j, d_first, 0);
        store(q, j, d_second, 0);
    }
    p[gold] -= (1 - smoothing) / 2;
    q[gold] -= (1 - smoothing) / 2;
    for (long j = 0; j < whole; j += LANES) {
        store(first, j, load(p, j, 0), low);
        store(second, j, load(q, j, 0), low);
    }
    for (long j = whole; j < classes; j++) {
        store_one(first, j, p[j], low);
        store_one(second, j, q[j], low);
    }
    const float known = (norm_p - gold_p + norm_q - gold_q) / 2;
    return (1 - smoothing) * known - smoothing * sum / classes / 2 + quarter * (kl + reverse);
}

INLINE int r_drop_rows(char *logits, long rows, long classes, const int64_t *gold, float smoothing, float strength,
                       float *loss, int low) {
    const long bytes = (low ? 2 : 4) * classes;
    int status = OK;
#pragma omp parallel
    {
        float *scratch = allocate(3 * round_up(classes), sizeof(float));
        if (!scratch) report(&status, NO_MEMORY);
#pragma omp for
        for (long row = 0; row < rows; row++)
            if (scratch)
                loss[row] = r_drop_row(logits + row * bytes, logits + (rows + row) * bytes, classes, gold[row],
                                       smoothing, strength, scratch, low);
        release(scratch);
    }
    return status;
}

/* logits (2, rows, classes) become the gradient of the R-Drop loss (rows,); gold (rows,). */
EXPORT int r_drop_gradient(void *logits, long rows, long classes, const int64_t *gold, float smoothing, float strength,
                           float *loss, int low) {
    if (!all_below(gold, rows, classes)) return BAD_TARGET;
    if (low) return r_drop_rows(logits, rows, classes, gold, smoothing, strength, loss, 1);
    return r_drop_rows(logits, rows, classes, gold, smoothing, strength, loss, 0);
}
