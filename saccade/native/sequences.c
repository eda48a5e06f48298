/* Whole sequences through a stack of blocks: encoders, and decoders that are given all their positions at once.

   Blocks of sequences are shared out among the threads; where there are too few, all compute each one together. */
#include "layout.h"
#include "stack.h"

#define ROWS 96            /* of a block: enough for the products, few enough for the cache */
#define QUERIES 48         /* whose scores are held at a time */
#define WORTH (256L << 10) /* multiplications of a layer from which on threads may wait for each other */

/* Which positions self-attention may not look at: none of them, each position itself, those that come later. */
enum { MASK_NONE, MASK_DIAGONAL, MASK_FUTURE };

typedef struct {
    int64_t batch, longest, mask;
    const int64_t *lengths;   /* (batch,) */
    const int64_t *tokens;    /* (batch, longest); NULL: x is what goes in */
    const float *x;           /* (batch, longest, width) */
    float *out;               /* (batch, longest, width); padding is left alone */
    int64_t sentences, memory_longest;
    const float *memory;      /* (layers, sentences, memory_longest, 2, width); NULL: no cross-attention */
    const int64_t *memory_lengths; /* (sentences,) */
    const int32_t *sentence;  /* (batch,): whose memory each sequence attends to */
    int64_t table_length;     /* positions that the two tables below have */
    const float *positions;   /* (table_length, width), added to embeddings; or NULL */
    const float *positional;  /* (layers, table_length, 2, width): queries and keys of attention between positions; or
                                 NULL: there is none */
} Sequences;

/* All heads, one after another: queries of a sequence over the same keys as products of small matrices. query_row,
   key_row and value_row: distance of neighbouring rows, in floats; out (queries, width). */
static void attend(const Stack *s, const Workspace *w, const float *query, long query_row, long queries,
                   const float *key, const float *value, long key_row, long value_row, long keys, int64_t mask,
                   float *out) {
    const long width = s->width, head = width / s->heads, stride = round_up(keys);
    const float shrink = 1 / sqrtf((float)head);
    float *transposed = w->scores, *scores = transposed + head * stride; /* keys (head, stride); (QUERIES, stride) */
    for (long at = 0; at < width; at += head) {
        for (long d = 0; d < head; d++)
            for (long j = 0; j < stride; j++)
                transposed[d * stride + j] = j < keys ? key[j * key_row + at + d] * shrink : 0;
        for (long first = 0; first < queries; first += QUERIES) {
            const long rows = first + QUERIES < queries ? QUERIES : queries - first;
            product(query + first * query_row + at, query_row, transposed, stride, scores, stride, rows, keys, head);
            for (long i = 0; i < rows; i++) {
                float *own = scores + i * stride;
                if (mask == MASK_DIAGONAL) own[first + i] = -INFINITY;
                for (long j = first + i + 1; mask == MASK_FUTURE && j < keys; j++) own[j] = -INFINITY;
                softmax(own, keys);
            }
            product(scores, stride, value + at, value_row, out + first * width + at, width, rows, head, keys);
        }
    }
}

/* The same for a window, one query after the other. projected (length, 3, width). */
static void attend_window(const Stack *s, const Sequences *q, long window, const Workspace *w, const float *projected,
                          long length, float *out) {
    const long width = s->width;
    for (long i = 0; i < length; i++) {
        const long first = i > window ? i - window : 0;
        const long last = q->mask == MASK_FUTURE ? i + 1 : i + window < length ? i + window + 1 : length;
        const long count = last - first, hidden = q->mask == MASK_DIAGONAL ? i - first : -1;
#define KEY(j) (projected + (3 * (first + (j)) + 1) * width)
#define VALUE(j) (KEY(j) + width)
        ATTEND(s, projected + 3 * i * width, out + i * width, count, hidden, w->scores, KEY, VALUE);
#undef VALUE
#undef KEY
    }
}

static void attend_self(const Stack *s, const Sequences *q, long window, const Workspace *w, const float *projected,
                        long length, float *out) {
    const long width = s->width, row = 3 * width;
    if (q->mask == MASK_DIAGONAL && length == 1) /* there is nothing to look at */
        memset(out, 0, sizeof(float) * (size_t)width);
    else if (window && window < length - 1)
        attend_window(s, q, window, w, projected, length, out);
    else
        attend(s, w, projected, row, length, projected + width, projected + 2 * width, row, row, length, q->mask, out);
}

