/* What search does with the logits of a step: log-probabilities, and the few best of many. */
#include "vector.h"

static void log_softmax_row(float *x, long count) {
    const long whole = count / LANES * LANES;
    vec most = broadcast(-INFINITY), total = {0};
    for (long j = 0; j < whole; j += LANES) most = max_vec(load(x, j, 0), most);
    float peak = max_lanes(most), sum = 0;
    for (long j = whole; j < count; j++) peak = x[j] > peak ? x[j] : peak;
    for (long j = 0; j < whole; j += LANES) total += exp_vec(load(x, j, 0) - peak);
    for (long j = whole; j < count; j++) sum += expf(x[j] - peak);
    const float shift = peak + logf(sum_lanes(total) + sum);
    for (long j = 0; j < whole; j += LANES) store(x, j, load(x, j, 0) - shift, 0);
    for (long j = whole; j < count; j++) x[j] -= shift;
}

EXPORT void log_softmax(float *x, long rows, long count) {
#pragma omp parallel for if (rows > 8)
    for (long i = 0; i < rows; i++) log_softmax_row(x + i * count, count);
}

/* Insert into `found` values, best first; of equals the earlier one stays first. */
INLINE void insert(float *values, int64_t *places, long wanted, float value, long place) {
    long i = wanted - 1;
    for (; i > 0 && values[i - 1] < value; i--) {
        values[i] = values[i - 1];
        places[i] = places[i - 1];
    }
    values[i] = value;
    places[i] = place;
}

/* Most vectors hold nothing better than the worst found so far: one comparison each. */
static void top_row(const float *x, long count, long wanted, float *values, int64_t *places) {
    const long whole = count / (4 * LANES) * 4 * LANES;
    long j = 0;
    for (; j < wanted; j++) { /* the first ones, sorted */
        values[j] = -INFINITY;
        insert(values, places, j + 1, x[j], j);
    }
    for (; j < count && j % (4 * LANES); j++)
        if (x[j] > values[wanted - 1]) insert(values, places, wanted, x[j], j);
    for (; j < whole; j += 4 * LANES) {
        vec most = max_vec(max_vec(load(x, j, 0), load(x, j + LANES, 0)),
                           max_vec(load(x, j + 2 * LANES, 0), load(x, j + 3 * LANES, 0)));
        if (!(max_lanes(most) > values[wanted - 1])) continue;
        for (long i = j; i < j + 4 * LANES; i++)
            if (x[i] > values[wanted - 1]) insert(values, places, wanted, x[i], i);
    }
    for (; j < count; j++)
        if (x[j] > values[wanted - 1]) insert(values, places, wanted, x[j], j);
}

/* The `wanted` best of each row of x (rows, count), best first; values and places (rows, wanted). */
EXPORT void top_k(const float *x, long rows, long count, long wanted, float *values, int64_t *places) {
#pragma omp parallel for if (rows > 8)
    for (long i = 0; i < rows; i++) top_row(x + i * count, count, wanted, values + i * wanted, places + i * wanted);
}
