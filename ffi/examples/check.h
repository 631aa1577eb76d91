// Looks at the status of a call. Who includes this defines `die`, which says what went wrong and ends the device.
#ifndef EXAMPLE_CHECK_H
#define EXAMPLE_CHECK_H

#include "vitalwire.h"

_Noreturn void die(const char *what, vw_status status);

// A call that must not fail.
#define CHECK(call)                                                                                                  \
    do {                                                                                                             \
        vw_status checked = (call);                                                                                  \
        if (checked < 0) {                                                                                           \
            die(#call, checked);                                                                                     \
        }                                                                                                            \
    } while (0)

// A call that must return this.
#define EXPECT(call, expected)                                                                                       \
    do {                                                                                                             \
        vw_status checked = (call);                                                                                  \
        if (checked != (expected)) {                                                                                 \
            die(#call " instead of " #expected, checked);                                                            \
        }                                                                                                            \
    } while (0)

#endif
