// A storage driver as small as it can be: everything in one struct. The host writes the struct to a file after each
// change; the emulated board keeps it where a reset does not clear it. A real driver appends to flash.
#ifndef EXAMPLE_STORAGE_H
#define EXAMPLE_STORAGE_H

#include "vitalwire.h"

#define STORAGE_ENTRY_MAX 1088
#define STORAGE_ENTRIES 16

struct storage_blob {
    uint64_t number;
    uint32_t len; // 0: there is none
    uint8_t bytes[STORAGE_ENTRY_MAX];
};

struct storage {
    uint64_t next[VW_LANES]; // the number of the next entry, less one
    struct storage_blob entries[VW_LANES][STORAGE_ENTRIES];
    struct storage_blob items[VW_ITEMS];
};

// Does what the device asks. Returns 1 if something has changed, which must be durable before the reply is handed in.
int storage_serve(struct storage *storage, const vw_storage_request *request, vw_storage_reply *reply);

#endif
