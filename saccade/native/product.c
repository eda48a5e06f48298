/* Products by themselves: all outputs, or the likeliest one of each row. */
#include "linear.h"
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
EXPORT void linear_forward(const Linear *l, const float *x, float *y, long rows, long height, const int64_t *lengths) {
    if (!lengths) height = block_size(rows, ROWS, threads_here());
    const long blocks = (rows + height - 1) / height;
    const int shares = shares_of(blocks);
#pragma omp parallel for collapse(2) schedule(dynamic) if (blocks * shares > 1)
    for (long block = 0; block < blocks; block++)
        for (int share = 0; share < shares; share++) {
            const long first = block * height, rest = rows - first;
            const long count = lengths ? lengths[block] : rest < height ? rest : height;
            void *spare = malloc((size_t)SPARE(count, l->inputs));
            linear(l, x + first * l->inputs, y + first * l->outputs, count, spare, shares, share);
            free(spare);
        }
}

/* What is known of a row's outputs so far: the greatest, the sum of e^(output - peak), and the greatest that may be
   chosen with its place. */
typedef struct {
    float peak, total, best;
    int64_t place;
} Seen;

static const Seen NOTHING = {-INFINITY, 0, -INFINITY, 0};

INLINE void join(Seen *a, float peak, float total, float best, int64_t place) {
    const float most = a->peak > peak ? a->peak : peak;
    if (most == -INFINITY) return;
    a->total = a->total * expf(a->peak - most) + total * expf(peak - most);
    a->peak = most;
    if (best > a->best) a->best = best, a->place = place;
}

INLINE void see(Seen *seen, float *y, long count, int64_t first, const int64_t *never, long nevers) {
    for (long j = count; j < PANEL; j++) y[j] = -INFINITY;
    vec most = broadcast(-INFINITY), total = {0};
    for (long j = 0; j < PANEL; j += LANES) most = max_vec(load(y, j, 0), most);
    const float peak = max_lanes(most);
    for (long j = 0; j < PANEL; j += LANES) total += exp_vec(load(y, j, 0) - peak);
    float best = peak;
    int64_t place = -1;
    for (long n = 0; n < nevers; n++)
        if (never[n] >= first && never[n] < first + count) y[never[n] - first] = -INFINITY, best = -INFINITY;
    if (best == -INFINITY)
        for (long j = 0; j < PANEL; j++) best = y[j] > best ? y[j] : best;
    if (best > seen->best)
        for (long j = count - 1; j >= 0; j--)
            if (y[j] == best) place = first + j;
    join(seen, peak, sum_lanes(total), best, place);
}

/* The place of the greatest output of each row, of equals the first, and its log-probability under a softmax over
   all; `never` (nevers,): places that count but are not taken. No row's outputs are ever held. */
EXPORT void linear_likeliest(const Linear *l, const float *x, long rows, const int64_t *never, long nevers,
                             int64_t *places, float *log_probs) {
    const long height = block_size(rows, ROWS, threads_here()), blocks = (rows + height - 1) / height;
    const int shares = shares_of(blocks);
    Seen *all = malloc(sizeof(Seen) * (size_t)(rows * shares + 1));
#pragma omp parallel for collapse(2) schedule(dynamic) if (blocks * shares > 1)
    for (long block = 0; block < blocks; block++)
        for (int share = 0; share < shares; share++) {
            const long first = block * height, count = rows - first < height ? rows - first : height;
            Seen *seen = all + share * rows + first;
            float *y = aligned_alloc(64, sizeof(float) * ROWS * PANEL);
            void *spare = malloc((size_t)SPARE(count, l->inputs));
            const Input in = input(l, x + first * l->inputs, count, spare);
            for (long i = 0; i < count; i++) seen[i] = NOTHING;
            for (long p = first_panel(l, shares, share); p < first_panel(l, shares, share + 1); p++) {
                const long columns = panel(l, p, &in, count, y, PANEL);
                for (long i = 0; i < count; i++) see(&seen[i], y + i * PANEL, columns, p * PANEL, never, nevers);
            }
            free(spare);
            free(y);
        }
    for (long i = 0; i < rows; i++) {
        for (int share = 1; share < shares; share++) {
            const Seen *other = &all[share * rows + i];
            join(&all[i], other->peak, other->total, other->best, other->place);
        }
        places[i] = all[i].place;
        log_probs[i] = all[i].best - all[i].peak - logf(all[i].total);
    }
    free(all);
}