/* Sequences first ... last - 1, their rows one after another without padding. */
#define EACH_SEQUENCE for (long b = first, row = 0; b < last; row += q->lengths[b], b++)

static void run_layer(const Stack *s, long n, const Sequences *q, const Workspace *w, long first, long last,
                      long rows) {
    const Layer *layer = &s->layers[n];
    const long width = s->width;
    multiply(w, &layer->query_key_value, sublayer_input(s, &layer->self_norm, w->x, w->context, rows), w->projected,
             rows);
    EACH_SEQUENCE
    attend_self(s, q, layer->window, w, w->projected + 3 * row * width, q->lengths[b], w->context + row * width);
    multiply(w, &layer->self_output, w->context, w->y, rows);
    add_residual(s, &layer->self_norm, w->x, w->y, rows);
    if (q->positional) {
        const float *query = q->positional + n * q->table_length * 2 * width;
        multiply(w, &layer->positional_value, sublayer_input(s, &layer->positional_norm, w->x, w->context, rows),
                 w->projected, rows);
        EACH_SEQUENCE
        attend(s, w, query, 2 * width, q->lengths[b], query + width, w->projected + row * width, 2 * width, width,
               q->lengths[b], MASK_NONE, w->context + row * width);
        multiply(w, &layer->positional_output, w->context, w->y, rows);
        add_residual(s, &layer->positional_norm, w->x, w->y, rows);
    }
    if (q->memory) {
        multiply(w, &layer->cross_query, sublayer_input(s, &layer->cross_norm, w->x, w->context, rows), w->projected,
                 rows);
        EACH_SEQUENCE {
            const long sentence = q->sentence[b];
            const float *key = q->memory + (n * q->sentences + sentence) * q->memory_longest * 2 * width;
            attend(s, w, w->projected + row * width, width, q->lengths[b], key, key + width, 2 * width, 2 * width,
                   q->memory_lengths[sentence], MASK_NONE, w->context + row * width);
        }
        multiply(w, &layer->cross_output, w->context, w->y, rows);
        add_residual(s, &layer->cross_norm, w->x, w->y, rows);
    }
    feed_forward(s, layer, w, rows);
}

static void run_layers(const Stack *s, const Sequences *q, const Workspace *w, long first, long last, long rows) {
    const long width = s->width;
    EACH_SEQUENCE {
        float *x = w->x + row * width;
        if (!q->tokens)
            memcpy(x, q->x + b * q->longest * width, sizeof(float) * (size_t)(q->lengths[b] * width));
        else
            for (long i = 0; i < q->lengths[b]; i++)
                embed(s, q->positions, x + i * width, q->tokens[b * q->longest + i], i);
    }
    for (long n = 0; n < s->count; n++) run_layer(s, n, q, w, first, last, rows);
    for (long i = 0; i < rows; i++) normalise(&s->final, w->x + i * width, width);
    if (!w->thread)
        EACH_SEQUENCE memcpy(q->out + b * q->longest * width, w->x + row * width,
                             sizeof(float) * (size_t)(q->lengths[b] * width));
}

/* Sequences first ... last - 1; with several threads, all of them compute each product together. */
static int run_block(const Stack *s, const Sequences *q, long first, long last, int threads) {
    const long longest = q->longest > q->memory_longest ? q->longest : q->memory_longest;
    /* Attention holds either the keys of a head and the scores of QUERIES, or the scores of all heads for one query. */
    const long head = s->width / s->heads, scores = s->heads > head + QUERIES ? s->heads : head + QUERIES;
    long rows = 0;
    for (long b = first; b < last; b++) rows += q->lengths[b];
    Workspace shared = make_workspace(s, rows, longest, scores);
    if (!shared.all) return NO_MEMORY;
    int status = OK;
    if (threads == 1) {
        run_layers(s, q, &shared, first, last, rows);
        release(shared.all);
        return OK;
    }
    Barrier barrier = {threads, 0, 0};
#pragma omp parallel num_threads(threads)
    {
        Workspace w = make_workspace(s, rows, longest, scores);
        if (!w.all) report(&status, NO_MEMORY);
        w.y = shared.y, w.projected = shared.projected, w.barrier = &barrier;
#ifdef _OPENMP
#pragma omp single
        barrier.threads = omp_get_num_threads(); /* there may be fewer than were asked for */
        w.threads = barrier.threads, w.thread = omp_get_thread_num();
#endif
        /* Nobody may be waited for who has no memory: all see the same status here, behind `single`. */
        if (__atomic_load_n(&status, __ATOMIC_RELAXED) == OK) run_layers(s, q, &w, first, last, rows);
        release(w.all);
    }
    release(shared.all);
    return status;
}

