/* Stacks of Transformer blocks as flat weights, and what all passes through them are made of.

   Key
     Linear     One matrix and its bias, packed in panels of 64 outputs (linear.h).
     LayerNorm  Gain and bias of one normalisation.
     Layer      One block: self-attention, attention between positions, cross-attention (the last two may be missing),
                feed-forward.
     Stack      All layers of an encoder or a decoder, with the embedding in front and the norm at the end.
     Sequences  A call with whole sequences (sequences.c): an encoder, or a decoder that is given all its tokens.
     Step       A call with one more token of each hypothesis (step.c).
     Workspace  Scratch memory of one thread during a call.
     Barrier    Where threads that compute one product together wait for each other.

   Stack and everything in it are only read, so any number of threads may use one at the same time. Whatever depends on
   the call (tables of positions, too, which grow with the longest sentence so far) is part of the call.

   Axes
     rows       Positions of sequences without padding, or hypotheses: what a product takes one after another.
     width      Of the model; heads lie next to each other in it: (heads, head width).
     tables     Row-major, the last axis without gaps, in the order in which the comments name the axes.
   Self-attention's products give (rows, 3, width): query, key and value of each position. Keys and values of a memory,
   and of a hypothesis's past, lie together as (positions, 2, width), so that one position is read in one go.
   Widths of model, heads and feed-forward layers are multiples of 16, and so of LANES: no loop over them has a remainder. */
#ifndef SACCADE_STACK_H
#define SACCADE_STACK_H

#include <sched.h>

#include "linear.h"
#include "status.h"
#include "vector.h"

#ifdef _OPENMP
#include <omp.h>
#endif

typedef struct {
    const float *weight, *bias; /* (width,); NULL: there is no such norm */
    float epsilon;
} LayerNorm;

typedef struct {
    Linear query_key_value, self_output, positional_value, positional_output, cross_query, cross_output, inner, outer;
    LayerNorm self_norm, positional_norm, cross_norm, feed_forward_norm;
    int64_t window; /* positions to either side that self-attention may look at; 0: all */
} Layer;

enum { RELU, GELU, SILU };

