/* Softmax minus target, in place of the logits, and the loss: one row at a time, while it is in the cache. */
#include <stdlib.h>

#include "vector.h"

/* Scratch: round_up(classes) floats. Returns logsumexp - logit of gold. */
INLINE float gradient_row(void *logits, long classes, long gold, float smoothing, float *scratch,
                          float *gold_logit, int low) {
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
    for (long j = classes; j < round_up(classes); j++) scratch[j] = -INFINITY;
    vec total = {0};
    for (long j = 0; j < classes; j += LANES) {
        vec e = exp_vec(load(scratch, j, 0) - peak);
        store(scratch, j, e, 0);
        total += e;
    }
    float sum = sum_lanes(total), scale = 1 / sum;
    *gold_logit = load_one(logits, gold, low);
    for (long j = 0; j < whole; j += LANES) store(logits, j, load(scratch, j, 0) * scale, low);
    for (long j = whole; j < classes; j++) store_one(logits, j, scratch[j] * scale, low);
    store_one(logits, gold, scratch[gold] * scale + smoothing - 1, low);
    return peak + logf(sum) - *gold_logit;
}

INLINE void gradient_rows(void *logits, long rows, long classes, const int64_t *gold, float smoothing,
                          float *loss, float *gold_logit, int low) {
    const long bytes = low ? 2 : 4;
#pragma omp parallel
    {
        float *scratch = malloc(sizeof(float) * (size_t)round_up(classes));
#pragma omp for
        for (long row = 0; row < rows; row++)
            loss[row] = gradient_row((char *)logits + row * classes * bytes, classes, gold[row], smoothing,
                                     scratch, &gold_logit[row], low);
        free(scratch);
    }
}

/* logits (rows, classes) become softmax - (1 - smoothing) [class = gold]; loss and gold_logit (rows,). */
EXPORT void softmax_gradient(void *logits, long rows, long classes, const int64_t *gold, float smoothing,
                             float *loss, float *gold_logit, int low) {
    if (low) gradient_rows(logits, rows, classes, gold, smoothing, loss, gold_logit, 1);
    else gradient_rows(logits, rows, classes, gold, smoothing, loss, gold_logit, 0);
}
