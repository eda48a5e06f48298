/* Stacks of Transformer blocks as flat weights, and what all passes through them are made of. */
#ifndef SACCADE_STACK_H
#define SACCADE_STACK_H

#include <sched.h>
#include <stdlib.h>

#include "linear.h"
#include "vector.h"

#ifdef _OPENMP
#include <omp.h>
#endif

typedef struct {
    const float *weight, *bias; /* NULL: there is no such norm */
    float epsilon;
} LayerNorm;

typedef struct {
    Linear query_key_value, self_output, place_value, place_output, cross_query, cross_output, inner, outer;
    LayerNorm self_norm, place_norm, cross_norm, feed_forward_norm;
    int64_t window;      /* positions to either side that self-attention sees; 0: all */
    const float *places; /* (length, 2, width): queries and keys of positions that look for positions, or NULL */
} Layer;

typedef struct {
    int64_t width, heads, feed_forward, count;
    const Layer *layers;
    const float *embedding; /* (tokens, width) */
    const float *positions; /* (length, width), or NULL */
    LayerNorm final;
    float scale;
    int32_t pre, activation; /* 0 ReLU, 1 GELU, 2 SiLU */
} Stack;

INLINE void normalise(const LayerNorm *norm, float *x, long width) {
    if (!norm->weight) return;
    vec total = {0}, square = {0};
    for (long j = 0; j < width; j += LANES) total += load(x, j, 0);
    const float mean = sum_lanes(total) / (float)width;
    for (long j = 0; j < width; j += LANES) {
        const vec d = load(x, j, 0) - mean;
        square += d * d;
    }
    const float scale = 1 / sqrtf(sum_lanes(square) / (float)width + norm->epsilon);
    for (long j = 0; j < width; j += LANES)
        store(x, j, (load(x, j, 0) - mean) * scale * load(norm->weight, j, 0) + load(norm->bias, j, 0), 0);
}

/* What goes into a sub-layer: x itself, or its norm in `to` where norms come first. */
static const float *before(const Stack *s, const LayerNorm *norm, const float *x, float *to, long rows) {
    if (!s->pre) return x;
    memcpy(to, x, sizeof(float) * (size_t)(rows * s->width));
    for (long i = 0; i < rows; i++) normalise(norm, to + i * s->width, s->width);
    return to;
}

static void after(const Stack *s, const LayerNorm *norm, float *x, const float *y, long rows) {
    for (long j = 0; j < rows * s->width; j += LANES) store(x, j, load(x, j, 0) + load(y, j, 0), 0);
    if (!s->pre)
        for (long i = 0; i < rows; i++) normalise(norm, x + i * s->width, s->width);
}

static void activate(float *x, long count, int kind) {
    if (kind == 1) {
        for (long j = 0; j < count; j++) x[j] = 0.5f * x[j] * (1 + erff(x[j] * 0.70710678f));
        return;
    }
    for (long j = 0; j < count; j += LANES) {
        const vec v = load(x, j, 0), none = {0};
        store(x, j, kind == 0 ? max_vec(v, none) : v / (1 + exp_vec(-max_vec(v, broadcast(-87)))), 0);
    }
}

static void embed(const Stack *s, float *x, int64_t token, long position) {
    const float *from = s->embedding + token * s->width;
    for (long j = 0; j < s->width; j += LANES) {
        vec v = load(from, j, 0) * s->scale;
        if (s->positions) v += load(s->positions, position * s->width + j, 0);
        store(x, j, v, 0);
    }
}

/* softmax of `count` scores in place; the array has room for whole vectors. */
INLINE void softmax(float *scores, long count) {
    for (long j = count; j < round_up(count); j++) scores[j] = -INFINITY;
    vec most = broadcast(-INFINITY), total = {0};
    for (long j = 0; j < count; j += LANES) most = max_vec(load(scores, j, 0), most);
    const float peak = max_lanes(most);
    for (long j = 0; j < count; j += LANES) {
        const vec e = exp_vec(load(scores, j, 0) - peak);
        total += e;
        store(scores, j, e, 0);
    }
    const float scale = 1 / sum_lanes(total);
    for (long j = 0; j < count; j += LANES) store(scores, j, load(scores, j, 0) * scale, 0);
}

#define FAR 512 /* keys that one pass after the other may read: beyond, each page would be looked up many times */
#define NEAR 32 /* keys that are then read for all heads before the next ones are */

/* One query, all heads, over `count` keys, but not number `hidden` where that is not negative. key(j), value(j): where
   those of j begin, `width` floats; scores: room for heads * round_up(count). */
