/* Prefix search over the paths of CTC (Graves et al. 2006, section 3.2), with a beam: one sentence a thread. */
#include "status.h"
#include "vector.h"

/* Prefixes share their beginnings: each is a node that knows its last token and its parent. */
typedef struct {
    long parent, length;
    int64_t token;
} Node;

/* Log-probabilities of the paths so far that end with the blank, and with the prefix's last token; where `token` is
   not -1 the prefix is that of `node` and this token, and has no node of its own yet. */
typedef struct {
    double blank, last, total;
    long node;
    int64_t token;
} Prefix;

static double log_add(double a, double b) {
    const double most = a > b ? a : b, least = a > b ? b : a;
    return least == -INFINITY ? most : most + log1p(exp(least - most));
}

/* Into the best `kept`, of equals behind the earlier one; returns how many there are. */
static long keep(Prefix *best, long count, long kept, Prefix found) {
    if (found.total == -INFINITY || (count == kept && best[kept - 1].total >= found.total)) return count;
    if (count < kept) count++;
    long i = count - 1;
    for (; i > 0 && best[i - 1].total < found.total; i--) best[i] = best[i - 1];
    best[i] = found;
    return count;
}

/* The node of a prefix and a token. It may be there: a prefix can be given up, and come again. */
static long node_of(Node *nodes, long *used, long parent, int64_t token) {
    for (long i = parent + 1; i < *used; i++)
        if (nodes[i].parent == parent && nodes[i].token == token) return i;
    nodes[*used] = (Node){parent, nodes[parent].length + 1, token};
    return (*used)++;
}

/* One slot: `now` (count) and the nodes become `next`; returns how many. */
static long advance(const Prefix *now, long count, Prefix *next, Node *nodes, long *used, long kept, double blank,
                    const int64_t *tokens, const double *log_probs, long choices) {
    long found = 0;
    for (long j = 0; j < count; j++) { /* what stays, and those that reach it with its last token */
        const Node node = nodes[now[j].node];
        double last = -INFINITY, reach = now[j].last;
        for (long k = 0; k < choices; k++)
            if (tokens[k] == node.token) last = log_probs[k];
        for (long i = 0; i < count; i++)
            if (now[i].node == node.parent)
                reach = log_add(reach, nodes[now[i].node].token == node.token ? now[i].blank : now[i].total);
        Prefix stays = now[j];
        stays.blank = now[j].total + blank;
        stays.last = reach + last;
        stays.total = log_add(stays.blank, stays.last);
        found = keep(next, found, kept, stays);
    }
    for (long i = 0; i < count; i++)
        for (long k = 0; k < choices; k++) {
            const int twice = nodes[now[i].node].token == tokens[k]; /* a token more only behind a blank */
            const double value = (twice ? now[i].blank : now[i].total) + log_probs[k];
            if (found == kept && next[kept - 1].total >= value) continue;
            int known = 0;
            for (long j = 0; j < count; j++) {
                const Node *node = nodes + now[j].node;
                known |= node->parent == now[i].node && node->token == tokens[k];
            }
            if (!known) found = keep(next, found, kept, (Prefix){-INFINITY, value, value, now[i].node, tokens[k]});
        }
    for (long j = 0; j < found; j++)
        if (next[j].token != -1) {
            next[j].node = node_of(nodes, used, next[j].node, next[j].token);
            next[j].token = -1;
        }
    return found;
}

static int search(const double *blank, const int64_t *tokens, const double *log_probs, long slots, long choices,
                  long kept, long longest, int64_t *written, int64_t *lengths, double *scores) {
    Node *nodes = allocate(kept * slots + 1, sizeof *nodes);
    Prefix *both = allocate(2 * kept, sizeof *both);
    if (!nodes || !both) {
        release(nodes);
        release(both);
        return NO_MEMORY;
    }
    Prefix *now = both, *next = both + kept;
    long count = 1, used = 1;
    nodes[0] = (Node){-1, 0, -1};
    now[0] = (Prefix){0, -INFINITY, 0, 0, -1};
    for (long slot = 0; slot < slots; slot++) {
        count = advance(now, count, next, nodes, &used, kept, blank[slot], tokens + slot * choices,
                        log_probs + slot * choices, choices);
        Prefix *old = now;
        now = next;
        next = old;
    }
    for (long j = 0; j < kept; j++) {
        lengths[j] = 0;
        scores[j] = -INFINITY;
        if (j >= count) continue;
        scores[j] = now[j].total;
        lengths[j] = nodes[now[j].node].length;
        for (long node = now[j].node; nodes[node].parent >= 0; node = nodes[node].parent)
            written[j * longest + nodes[node].length - 1] = nodes[node].token;
    }
    release(nodes);
    release(both);
    return OK;
}

/* blank (sentences, longest); tokens, log_probs (sentences, longest, choices); slots (sentences,): slots of each.
   written (sentences, kept, longest), lengths, scores (sentences, kept): -inf where there are fewer prefixes. */
EXPORT int prefix_search(const double *blank, const int64_t *tokens, const double *log_probs, const int64_t *slots,
                         long sentences, long longest, long choices, long kept, int64_t *written, int64_t *lengths,
                         double *scores) {
    int status = OK;
    if (!all_below(slots, sentences, longest + 1)) return BAD_INDEX;
#pragma omp parallel for schedule(dynamic) if (sentences > 1)
    for (long i = 0; i < sentences; i++) {
        const int error = search(blank + i * longest, tokens + i * longest * choices, log_probs + i * longest * choices,
                                 slots[i], choices, kept, longest, written + i * kept * longest, lengths + i * kept,
                                 scores + i * kept);
        if (error) report(&status, error);
    }
    return status;
}
