/* Whole sequences through a stack of blocks: encoders, and decoders that are given all their positions at once.

   Blocks of sequences are shared out among the threads; where there are too few, all compute each one together. */
#include "stack.h"

#define ROWS 96            /* of a block: enough for the products, few enough for the cache */
#define QUERIES 48         /* whose scores are held at a time */
#define WORTH (256L << 10) /* multiplications of a layer from which on threads may wait for each other */

enum { ALL, OTHERS, PAST };

typedef struct {
    int64_t batch, longest, sees; /* sees: whom a position's self-attention sees */
    const int64_t *lengths;       /* (batch,) */
    const int64_t *tokens;        /* (batch, longest); NULL: x is what goes in */
    const float *x;               /* (batch, longest, width) */
    float *out;                   /* (batch, longest, width); padding is left alone */
    int64_t sentences, memory_longest;
    const float *memory;          /* (layers, sentences, memory_longest, 2, width); NULL: no cross-attention */
    const int64_t *memory_lengths;
    const int32_t *sentence;      /* (batch,): whose memory each sequence attends to */
} Sequences;

/* One head after the other, queries of a sequence over the same keys as products of small matrices. Rows of each are
   so many floats apart; out (queries, width). */
static void attend(const Stack *s, const Work *w, const float *query, long query_row, long queries, const float *key,
                   const float *value, long key_row, long value_row, long keys, int64_t sees, float *out) {
    const long width = s->width, head = width / s->heads, stride = round_up(keys);
    const float shrink = 1 / sqrtf((float)head);
    float *turned = w->scores, *scores = turned + head * stride; /* keys by column; (QUERIES, keys) */
    for (long at = 0; at < width; at += head) {
        for (long d = 0; d < head; d++)
            for (long j = 0; j < stride; j++) turned[d * stride + j] = j < keys ? key[j * key_row + at + d] * shrink : 0;
        for (long first = 0; first < queries; first += QUERIES) {
            const long rows = first + QUERIES < queries ? QUERIES : queries - first;
            product(query + first * query_row + at, query_row, turned, stride, scores, stride, rows, keys, head);
            for (long i = 0; i < rows; i++) {
                float *own = scores + i * stride;
                if (sees == OTHERS) own[first + i] = -INFINITY;
                for (long j = first + i + 1; sees == PAST && j < keys; j++) own[j] = -INFINITY;
                softmax(own, keys);
            }
            product(scores, stride, value + at, value_row, out + first * width + at, width, rows, head, keys);
        }
    }
}

/* The same for a window, one query after the other. */
static void attend_near(const Stack *s, const Sequences *q, long window, const Work *w, const float *own, long length,
                        float *out) {
    const long width = s->width;
    for (long i = 0; i < length; i++) {
        const long first = i > window ? i - window : 0;
        const long last = q->sees == PAST ? i + 1 : i + window < length ? i + window + 1 : length;
        const long count = last - first, hidden = q->sees == OTHERS ? i - first : -1;
#define KEY(j) (own + (3 * (first + (j)) + 1) * width)
#define VALUE(j) (KEY(j) + width)
        ATTEND(s, own + 3 * i * width, out + i * width, count, hidden, w->scores, KEY, VALUE);
#undef VALUE
#undef KEY
    }
}

static void attend_self(const Stack *s, const Sequences *q, long window, const Work *w, const float *own, long length,
                        float *out) {
    const long width = s->width;
    if (q->sees == OTHERS && length == 1) /* alone, and not seeing itself */
        memset(out, 0, sizeof(float) * (size_t)width);
    else if (window && window < length - 1)
        attend_near(s, q, window, w, own, length, out);
    else
        attend(s, w, own, 3 * width, length, own + width, own + 2 * width, 3 * width, 3 * width, length, q->sees, out);
}

/* Sequences first ... last - 1, their rows one after another without padding. */
#define EACH_SEQUENCE for (long b = first, row = 0; b < last; row += q->lengths[b], b++)

