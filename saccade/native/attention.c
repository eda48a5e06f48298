/* Attention over short sequences, forward and backward: one head of one sentence at a time, in the cache. */
#include "layout.h"
#include "random.h"
#include "status.h"
#include "vector.h"

/* (batch, head, row, width) with any strides, counted in elements, but for the last axis. */
typedef struct {
    void *data;
    int64_t batch, head, row;
} View;

typedef struct {
    int64_t batch, heads, queries, keys, width;
    const uint8_t *visible; /* (batch, keys), 1 = may look; or NULL */
    int32_t causal, low;
    float scale;
    uint32_t drop; /* of 65,536 weights so many are dropped */
    uint64_t seed;
    float *logsumexp; /* (batch, heads, queries) */
} Attention;

/* 1 / share kept where a weight stays, 0 where it is dropped. `row` counts queries of all heads. */
INLINE vec kept(const Attention *a, long row, long key) { return kept_at(a->seed, (uint32_t)row, key, a->drop); }

static const void *head_of(const View *x, long batch, long head, int low) {
    return (const char *)x->data + (low ? 2 : 4) * (batch * x->batch + head * x->head);
}

/* A head's rows as floats, each filled up to whole vectors with zeros. */
INLINE void widen(float *to, const View *x, long batch, long head, long rows, long width, float scale, int low) {
    const void *from = head_of(x, batch, head, low);
    const long padded = round_up(width), whole = width / LANES * LANES;
    for (long i = 0; i < rows; i++) {
        for (long d = 0; d < whole; d += LANES) store(to, i * padded + d, load(from, i * x->row + d, low) * scale, 0);
        for (long d = whole; d < width; d++) to[i * padded + d] = load_one(from, i * x->row + d, low) * scale;
        for (long d = width; d < padded; d++) to[i * padded + d] = 0;
    }
}

INLINE void narrow(const View *x, long batch, long head, const float *from, long rows, long width, float scale,
                   int low) {
    void *to = (void *)head_of(x, batch, head, low);
    const long padded = round_up(width), whole = width / LANES * LANES;
    for (long i = 0; i < rows; i++) {
        for (long d = 0; d < whole; d += LANES) store(to, i * x->row + d, load(from, i * padded + d, 0) * scale, low);
        for (long d = whole; d < width; d++) store_one(to, i * x->row + d, from[i * padded + d] * scale, low);
    }
}

/* to (columns, round_up(rows)) = the transpose of from (rows, columns), filled up with zeros. */
static void transpose(float *to, const float *from, long rows, long columns, long from_row) {
    const long padded = round_up(rows);
    for (long j = 0; j < columns; j++) {
        for (long i = 0; i < rows; i++) to[j * padded + i] = from[i * from_row + j];
        for (long i = rows; i < padded; i++) to[j * padded + i] = 0;
    }
}

/* -inf on the scores that query `i` may not see, and on those that fill up the row; returns how many it may see. */
INLINE long hide(const Attention *a, float *scores, long batch, long i) {
    const long past = a->causal && i + 1 < a->keys ? i + 1 : a->keys;
    long seen = past;
    if (a->visible)
        for (long j = 0; j < past; j++)
            if (!a->visible[batch * a->keys + j]) {
                scores[j] = -INFINITY;
                seen--;
            }
    for (long j = past; j < round_up(a->keys); j++) scores[j] = -INFINITY;
    return seen;
}

typedef struct {
    float *query, *key, *value, *out, *transposed_key, *transposed_value, *weights, *gradient, *transposed, *row;
} Scratch;

/* NULL: there is no memory. */
static float *make_scratch(const Attention *a, Scratch *s) {
    const long width = round_up(a->width), keys = round_up(a->keys), queries = round_up(a->queries);
    const long longest = keys > queries ? keys : queries;
    const long sizes[] = {queries * width, keys * width, longest * width, longest * width, width * keys,
                          width * keys, queries * keys, queries * keys, keys * queries, keys};
    float **parts[] = {&s->query,            &s->key,     &s->value,    &s->out,        &s->transposed_key,
                       &s->transposed_value, &s->weights, &s->gradient, &s->transposed, &s->row};
    long total = 0;
    for (int i = 0; i < 10; i++) total += sizes[i];
    float *all = allocate(total, sizeof(float)), *next = all;
    if (!all) return NULL;
    for (int i = 0; i < 10; i++) {
        *parts[i] = next;
        next += sizes[i];
    }
    return all;
}

INLINE void forward_head(const Attention *a, const Scratch *s, const View *in, const View *out, long batch,
                         long head, int low) {
    const View *query = in, *key = in + 1, *value = in + 2;
    const long width = round_up(a->width), keys = round_up(a->keys);
    const long first = (batch * a->heads + head) * a->queries;
    widen(s->query, query, batch, head, a->queries, a->width, a->scale, low);
    widen(s->key, key, batch, head, a->keys, a->width, 1, low);
    widen(s->value, value, batch, head, a->keys, a->width, 1, low);
    transpose(s->transposed_key, s->key, a->keys, a->width, width);
    product(s->query, width, s->transposed_key, keys, s->weights, keys, a->queries, keys, a->width);
    for (long i = 0; i < a->queries; i++) {
        float *row = s->weights + i * keys;
        if (!hide(a, row, batch, i)) {
            memset(row, 0, sizeof(float) * (size_t)keys);
            a->logsumexp[first + i] = INFINITY;
            continue;
        }
        vec most = broadcast(-INFINITY), total = {0};
        for (long j = 0; j < keys; j += LANES) most = max_vec(load(row, j, 0), most);
        const float peak = max_lanes(most);
        for (long j = 0; j < keys; j += LANES) {
            vec e = exp_vec(load(row, j, 0) - peak);
            total += e;
            store(row, j, e, 0);
        }
        float sum = sum_lanes(total), scale = 1 / sum;
        a->logsumexp[first + i] = peak + logf(sum);
        for (long j = 0; j < keys; j += LANES) {
            vec w = load(row, j, 0) * scale;
            store(row, j, a->drop ? w * kept(a, first + i, j) : w, 0);
        }
    }
    product(s->weights, keys, s->value, width, s->out, width, a->queries, width, a->keys);
    narrow(out, batch, head, s->out, a->queries, a->width, 1, low);
}

