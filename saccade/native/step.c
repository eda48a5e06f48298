/* A Transformer's decoder, one position of every row a call.

   Rows are independent of each other, so threads share them out once a call and never wait for each other. */
#include "layout.h"
#include "stack.h"

#define FEW 8             /* rows that threads may compute together */
#define WORTH (8L << 20)  /* bytes of weights from which on that is worth their waiting for each other */

typedef struct {
    int64_t rows, position, longest, batch, room;
    const int64_t *tokens;    /* (rows,) */
    const int32_t *begun;     /* (rows,): the position of each row's first token; NULL: 0 for all */
    const int32_t *sentence;  /* (rows,): whose memory each row attends to */
    const int64_t *lengths;   /* (batch,): of each memory */
    const float *memory;      /* (layers, batch, longest, 2, width): cross keys and values */
    int32_t *ancestors;       /* (rows, room): which row of each step is this one's past; this step is added */
    float *const *past;       /* (position + 1,): each (layers, rows of that step, 2, width) */
    const int64_t *past_rows; /* (position + 1,): rows of each step */
    float *logits;            /* (rows, vocabulary) */
    int64_t table_length;
    const float *positions;   /* (table_length, width), or NULL */
} Step;

static long begun_at(const Step *step, long row) { return step->begun ? step->begun[row] : 0; }

/* Self-attention of one row to its own past, this position in, or to as much of it as its window shows. */
static void attend_past(const Stack *s, const Step *step, long n, long row, const float *query, float *out,
                        float *scores, const float **past) {
    const long width = s->width, now = step->position, window = s->layers[n].window;
    const long own = begun_at(step, row), first = window && now - own > window ? now - window : own;
    for (long t = first; t < now; t++) {
        const long ancestor = step->ancestors[row * step->room + t];
        past[t - first] = step->past[t] + (n * step->past_rows[t] + ancestor) * 2 * width;
    }
    past[now - first] = query + width;
#define KEY(j) (past[j])
#define VALUE(j) (KEY(j) + width)
    ATTEND(s, query, out, now - first + 1, -1, scores, KEY, VALUE);
#undef VALUE
#undef KEY
}

static void step_rows(const Stack *s, const Linear *output, const Step *step, long first, long rows, Workspace w) {
    const long width = s->width, now = step->position;
    for (long i = 0; i < rows; i++) {
        embed(s, step->positions, w.x + i * width, step->tokens[first + i], now - begun_at(step, first + i));
        if (!w.thread) step->ancestors[(first + i) * step->room + now] = (int32_t)(first + i);
    }
    for (long n = 0; n < s->count; n++) {
        const Layer *layer = &s->layers[n];
        multiply(&w, &layer->query_key_value, sublayer_input(s, &layer->self_norm, w.x, w.context, rows), w.projected,
                 rows);
        for (long i = 0; i < rows && !w.thread; i++) /* its key and value join the past */
            memcpy(step->past[now] + (n * step->past_rows[now] + first + i) * 2 * width,
                   w.projected + (3 * i + 1) * width, sizeof(float) * (size_t)(2 * width));
        for (long i = 0; i < rows; i++)
            attend_past(s, step, n, first + i, w.projected + 3 * i * width, w.context + i * width, w.scores, w.past);
        multiply(&w, &layer->self_output, w.context, w.y, rows);
        add_residual(s, &layer->self_norm, w.x, w.y, rows);
        multiply(&w, &layer->cross_query, sublayer_input(s, &layer->cross_norm, w.x, w.context, rows), w.projected,
                 rows);
        for (long i = 0; i < rows; i++) {
            const long sentence = step->sentence[first + i];
            attend_memory(s, w.projected + i * width,
                          step->memory + (n * step->batch + sentence) * step->longest * 2 * width,
                          step->lengths[sentence], w.context + i * width, w.scores);
        }
        multiply(&w, &layer->cross_output, w.context, w.y, rows);
        add_residual(s, &layer->cross_norm, w.x, w.y, rows);
        feed_forward(s, layer, &w, rows);
    }
    for (long i = 0; i < rows; i++) normalise(&s->final, w.x + i * width, width);
    multiply(&w, output, w.x, step->logits + first * output->outputs, rows);
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

/* Every number that will be an index. What the past of a row is made of is checked as well: a few comparisons a
   position, where attention reads two vectors. */
static int check(const Stack *s, const Step *step) {
    if (!all_below(step->tokens, step->rows, s->vocabulary)) return BAD_TOKEN;
    if (step->position < 0 || step->position >= step->room || step->past_rows[step->position] < step->rows)
        return BAD_INDEX;
    if (!all_below(step->lengths, step->batch, step->longest + 1)) return BAD_INDEX;
    int inside = 1;
    for (long i = 0; i < step->rows; i++) {
        const int32_t *ancestors = step->ancestors + i * step->room;
        const long own = begun_at(step, i);
        if (own < 0 || own > step->position) return BAD_INDEX;
        if (step->positions && step->position - own >= step->table_length) return BAD_INDEX;
        inside &= step->sentence[i] >= 0 && step->sentence[i] < step->batch;
        for (long t = own; t < step->position; t++) inside &= ancestors[t] >= 0 && ancestors[t] < step->past_rows[t];
    }
    return inside ? OK : BAD_INDEX;
}

/* One position of every row. Many rows are shared out. Few rows are computed by all threads together where the
   weights are many, which are then read from two places at once; else by one thread. */
EXPORT int transformer_step(const Stack *decoder, const Linear *output, const Step *step) {
    const long longest = step->position + 1 > step->longest ? step->position + 1 : step->longest;
    const int together = step->rows <= FEW && weights_of(decoder, output) >= WORTH;
    int status = check(decoder, step);
    if (status != OK) return status;
    Workspace shared = {0};
    if (together) {
        shared = make_workspace(decoder, step->rows, longest, decoder->heads);
        if (!shared.all) return NO_MEMORY;
    }
    Barrier barrier = {1, 0, 0};
#pragma omp parallel if (together || step->rows > FEW)
    {
        int threads = 1, thread = 0;
#ifdef _OPENMP
        threads = omp_get_num_threads(), thread = omp_get_thread_num();
#endif
        const int sharing = step->rows <= FEW ? 1 : threads; /* rows, not products */
        const long first = together ? 0 : thread < sharing ? step->rows * thread / sharing : step->rows;
        const long last = together || thread >= sharing ? step->rows : step->rows * (thread + 1) / sharing;
        Workspace w = make_workspace(decoder, last - first, longest, decoder->heads);
        if (!w.all) report(&status, NO_MEMORY);
        if (together) {
            if (!thread) barrier.threads = threads;
#pragma omp barrier
            w.y = shared.y, w.projected = shared.projected, w.barrier = &barrier;
            w.threads = threads, w.thread = thread;
        }
        /* Together, nobody may be waited for who has no memory: behind the barrier all see the same status. */
        const int ready = together ? __atomic_load_n(&status, __ATOMIC_RELAXED) == OK : w.all != NULL;
        if (ready && first < last) step_rows(decoder, output, step, first, last - first, w);
        release(w.all);
    }
    release(shared.all);
    return status;
}

LAYOUT(Step, FIELD(Step, rows), FIELD(Step, position), FIELD(Step, longest), FIELD(Step, batch), FIELD(Step, room),
       FIELD(Step, tokens), FIELD(Step, begun), FIELD(Step, sentence), FIELD(Step, lengths), FIELD(Step, memory), FIELD(Step, ancestors),
       FIELD(Step, past), FIELD(Step, past_rows), FIELD(Step, logits), FIELD(Step, table_length),
       FIELD(Step, positions));
