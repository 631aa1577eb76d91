// A heap of the firmware's own, for a library with the feature `heap-hooks`: first fit in a static array. An RTOS has one.
#ifndef EXAMPLE_POOL_H
#define EXAMPLE_POOL_H

#include <stddef.h>

// Has nothing to give from here on, if `closed`.
void pool_close(int closed);
// How many bytes are handed out now, and were at the most.
size_t pool_used(void);
size_t pool_peak(void);

#endif