/* Every number that will be an index. */
static int check(const Stack *s, const Sequences *q) {
    int64_t longest = 0;
    if (!all_below(q->lengths, q->batch, q->longest + 1)) return BAD_INDEX;
    for (long b = 0; b < q->batch; b++) {
        if (q->tokens && !all_below(q->tokens + b * q->longest, q->lengths[b], s->vocabulary)) return BAD_TOKEN;
        longest = q->lengths[b] > longest ? q->lengths[b] : longest;
    }
    if ((q->positional || (q->tokens && q->positions)) && longest > q->table_length) return BAD_INDEX;
    if (!q->memory) return OK;
    if (!all_below(q->memory_lengths, q->sentences, q->memory_longest + 1)) return BAD_INDEX;
    for (long b = 0; b < q->batch; b++)
        if (q->sentence[b] < 0 || q->sentence[b] >= q->sentences) return BAD_INDEX;
    return OK;
}

EXPORT int sequences_forward(const Stack *s, const Sequences *q) {
    int threads = 1, status = check(s, q);
    if (status != OK) return status;
#ifdef _OPENMP
    threads = omp_get_max_threads();
#endif
    const long together = block_size(q->batch, q->longest < ROWS && q->longest ? ROWS / q->longest : 1, threads);
    const long blocks = (q->batch + together - 1) / together;
    if (blocks < threads && s->width * s->feed_forward * q->batch * q->longest >= WORTH) {
        for (long first = 0; first < q->batch && status == OK; first += together)
            status = run_block(s, q, first, first + together < q->batch ? first + together : q->batch, threads);
        return status;
    }
#pragma omp parallel for schedule(dynamic) if (blocks > 1)
    for (long block = 0; block < blocks; block++) {
        const long first = block * together, last = first + together < q->batch ? first + together : q->batch;
        const int error = run_block(s, q, first, last, 1);
        if (error) report(&status, error);
    }
    return status;
}

LAYOUT(LayerNorm, FIELD(LayerNorm, weight), FIELD(LayerNorm, bias), FIELD(LayerNorm, epsilon));
LAYOUT(Layer, FIELD(Layer, query_key_value), FIELD(Layer, self_output), FIELD(Layer, positional_value),
       FIELD(Layer, positional_output), FIELD(Layer, cross_query), FIELD(Layer, cross_output), FIELD(Layer, inner),
       FIELD(Layer, outer), FIELD(Layer, self_norm), FIELD(Layer, positional_norm), FIELD(Layer, cross_norm),
       FIELD(Layer, feed_forward_norm), FIELD(Layer, window));
LAYOUT(Stack, FIELD(Stack, width), FIELD(Stack, heads), FIELD(Stack, feed_forward), FIELD(Stack, count),
       FIELD(Stack, layers), FIELD(Stack, embedding), FIELD(Stack, vocabulary), FIELD(Stack, final),
       FIELD(Stack, scale), FIELD(Stack, pre_norm), FIELD(Stack, activation));
LAYOUT(Sequences, FIELD(Sequences, batch), FIELD(Sequences, longest), FIELD(Sequences, mask), FIELD(Sequences, lengths),
       FIELD(Sequences, tokens), FIELD(Sequences, x), FIELD(Sequences, out), FIELD(Sequences, sentences),
       FIELD(Sequences, memory_longest), FIELD(Sequences, memory), FIELD(Sequences, memory_lengths),
       FIELD(Sequences, sentence), FIELD(Sequences, table_length), FIELD(Sequences, positions),
       FIELD(Sequences, positional));