#define ATTEND(s, query, out, count, hidden, scores, key, value) \
    do { \
        const long head = (s)->width / (s)->heads, stride = round_up(count), together = (count) > FAR ? NEAR : (count); \
        const float shrink = 1 / sqrtf((float)head); \
        for (long near = 0; near < (count); near += together) { \
            const long end = near + together < (count) ? near + together : (count); \
            for (long h = 0; h < (s)->heads; h++) \
                for (long j = near; j < end; j++) { \
                    vec dot = {0}; \
                    for (long d = h * head; d < (h + 1) * head; d += LANES) dot += load(query, d, 0) * load(key(j), d, 0); \
                    (scores)[h * stride + j] = sum_lanes(dot) * shrink; \
                } \
        } \
        for (long h = 0; h < (s)->heads; h++) { \
            if ((hidden) >= 0) (scores)[h * stride + (hidden)] = -INFINITY; \
            softmax((scores) + h * stride, count); \
        } \
        for (long near = 0; near < (count); near += together) { \
            const long end = near + together < (count) ? near + together : (count); \
            for (long h = 0; h < (s)->heads; h++) \
                for (long d = h * head; d < (h + 1) * head; d += LANES) { \
                    vec sum = near ? load(out, d, 0) : (vec){0}; \
                    for (long j = near; j < end; j++) sum += (scores)[h * stride + j] * load(value(j), d, 0); \
                    store(out, d, sum, 0); \
                } \
        } \
    } while (0)

/* One query over what an encoder read: memory (count, 2, width), keys and values. */
INLINE void attend_memory(const Stack *s, const float *query, const float *memory, long count, float *out,
                          float *scores) {
#define KEY(j) (memory + (j) * 2 * s->width)
#define VALUE(j) (KEY(j) + s->width)
    ATTEND(s, query, out, count, -1, scores, KEY, VALUE);
#undef VALUE
#undef KEY
}

/* Threads that compute one product together, each its share of the panels. They wait for each other by
   spinning: a product takes microseconds, less than to be woken up. */
typedef struct {
    int size;
    volatile int arrived, round;
} Team;

static void meet(Team *team) {
    if (team->size == 1) return;
    const int round = __atomic_load_n(&team->round, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&team->arrived, 1, __ATOMIC_ACQ_REL) == team->size) {
        __atomic_store_n(&team->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&team->round, round + 1, __ATOMIC_RELEASE);
        return;
    }
    for (long spins = 0; __atomic_load_n(&team->round, __ATOMIC_ACQUIRE) == round; spins++)
        if (spins > 20000) sched_yield(); /* somebody else needs the processor */
}

/* Working memory of one thread for `rows` rows. A team shares y and wide, where products go; everything else
   each member has and computes for itself. Products write to y and wide in turn, so nobody overtakes a reader. */
typedef struct {
    float *all, *x, *y, *wide, *mixed, *scores;
    void *spare;
    Team *team;
    int me;
} Work;

static Team ALONE = {1, 0, 0};

/* scores: room for so many times `longest` scores. */
static Work work_for(const Stack *s, long rows, long longest, long scores) {
    const long widest = s->feed_forward > 3 * s->width ? s->feed_forward : 3 * s->width;
    const long narrow = rows * s->width, bytes = SPARE(rows, widest) / 4 + LANES;
    Work w;
    scores *= round_up(longest);
    w.all = aligned_alloc(64, sizeof(float) * (size_t)round_up(3 * narrow + rows * widest + scores + bytes));
    w.x = w.all;
    w.y = w.x + narrow;
    w.mixed = w.y + narrow;
    w.wide = w.mixed + narrow;
    w.scores = w.wide + rows * widest;
    w.spare = w.scores + scores;
    w.team = &ALONE;
    w.me = 0;
    return w;
}

static void multiply(const Work *w, const Linear *l, const float *x, float *y, long rows) {
    linear(l, x, y, rows, w->spare, w->team->size, w->me);
    meet(w->team);
}

static void feed_forward(const Stack *s, const Layer *layer, const Work *w, long rows) {
    const float *in = before(s, &layer->feed_forward_norm, w->x, w->mixed, rows);
    const Linear *inner = &layer->inner;
    linear(inner, in, w->wide, rows, w->spare, w->team->size, w->me);
    const long first = first_panel(inner, w->team->size, w->me) * PANEL;
    long last = first_panel(inner, w->team->size, w->me + 1) * PANEL;
    last = last < inner->outputs ? last : inner->outputs;
    for (long i = 0; i < rows && first < last; i++)
        activate(w->wide + i * inner->outputs + first, last - first, s->activation);
    meet(w->team);
    multiply(w, &layer->outer, w->wide, w->y, rows);
    after(s, &layer->feed_forward_norm, w->x, w->y, rows);
}

#endif
