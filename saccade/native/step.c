/* A Transformer's decoder, one position of every row a call.

   Rows are independent of each other, so threads share them out once a call and never wait for each other. */
#include "stack.h"

#define FEW 8             /* rows that threads may compute together */
#define WORTH (8L << 20)  /* bytes of weights from which on that is worth their waiting for each other */

typedef struct {
    int64_t rows, position, longest, batch, room;
    const int64_t *tokens;    /* (rows,) */
    const int32_t *begun;     /* (rows,): the position of each row's first token; NULL: 0 for all */
    const int32_t *sentence;  /* (rows,) of the memory */
    const int64_t *lengths;   /* (batch,) */
    const float *memory;      /* (layers, batch, longest, 2, width): cross keys and values */
    int32_t *ancestors;       /* (rows, room): which row of each step is this one's past; this step is added */
    float *const *past;       /* (position + 1,): each (layers, rows of that step, 2, width) */
    const int64_t *slots;     /* (position + 1,): rows of each step */
    float *logits;            /* (rows, vocabulary) */
} Step;

static long begun_at(const Step *step, long row) { return step->begun ? step->begun[row] : 0; }

/* Self-attention of one row to its own past, this position in, or to as much of it as its window shows. */
static void attend_past(const Stack *s, const Step *step, long n, long row, const float *query, float *out,
                        float *scores, const float **entries) {
    const long width = s->width, now = step->position, window = s->layers[n].window;
    const long own = begun_at(step, row), first = window && now - own > window ? now - window : own;
    for (long t = first; t < now; t++) {
        const long slot = step->ancestors[row * step->room + t];
        entries[t - first] = step->past[t] + (n * step->slots[t] + slot) * 2 * width;
    }
    entries[now - first] = query + width;
#define KEY(j) (entries[j])
#define VALUE(j) (KEY(j) + width)
    ATTEND(s, query, out, now - first + 1, -1, scores, KEY, VALUE);
#undef VALUE
#undef KEY
}

static void step_some(const Stack *s, const Linear *output, const Step *step, long first, long rows, Work w) {
    const long width = s->width, now = step->position;
    const float **entries = malloc(sizeof(float *) * (size_t)(now + 1));
    for (long i = 0; i < rows; i++) {
        embed(s, w.x + i * width, step->tokens[first + i], now - begun_at(step, first + i));
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
        for (long i = 0; i < rows; i++) {
            const long sentence = step->sentence[first + i];
            attend_memory(s, w.wide + i * width, step->memory + (n * step->batch + sentence) * step->longest * 2 * width,
                          step->lengths[sentence], w.mixed + i * width, w.scores);
        }
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
    Work shared = work_for(decoder, together ? step->rows : 0, longest, decoder->heads);
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
        Work w = work_for(decoder, last - first, longest, decoder->heads);
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