/* With weights P, dropped ones P', and their gradient G: dV = P'^T dO, dS = P (G - sum_j P G), dQ = dS K, dK = dS^T Q. */
INLINE void backward_head(const Attention *a, const Scratch *s, const View *in, const View *outer,
                          const View *to, long batch, long head, int low) {
    const View *query = in, *key = in + 1, *value = in + 2;
    const long width = round_up(a->width), keys = round_up(a->keys), queries = round_up(a->queries);
    const long first = (batch * a->heads + head) * a->queries;
    widen(s->query, query, batch, head, a->queries, a->width, a->scale, low);
    widen(s->key, key, batch, head, a->keys, a->width, 1, low);
    widen(s->value, value, batch, head, a->keys, a->width, 1, low);
    widen(s->out, outer, batch, head, a->queries, a->width, 1, low);
    transpose(s->transposed_key, s->key, a->keys, a->width, width);
    transpose(s->transposed_value, s->value, a->keys, a->width, width);
    product(s->query, width, s->transposed_key, keys, s->weights, keys, a->queries, keys, a->width);
    product(s->out, width, s->transposed_value, keys, s->gradient, keys, a->queries, keys, a->width);
    for (long i = 0; i < a->queries; i++) {
        float *row = s->weights + i * keys, *slope = s->gradient + i * keys;
        hide(a, row, batch, i);
        vec total = {0};
        for (long j = 0; j < keys; j += LANES) {
            vec w = exp_vec(load(row, j, 0) - a->logsumexp[first + i]), g = load(slope, j, 0);
            vec mask = a->drop ? kept(a, first + i, j) : broadcast(1);
            total += w * mask * g;
            store(row, j, w * mask, 0);
            store(slope, j, g * mask, 0);
            store(s->row, j, w, 0);
        }
        const float mean = sum_lanes(total);
        for (long j = 0; j < keys; j += LANES)
            store(slope, j, load(s->row, j, 0) * (load(slope, j, 0) - mean), 0);
    }
    transpose(s->transposed, s->weights, a->queries, a->keys, keys);
    product(s->transposed, queries, s->out, width, s->value, width, a->keys, width, a->queries);
    narrow(to + 2, batch, head, s->value, a->keys, a->width, 1, low);
    transpose(s->transposed, s->gradient, a->queries, a->keys, keys);
    product(s->transposed, queries, s->query, width, s->value, width, a->keys, width, a->queries);
    narrow(to + 1, batch, head, s->value, a->keys, a->width, 1, low);
    product(s->gradient, keys, s->key, width, s->query, width, a->queries, width, a->keys);
    narrow(to, batch, head, s->query, a->queries, a->width, a->scale, low);
}

/* in: query, key, value. out (batch, heads, queries, width) = weighted sums of values. */
EXPORT int attention_forward(const Attention *a, const View *in, const View *out) {
    int status = OK;
#pragma omp parallel
    {
        Scratch s;
        float *all = make_scratch(a, &s);
        if (!all) report(&status, NO_MEMORY);
#pragma omp for
        for (long i = 0; i < a->batch * a->heads; i++) {
            if (!all) continue; /* every thread has to come to the end of the loop */
            if (a->low) forward_head(a, &s, in, out, i / a->heads, i % a->heads, 1);
            else forward_head(a, &s, in, out, i / a->heads, i % a->heads, 0);
        }
        release(all);
    }
    return status;
}

/* outer: gradient of `out`; to: gradients of query, key, value. */
EXPORT int attention_backward(const Attention *a, const View *in, const View *outer, const View *to) {
    int status = OK;
#pragma omp parallel
    {
        Scratch s;
        float *all = make_scratch(a, &s);
        if (!all) report(&status, NO_MEMORY);
#pragma omp for
        for (long i = 0; i < a->batch * a->heads; i++) {
            if (!all) continue; /* every thread has to come to the end of the loop */
            if (a->low) backward_head(a, &s, in, outer, to, i / a->heads, i % a->heads, 1);
            else backward_head(a, &s, in, outer, to, i / a->heads, i % a->heads, 0);
        }
        release(all);
    }
    return status;
}

LAYOUT(View, FIELD(View, data), FIELD(View, batch), FIELD(View, head), FIELD(View, row));
LAYOUT(Attention, FIELD(Attention, batch), FIELD(Attention, heads), FIELD(Attention, queries), FIELD(Attention, keys),
       FIELD(Attention, width), FIELD(Attention, visible), FIELD(Attention, causal), FIELD(Attention, low),
       FIELD(Attention, scale), FIELD(Attention, drop), FIELD(Attention, seed), FIELD(Attention, logsumexp));
