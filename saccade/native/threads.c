/* Threads of OpenMP. */
#include "vector.h"

#ifdef _OPENMP
#include <omp.h>
#endif

/* How many threads compute together where the calling thread asks for it; other threads keep their number. */
EXPORT void set_threads(int count) {
#ifdef _OPENMP
    omp_set_num_threads(count);
#else
    (void)count;
#endif
}
