#include "pool.h"

#include "vitalwire.h"

#ifdef VW_HEAP_HOOKS

#define GRAIN 16u // the largest alignment that is asked for
#define GRAINS (VW_HEAP_PER_DEVICE / GRAIN)

// Of each grain, how many a block that begins there has; 0 if none does.
static uint16_t blocks[GRAINS];
static _Alignas(GRAIN) uint8_t grains[GRAINS][GRAIN];
static int is_closed;
static size_t used, peak;

void *vw_malloc(size_t size, size_t align) {
    size_t needed = size / GRAIN + (size % GRAIN != 0), start = 0, at = 0;
    if (is_closed || align > GRAIN || needed == 0) {
        return NULL;
    }
    while (at < GRAINS && at - start < needed) {
        if (blocks[at] != 0) {
            at += blocks[at];
            start = at;
        } else {
            at++;
        }
    }
    if (at - start < needed) {
        return NULL;
    }
    blocks[start] = (uint16_t)needed;
    used += size;
    peak = used > peak ? used : peak;
    return grains[start];
}

void vw_free(void *block, size_t size, size_t align) {
    (void)align;
    blocks[(size_t)((uint8_t *)block - grains[0]) / GRAIN] = 0;
    used -= size;
}

void pool_close(int closed) {
    is_closed = closed;
}

size_t pool_used(void) {
    return used;
}

size_t pool_peak(void) {
    return peak;
}

#endif
