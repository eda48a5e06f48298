/* The Transformer as flat weights: the encoder in one call, the decoder one position a call.

   Rows are independent of each other, so threads share them out once a call and never wait for each other. */
#include <stdlib.h>

#include "linear.h"
#include "vector.h"

#ifdef _OPENMP
#include <omp.h>
#endif

#define FEW 8             /* rows that threads may compute together */
#define WORTH (8L << 20)  /* bytes of weights from which on that is worth their waiting for each other */

typedef struct {
    const float *weight, *bias; /* NULL: there is no such norm */
    float epsilon;
} LayerNorm;

typedef struct {
    Linear query_key_value, self_output, cross_query, cross_key_value, cross_output, inner, outer;
    LayerNorm self_norm, cross_norm, feed_forward_norm;
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

typedef struct {
    int64_t rows, position, longest, batch, room;
    const int64_t *tokens;    /* (rows,) */
    const int32_t *sentence;  /* (rows,) of the memory */
    const int64_t *lengths;   /* (batch,) */
    const float *memory;      /* (layers, batch, longest, 2, width): cross keys and values */
    int32_t *ancestors;       /* (rows, room): which row of each step is this one's past; this step is added */
    float *const *past;       /* (position + 1,): each (layers, rows of that step, 2, width) */
    const int64_t *slots;     /* (position + 1,): rows of each step */
    float *logits;            /* (rows, vocabulary) */
} Step;

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

/* One head of one query over `count` keys; key j begins at entry(j), its value `width` further on. */
#define ATTEND(query, out, head_width, width, count, scores, entry) \
    do { \
        const float shrink = 1 / sqrtf((float)(head_width)); \
        for (long j = 0; j < (count); j++) { \
            const float *key = entry(j); \
            vec dot = {0}; \
            for (long d = 0; d < (head_width); d += LANES) dot += load(query, d, 0) * load(key, d, 0); \
            (scores)[j] = sum_lanes(dot) * shrink; \
        } \
        softmax(scores, count); \
        for (long d = 0; d < (head_width); d += LANES) { \
            vec sum = {0}; \
            for (long j = 0; j < (count); j++) sum += (scores)[j] * load(entry(j) + (width), d, 0); \
            store(out, d, sum, 0); \
        } \
    } while (0)

/* Working memory of one thread for `rows` rows. A team shares y and wide, where products go; everything else
   each member has and computes for itself. Products write to y and wide in turn, so nobody overtakes a reader. */
typedef struct {
    float *all, *x, *y, *wide, *mixed, *scores;
    void *spare;
    Team *team;
    int me;
} Work;

static Team ALONE = {1, 0, 0};

static Work work_for(const Stack *s, long rows, long longest) {
    const long widest = s->feed_forward > 3 * s->width ? s->feed_forward : 3 * s->width;
    const long narrow = rows * s->width, bytes = rows * (widest + 4) / 4 + LANES;
    Work w;
    w.all = aligned_alloc(64, sizeof(float) * (size_t)round_up(3 * narrow + rows * widest + round_up(longest) + bytes));
    w.x = w.all;
    w.y = w.x + narrow;
    w.mixed = w.y + narrow;
    w.wide = w.mixed + narrow;
    w.scores = w.wide + rows * widest;
    w.spare = w.scores + round_up(longest);
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

/* Sentences first ... last - 1 one after another, without padding. starts (batch + 1,): their rows. */
static void encode_some(const Stack *encoder, const Stack *decoder, const int64_t *tokens, const int64_t *lengths,
                        long batch, long longest, long first, long last, float *memory) {
    long rows = 0;
    for (long b = first; b < last; b++) rows += lengths[b];
    const long width = encoder->width, head_width = width / encoder->heads;
    Work w = work_for(encoder, rows, longest);
    for (long b = first, row = 0; b < last; b++)
        for (long i = 0; i < lengths[b]; i++, row++) embed(encoder, w.x + row * width, tokens[b * longest + i], i);
    for (long n = 0; n < encoder->count; n++) {
        const Layer *layer = &encoder->layers[n];
        multiply(&w, &layer->query_key_value, before(encoder, &layer->self_norm, w.x, w.mixed, rows), w.wide, rows);
        for (long b = first, row = 0; b < last; row += lengths[b], b++) {
            const float *own = w.wide + row * 3 * width;
            for (long i = 0; i < lengths[b]; i++)
                for (long h = 0; h < encoder->heads; h++) {
#define ENTRY(j) (own + (j) * 3 * width + width + h * head_width)
                    ATTEND(own + i * 3 * width + h * head_width, w.mixed + (row + i) * width + h * head_width,
                           head_width, width, lengths[b], w.scores, ENTRY);
#undef ENTRY
                }
        }
        multiply(&w, &layer->self_output, w.mixed, w.y, rows);
        after(encoder, &layer->self_norm, w.x, w.y, rows);
        feed_forward(encoder, layer, &w, rows);
    }
    for (long i = 0; i < rows; i++) normalise(&encoder->final, w.x + i * width, width);
    for (long n = 0; n < decoder->count; n++) {
        multiply(&w, &decoder->layers[n].cross_key_value, w.x, w.wide, rows);
        for (long b = first, row = 0; b < last; row += lengths[b], b++)
            memcpy(memory + (n * batch + b) * longest * 2 * width, w.wide + row * 2 * width,
                   sizeof(float) * (size_t)(lengths[b] * 2 * width));
    }
    free(w.all);
}

/* tokens (batch, longest); memory (decoder layers, batch, longest, 2, width) is what every step attends to. */
EXPORT void transformer_encode(const Stack *encoder, const Stack *decoder, const int64_t *tokens,
                               const int64_t *lengths, long batch, long longest, float *memory) {
    const long together = longest < 96 ? 96 / longest : 1; /* sentences a block: rows enough for the products */
    const long blocks = (batch + together - 1) / together;
#pragma omp parallel for schedule(dynamic)
    for (long block = 0; block < blocks; block++) {
        const long first = block * together, last = first + together < batch ? first + together : batch;
        encode_some(encoder, decoder, tokens, lengths, batch, longest, first, last, memory);
    }
}

/* Self-attention of one row to its own past, this position in. */
static void attend_past(const Stack *s, const Step *step, long n, long row, const float *query, float *out,
                        float *scores, const float **entries) {
    const long width = s->width, head_width = width / s->heads, now = step->position;
    for (long t = 0; t < now; t++) {
        const long slot = step->ancestors[row * step->room + t];
        entries[t] = step->past[t] + (n * step->slots[t] + slot) * 2 * width;
    }
    entries[now] = query + width;
    for (long h = 0; h < s->heads; h++) {
#define ENTRY(j) (entries[j] + h * head_width)
        ATTEND(query + h * head_width, out + h * head_width, head_width, width, now + 1, scores, ENTRY);
#undef ENTRY
    }
}

static void attend_memory(const Stack *s, const Step *step, long n, long row, const float *query, float *out,
                          float *scores) {
    const long width = s->width, head_width = width / s->heads, sentence = step->sentence[row];
    const float *memory = step->memory + (n * step->batch + sentence) * step->longest * 2 * width;
    for (long h = 0; h < s->heads; h++) {
#define ENTRY(j) (memory + (j) * 2 * width + h * head_width)
        ATTEND(query + h * head_width, out + h * head_width, head_width, width, step->lengths[sentence], scores, ENTRY);
#undef ENTRY
    }
}

static void step_some(const Stack *s, const Linear *output, const Step *step, long first, long rows, Work w) {
    const long width = s->width, now = step->position;
    const float **entries = malloc(sizeof(float *) * (size_t)(now + 1));
    for (long i = 0; i < rows; i++) {
        embed(s, w.x + i * width, step->tokens[first + i], now);
        if (!w.me) step->ancestors[(first + i) * step->room + now] = (int32_t)(first + i);
    }
    for (long n = 0; n < s->count; n++) {
        const Layer *layer = &s->layers[n];
        multiply(&w, &layer->query_key_value, before(s, &layer->self_norm, w.x, w.mixed, rows), w.wide, rows);
        for (long i = 0; i < rows && !w.me; i++) /* its key and value join the past */
            memcpy(step->past[now] + (n * step->slots[now] + first + i) * 2 * width, w.wide + (3 * i + 1) * width,
                   sizeof(float) * (size_t)(2 * width));
        for (long i = 0; i < rows; i++)
            attend_past(s, step, n, first + i, w.wide + 3 * i * width, w.mixed + i * width, w.scores, entries);
        multiply(&w, &layer->self_output, w.mixed, w.y, rows);
        after(s, &layer->self_norm, w.x, w.y, rows);
        multiply(&w, &layer->cross_query, before(s, &layer->cross_norm, w.x, w.mixed, rows), w.wide, rows);
        for (long i = 0; i < rows; i++)
            attend_memory(s, step, n, first + i, w.wide + i * width, w.mixed + i * width, w.scores);
        multiply(&w, &layer->cross_output, w.mixed, w.y, rows);
        after(s, &layer->cross_norm, w.x, w.y, rows);
        feed_forward(s, layer, &w, rows);
    }
    for (long i = 0; i < rows; i++) normalise(&s->final, w.x + i * width, width);
    multiply(&w, output, w.x, step->logits + first * output->outputs, rows);
    free(entries);
}

static long bytes_of(const Linear *l) { return l->inputs * l->outputs * (l->scale ? 1 : 4); }

/* What a step reads of the weights. */
static long weights_of(const Stack *decoder, const Linear *output) {
    long bytes = bytes_of(output);
    for (long n = 0; n < decoder->count; n++) {
        const Layer *l = &decoder->layers[n];
        const Linear *read[] = {&l->query_key_value, &l->self_output, &l->cross_query, &l->cross_output, &l->inner,
                                &l->outer};
        for (int i = 0; i < 6; i++) bytes += bytes_of(read[i]);
    }
    return bytes;
}

/* One position of every row. Many rows are shared out. Few rows are computed by all threads together where the
   weights are many, which are then read from two places at once; else by one thread. */
EXPORT void transformer_step(const Stack *decoder, const Linear *output, const Step *step) {
    const long longest = step->position + 1 > step->longest ? step->position + 1 : step->longest;
    const int together = step->rows <= FEW && weights_of(decoder, output) >= WORTH;
    Work shared = work_for(decoder, together ? step->rows : 0, longest);
    Team team = ALONE;
#pragma omp parallel if (together || step->rows > FEW)
    {
        int threads = 1, me = 0;
#ifdef _OPENMP
        threads = omp_get_num_threads(), me = omp_get_thread_num();
#endif
        const int sharing = step->rows <= FEW ? 1 : threads; /* rows, not products */
        const long first = together ? 0 : me < sharing ? step->rows * me / sharing : step->rows;
        const long last = together || me >= sharing ? step->rows : step->rows * (me + 1) / sharing;
        Work w = work_for(decoder, last - first, longest);
        if (together) {
            if (!me) team.size = threads;
#pragma omp barrier
            w.y = shared.y, w.wide = shared.wide, w.team = &team, w.me = me;
        }
        if (first < last) step_some(decoder, output, step, first, last - first, w);
        free(w.all);
    }
    free(shared.all);
}

/* One product by itself: x (rows, inputs) to y (rows, outputs). */
EXPORT void linear_forward(const Linear *l, const float *x, float *y, long rows) {
    void *spare = malloc((size_t)(rows * (l->inputs + 4)));
    linear(l, x, y, rows, spare, 1, 0);
    free(spare);
}
