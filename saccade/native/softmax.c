/* Softmax in place of the logits, with or without the target taken off: one row at a time, while it is in the cache. */
#include "status.h"
#include "vector.h"

/* In place; returns log sum e^logit. Scratch: round_up(classes) floats, e^(logit - peak) afterwards, whose sum is
   1 / scale. argmax: the likeliest class, of equals the first; NULL: it is not wanted. */
INLINE float softmax_row(void *logits, long classes, float *scratch, float *scale, int64_t *argmax, int low) {
    const long whole = classes / LANES * LANES;
    vec most = broadcast(-INFINITY);
    for (long j = 0; j < whole; j += LANES) {
        vec x = load(logits, j, low);
        store(scratch, j, x, 0);
        most = max_vec(x, most);
    }
    float peak = max_lanes(most);
    for (long j = whole; j < classes; j++) {
        scratch[j] = load_one(logits, j, low);
        peak = scratch[j] > peak ? scratch[j] : peak;
    }
    if (argmax) {
        long j = 0;
        while (j < classes - 1 && scratch[j] != peak) j++;
        *argmax = j;
    }
    for (long j = classes; j < round_up(classes); j++) scratch[j] = -INFINITY;
    vec total = {0};
    for (long j = 0; j < classes; j += LANES) {
        vec e = exp_vec(load(scratch, j, 0) - peak);
        store(scratch, j, e, 0);
        total += e;
    }
    const float sum = sum_lanes(total);
    *scale = 1 / sum;
    for (long j = 0; j < whole; j += LANES) store(logits, j, load(scratch, j, 0) * *scale, low);
    for (long j = whole; j < classes; j++) store_one(logits, j, scratch[j] * *scale, low);
    return peak + logf(sum);
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
