// What must not pass the sanitizer: a buffer that is shorter than it says. ffi/run makes sure that it sees the library's
// writes, too.
#include <stdlib.h>

#include "vitalwire.h"

int main(void) {
    char *text = malloc(4);
    vw_status status = text == NULL ? VW_ERROR_NULL : vw_discard_name(0, text, 64);
    free(text);
    return status == VW_OK ? 0 : 2;
}
