/* What a kernel returns, and scratch memory that may not be there. */
#ifndef SACCADE_STATUS_H
#define SACCADE_STATUS_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Python raises MemoryError or IndexError for these; see library.py. */
enum { OK, NO_MEMORY, BAD_TOKEN, BAD_TARGET, BAD_INDEX };

/* Tests put an allocator of their own here, which fails at a chosen call and counts what is not released. */
#ifdef SACCADE_ALLOCATE
void *SACCADE_ALLOCATE(size_t bytes);
void SACCADE_RELEASE(void *memory);
#else
#define SACCADE_ALLOCATE(bytes) aligned_alloc(64, bytes)
#define SACCADE_RELEASE(memory) free(memory)
#endif

/* `count` elements of `size` bytes, aligned for whole vectors; NULL: there is no memory. */
static inline void *allocate(long count, size_t size) {
    size_t bytes;
    if (count < 0 || __builtin_mul_overflow((size_t)count, size, &bytes) || bytes > PTRDIFF_MAX - 128) return NULL;
    return SACCADE_ALLOCATE((bytes + 64) / 64 * 64); /* never 0 bytes, for which NULL would be no error */
}

static inline void release(void *memory) { SACCADE_RELEASE(memory); }

/* Threads report to one status; any of their errors will do. */
static inline void report(int *status, int error) { __atomic_store_n(status, error, __ATOMIC_RELAXED); }

/* Whether every one of `count` values lies in 0 ... limit - 1. A negative one is a huge unsigned one. */
static inline int all_below(const int64_t *values, long count, int64_t limit) {
    int inside = 1;
    for (long i = 0; i < count; i++) inside &= (uint64_t)values[i] < (uint64_t)limit;
    return inside;
}

#endif