static void through_layer(const Stack *s, long n, const Sequences *q, const Work *w, long first, long last, long rows) {
    const Layer *layer = &s->layers[n];
    const long width = s->width;
    multiply(w, &layer->query_key_value, before(s, &layer->self_norm, w->x, w->mixed, rows), w->wide, rows);
    EACH_SEQUENCE
    attend_self(s, q, layer->window, w, w->wide + 3 * row * width, q->lengths[b], w->mixed + row * width);
    multiply(w, &layer->self_output, w->mixed, w->y, rows);
    after(s, &layer->self_norm, w->x, w->y, rows);
    if (layer->places) {
        multiply(w, &layer->place_value, before(s, &layer->place_norm, w->x, w->mixed, rows), w->wide, rows);
        EACH_SEQUENCE
        attend(s, w, layer->places, 2 * width, q->lengths[b], layer->places + width, w->wide + row * width, 2 * width,
               width, q->lengths[b], ALL, w->mixed + row * width);
        multiply(w, &layer->place_output, w->mixed, w->y, rows);
        after(s, &layer->place_norm, w->x, w->y, rows);
    }
    if (q->memory) {
        multiply(w, &layer->cross_query, before(s, &layer->cross_norm, w->x, w->mixed, rows), w->wide, rows);
        EACH_SEQUENCE {
            const long sentence = q->sentence[b];
            const float *memory = q->memory + (n * q->sentences + sentence) * q->memory_longest * 2 * width;
            attend(s, w, w->wide + row * width, width, q->lengths[b], memory, memory + width, 2 * width, 2 * width,
                   q->memory_lengths[sentence], ALL, w->mixed + row * width);
        }
        multiply(w, &layer->cross_output, w->mixed, w->y, rows);
        after(s, &layer->cross_norm, w->x, w->y, rows);
    }
    feed_forward(s, layer, w, rows);
}

static void through(const Stack *s, const Sequences *q, const Work *w, long first, long last, long rows) {
    const long width = s->width;
    EACH_SEQUENCE {
        float *x = w->x + row * width;
        if (!q->tokens)
            memcpy(x, q->x + b * q->longest * width, sizeof(float) * (size_t)(q->lengths[b] * width));
        else
            for (long i = 0; i < q->lengths[b]; i++) embed(s, x + i * width, q->tokens[b * q->longest + i], i);
    }
    for (long n = 0; n < s->count; n++) through_layer(s, n, q, w, first, last, rows);
    for (long i = 0; i < rows; i++) normalise(&s->final, w->x + i * width, width);
    if (!w->me)
        EACH_SEQUENCE memcpy(q->out + b * q->longest * width, w->x + row * width,
                             sizeof(float) * (size_t)(q->lengths[b] * width));
}

static void block_of(const Stack *s, const Sequences *q, long first, long last, int threads) {
    const long longest = q->longest > q->memory_longest ? q->longest : q->memory_longest;
    const long head = s->width / s->heads, scores = s->heads > head + QUERIES ? s->heads : head + QUERIES;
    long rows = 0;
    for (long b = first; b < last; b++) rows += q->lengths[b];
    if (threads == 1) {
        Work w = work_for(s, rows, longest, scores);
        through(s, q, &w, first, last, rows);
        free(w.all);
        return;
    }
    Work shared = work_for(s, rows, longest, scores);
    Team team = {threads, 0, 0};
#pragma omp parallel num_threads(threads)
    {
        Work w = work_for(s, rows, longest, scores);
        w.y = shared.y, w.wide = shared.wide, w.team = &team;
#ifdef _OPENMP
#pragma omp single
        team.size = omp_get_num_threads();
        w.me = omp_get_thread_num();
#endif
        through(s, q, &w, first, last, rows);
        free(w.all);
    }
    free(shared.all);
}

EXPORT void sequences_through(const Stack *s, const Sequences *q) {
    int threads = 1;
#ifdef _OPENMP
    threads = omp_get_max_threads();
#endif
    const long together = block_size(q->batch, q->longest < ROWS && q->longest ? ROWS / q->longest : 1, threads);
    const long blocks = (q->batch + together - 1) / together;
    if (blocks < threads && s->width * s->feed_forward * q->batch * q->longest >= WORTH) {
        for (long first = 0; first < q->batch; first += together)
            block_of(s, q, first, first + together < q->batch ? first + together : q->batch, threads);
        return;
    }
#pragma omp parallel for schedule(dynamic) if (blocks > 1)
    for (long block = 0; block < blocks; block++) {
        const long first = block * together, last = first + together < q->batch ? first + together : q->batch;
        block_of(s, q, first, last, 1);
    }
}
