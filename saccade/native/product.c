/* Products by themselves: all outputs, or the greatest output of each row. */
#include "layout.h"
#include "linear.h"
#include "status.h"
#include "vector.h"

#ifdef _OPENMP
#include <omp.h>
#endif

#define ROWS 96 /* of a block: enough for the products, few enough for the cache */

static int threads_here(void) {
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

/* Threads share out blocks of rows or, where those are too few, the outputs of each block. */
static int shares_of(long blocks) {
    return blocks < threads_here() ? threads_here() : 1;
}

/* x (rows, inputs) to y (rows, outputs). With `lengths`, rows are sequences of `height` each, of which only the first
   lengths[i] count: what comes behind is left alone. */
EXPORT int linear_forward(const Linear *l, const float *x, float *y, long rows, long height, const int64_t *lengths) {
    int status = OK;
    if (!lengths) height = block_size(rows, ROWS, threads_here());
    if (height < 1) return OK;
    const long blocks = (rows + height - 1) / height;
    if (lengths && !all_below(lengths, blocks, height + 1)) return BAD_INDEX;
    const int shares = shares_of(blocks);
#pragma omp parallel for collapse(2) schedule(dynamic) if (blocks * shares > 1)
    for (long block = 0; block < blocks; block++)
        for (int share = 0; share < shares; share++) {
            const long first = block * height, rest = rows - first;
            const long count = lengths ? lengths[block] : rest < height ? rest : height;
            void *quantised = allocate(QUANTISED_BYTES(count, l->inputs), 1);
            if (quantised) linear(l, x + first * l->inputs, y + first * l->outputs, count, quantised, shares, share);
            else report(&status, NO_MEMORY);
            release(quantised);
        }
    return status;
}

/* The softmax of a row, panel by panel, without holding it: its greatest output and the sum of e^(output - peak) so
   far, and the greatest output that is not excluded, with its index. */
typedef struct {
    float peak, total, best;
    int64_t argmax;
} RunningSoftmax;

static const RunningSoftmax EMPTY = {-INFINITY, 0, -INFINITY, 0};

/* Parts come in the order of their outputs: of equals the first stays. */
INLINE void merge(RunningSoftmax *a, float peak, float total, float best, int64_t argmax) {
    const float most = a->peak > peak ? a->peak : peak;
    if (most == -INFINITY) return;
    a->total = a->total * expf(a->peak - most) + total * expf(peak - most);
    a->peak = most;
    if (best > a->best) a->best = best, a->argmax = argmax;
}

/* Outputs first ... first + count - 1 in y, which has room for a whole panel and is overwritten. */
INLINE void add_panel(RunningSoftmax *row, float *y, long count, int64_t first, const int64_t *excluded,
                      long excluded_count) {
    for (long j = count; j < PANEL; j++) y[j] = -INFINITY;
    vec most = broadcast(-INFINITY), total = {0};
    for (long j = 0; j < PANEL; j += LANES) most = max_vec(load(y, j, 0), most);
    const float peak = max_lanes(most);
    for (long j = 0; j < PANEL; j += LANES) total += exp_vec(load(y, j, 0) - peak);
    float best = peak;
    int64_t argmax = -1;
    for (long n = 0; n < excluded_count; n++)
        if (excluded[n] >= first && excluded[n] < first + count) y[excluded[n] - first] = -INFINITY, best = -INFINITY;
    if (best == -INFINITY)
        for (long j = 0; j < PANEL; j++) best = y[j] > best ? y[j] : best;
    if (best > row->best)
        for (long j = count - 1; j >= 0; j--)
            if (y[j] == best) argmax = first + j;
    merge(row, peak, sum_lanes(total), best, argmax);
}

/* One share of the outputs of `count` rows x. */
static int argmax_share(const Linear *l, const float *x, long count, const int64_t *excluded, long excluded_count,
                        int shares, int share, RunningSoftmax *found) {
    float *y = allocate(ROWS * PANEL, sizeof(float));
    void *quantised = allocate(QUANTISED_BYTES(count, l->inputs), 1);
    const int status = y && quantised ? OK : NO_MEMORY;
    if (status == OK) {
        const Input in = input(l, x, count, quantised);
        for (long i = 0; i < count; i++) found[i] = EMPTY;
        for (long p = first_panel(l, shares, share); p < first_panel(l, shares, share + 1); p++) {
            const long columns = panel(l, p, &in, count, y, PANEL);
            for (long i = 0; i < count; i++)
                add_panel(&found[i], y + i * PANEL, columns, p * PANEL, excluded, excluded_count);
        }
    }
    release(quantised);
    release(y);
    return status;
}

/* The index of the greatest output of each row, of equals the first, and its log-probability under a softmax over
   all; excluded (excluded_count,): outputs that count but are not chosen. No row's outputs are ever held. */
EXPORT int linear_argmax(const Linear *l, const float *x, long rows, const int64_t *excluded, long excluded_count,
                         int64_t *argmax, float *log_probs) {
    const long height = block_size(rows, ROWS, threads_here()), blocks = (rows + height - 1) / height;
    const int shares = shares_of(blocks);
    int status = OK;
    RunningSoftmax *all = allocate(rows * shares, sizeof *all); /* (shares, rows) */
    if (!all) return NO_MEMORY;
#pragma omp parallel for collapse(2) schedule(dynamic) if (blocks * shares > 1)
    for (long block = 0; block < blocks; block++)
        for (int share = 0; share < shares; share++) {
            const long first = block * height, count = rows - first < height ? rows - first : height;
            const int error = argmax_share(l, x + first * l->inputs, count, excluded, excluded_count, shares, share,
                                           all + share * rows + first);
            if (error) report(&status, error);
        }
    for (long i = 0; i < rows && status == OK; i++) {
        for (int share = 1; share < shares; share++) {
            const RunningSoftmax *other = &all[share * rows + i];
            merge(&all[i], other->peak, other->total, other->best, other->argmax);
        }
        argmax[i] = all[i].argmax;
        log_probs[i] = all[i].best - all[i].peak - logf(all[i].total);
    }
    release(all);
    return status;
}

LAYOUT(Linear, FIELD(Linear, inputs), FIELD(Linear, outputs), FIELD(Linear, weight), FIELD(Linear, scale),
       FIELD(Linear, total), FIELD(Linear, bias));