typedef struct {
    int64_t width, heads, feed_forward, count;
    const Layer *layers; /* (count,) */
    const float *embedding; /* (vocabulary, width) */
    int64_t vocabulary;
    LayerNorm final;
    float scale; /* of embeddings */
    int32_t pre_norm, activation;
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
static const float *sublayer_input(const Stack *s, const LayerNorm *norm, const float *x, float *to, long rows) {
    if (!s->pre_norm) return x;
    memcpy(to, x, sizeof(float) * (size_t)(rows * s->width));
    for (long i = 0; i < rows; i++) normalise(norm, to + i * s->width, s->width);
    return to;
}

/* x + y, what a sub-layer made of it; the norm of the sum where norms come last. */
static void add_residual(const Stack *s, const LayerNorm *norm, float *x, const float *y, long rows) {
    for (long j = 0; j < rows * s->width; j += LANES) store(x, j, load(x, j, 0) + load(y, j, 0), 0);
    if (!s->pre_norm)
        for (long i = 0; i < rows; i++) normalise(norm, x + i * s->width, s->width);
}

static void activate(float *x, long count, int kind) {
    if (kind == GELU) {
        for (long j = 0; j < count; j++) x[j] = 0.5f * x[j] * (1 + erff(x[j] * 0.70710678f));
        return;
    }
    for (long j = 0; j < count; j += LANES) {
        const vec v = load(x, j, 0), none = {0};
        store(x, j, kind == RELU ? max_vec(v, none) : v / (1 + exp_vec(-max_vec(v, broadcast(-87)))), 0);
    }
}

/* positions (length, width), or NULL: added to the token's scaled embedding. */
static void embed(const Stack *s, const float *positions, float *x, int64_t token, long position) {
    const float *from = s->embedding + token * s->width;
    for (long j = 0; j < s->width; j += LANES) {
        vec v = load(from, j, 0) * s->scale;
        if (positions) v += load(positions, position * s->width + j, 0);
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

/* Heads are computed one after another over all keys, unless those are so many that each head would find the
   processor's list of pages (TLB) overwritten: then NEAR keys are read for all heads before the next ones are. */
#define FAR 512
#define NEAR 32

/* One query, all heads, over `count` keys; number `hidden` is left out unless it is negative. key(j), value(j): where
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
    int threads;
    int arrived, phase; /* only touched by atomic operations */
} Barrier;

/* barrier: NULL for a thread that computes alone. */
static void wait_for_all(Barrier *barrier) {
    if (!barrier || barrier->threads == 1) return;
    const int phase = __atomic_load_n(&barrier->phase, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&barrier->arrived, 1, __ATOMIC_ACQ_REL) == barrier->threads) {
        __atomic_store_n(&barrier->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&barrier->phase, phase + 1, __ATOMIC_RELEASE);
        return;
    }
    for (long spins = 0; __atomic_load_n(&barrier->phase, __ATOMIC_ACQUIRE) == phase; spins++)
        if (spins > 20000) sched_yield(); /* the thread that is waited for may need this processor */
}

/* Working memory of one thread for `rows` rows. Threads that share a barrier share `y` and `projected` as well, where
   products go; everything else each of them has and computes for itself. Products write to these two in turn, so that
   nobody overwrites what another thread still reads. */
typedef struct {
    void *all;            /* NULL: there was no memory */
    float *x;             /* (rows, width): the residual stream */
    float *y;             /* (rows, width): what a sub-layer adds to it */
    float *context;       /* (rows, width): a sub-layer's normalised input, then what attention found */
    float *projected;     /* (rows, 3 width or feed_forward): queries, keys and values, or hidden units */
    float *scores;        /* attention's */
    const float **past;   /* (longest,): where the keys of a hypothesis lie */
    void *quantised;      /* see `input` */
    Barrier *barrier;
    int threads, thread;  /* that compute each product together; this one's number */
} Workspace;

/* longest: positions that attention may look at; score_rows: rows of so many scores that are held at a time. */
static Workspace make_workspace(const Stack *s, long rows, long longest, long score_rows) {
    const long widest = s->feed_forward > 3 * s->width ? s->feed_forward : 3 * s->width;
    const long narrow = rows * s->width, wide = rows * widest, scores = score_rows * round_up(longest);
    const long pointers = round_up(longest) * 2; /* each takes the room of two floats */
    const long quantised = QUANTISED_BYTES(rows, widest) / 4 + LANES;
    Workspace w = {.threads = 1};
    float *next = w.all = allocate(3 * narrow + wide + scores + pointers + quantised, sizeof(float));
    if (!w.all) return w;
    w.x = next, next += narrow;
    w.y = next, next += narrow;
    w.context = next, next += narrow;
    w.projected = next, next += wide;
    w.scores = next, next += scores;
    w.past = (const float **)next, next += pointers;
    w.quantised = next;
    return w;
}

/* y = the product of x (rows, inputs), complete when this returns. */
static void multiply(const Workspace *w, const Linear *l, const float *x, float *y, long rows) {
    linear(l, x, y, rows, w->quantised, w->threads, w->thread);
    wait_for_all(w->barrier);
}

static void feed_forward(const Stack *s, const Layer *layer, const Workspace *w, long rows) {
    const float *in = sublayer_input(s, &layer->feed_forward_norm, w->x, w->context, rows);
    const Linear *inner = &layer->inner;
    linear(inner, in, w->projected, rows, w->quantised, w->threads, w->thread);
    /* Each thread activates the outputs that it has computed: no waiting in between. */
    const long first = first_panel(inner, w->threads, w->thread) * PANEL;
    long last = first_panel(inner, w->threads, w->thread + 1) * PANEL;
    last = last < inner->outputs ? last : inner->outputs;
    for (long i = 0; i < rows && first < last; i++)
        activate(w->projected + i * inner->outputs + first, last - first, s->activation);
    wait_for_all(w->barrier);
    multiply(w, &layer->outer, w->projected, w->y, rows);
    add_residual(s, &layer->feed_forward_norm, w->x, w->y, rows);
}

#endif
