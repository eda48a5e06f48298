/* How the structs lie in memory, for Python to compare with its own declarations of them (structs.py). */
#ifndef SACCADE_LAYOUT_H
#define SACCADE_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "vector.h"

typedef struct {
    const char *name; /* NULL: the end, where `offset` is the size of the whole struct */
    int64_t offset, size;
} Field;

#define FIELD(type, name) {#name, offsetof(type, name), sizeof(((type *)0)->name)}

/* Exports `layout_TYPE`; all fields, in their order. */
#define LAYOUT(type, ...) EXPORT const Field layout_##type[] = {__VA_ARGS__, {NULL, sizeof(type), 0}}

#endif
