/* Whole sequences through a stack of blocks: encoders, and decoders that are given all their positions at once.

   Blocks of sequences are shared out among the threads; where there are too few, all compute each one together. */
#include "stack.h"

#define ROWS 96            /* of a block: enough for the products, few enough for the cache */
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

static void attend_self(const Stack *s, const Sequences *q, long window, const Work *w, const float *own, long length,
                        float *out) {
    const long width = s->width;
    for (long i = 0; i < length; i++) {
        const long first = window && i > window ? i - window : 0;
        const long last = q->sees == PAST ? i + 1 : window && i + window < length ? i + window + 1 : length;
        const long count = last - first, hidden = q->sees == OTHERS ? i - first : -1;
        if (hidden == 0 && count == 1) { /* alone, and not seeing itself */
            memset(out, 0, sizeof(float) * (size_t)width);
            continue;
        }
#define KEY(j) (own + (3 * (first + (j)) + 1) * width)
#define VALUE(j) (KEY(j) + width)
        ATTEND(s, own + 3 * i * width, out + i * width, count, hidden, w->scores, KEY, VALUE);
#undef VALUE
#undef KEY
    }
}

static void attend_places(const Stack *s, const Layer *layer, const Work *w, const float *values, long length,
                          float *out) {
    const long width = s->width;
    for (long i = 0; i < length; i++) {
#define KEY(j) (layer->places + (2 * (j) + 1) * width)
#define VALUE(j) (values + (j) * width)
        ATTEND(s, layer->places + 2 * i * width, out + i * width, length, -1, w->scores, KEY, VALUE);
#undef VALUE
#undef KEY
    }
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
        EACH_SEQUENCE attend_places(s, layer, w, w->wide + row * width, q->lengths[b], w->mixed + row * width);
        multiply(w, &layer->place_output, w->mixed, w->y, rows);
        after(s, &layer->place_norm, w->x, w->y, rows);
    }
    if (q->memory) {
        multiply(w, &layer->cross_query, before(s, &layer->cross_norm, w->x, w->mixed, rows), w->wide, rows);
        EACH_SEQUENCE {
            const long sentence = q->sentence[b];
            const float *memory = q->memory + (n * q->sentences + sentence) * q->memory_longest * 2 * width;
            for (long i = row; i < row + q->lengths[b]; i++)
                attend_memory(s, w->wide + i * width, memory, q->memory_lengths[sentence], w->mixed + i * width,
                              w->scores);
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
    long rows = 0;
    for (long b = first; b < last; b++) rows += q->lengths[b];
    if (threads == 1) {
        Work w = work_for(s, rows, longest);
        through(s, q, &w, first, last, rows);
        free(w.all);
        return;
    }
    Work shared = work_for(s, rows, longest);
    Team team = {threads, 0, 0};
#pragma omp parallel num_threads(threads)
    {
        Work w = work_for(s, rows, longest);
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
    const long together = q->longest < ROWS && q->longest ? ROWS / q->longest : 1;
    const long blocks = (q->batch + together - 1) / together;
    int threads = 1;
#ifdef _OPENMP
    threads = omp_get_max_threads();
#endif
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
