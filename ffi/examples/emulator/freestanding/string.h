// What the examples use of it, for compilers that come without a C library. The functions are in libvitalwire_c.a, as
// Rust needs them too.
#ifndef EXAMPLE_STRING_H
#define EXAMPLE_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t len);
void *memset(void *to, int byte, size_t len);

#endif
