#include "storage.h"

#include <string.h>

static int keep(struct storage_blob *blob, uint64_t number, const uint8_t *bytes, size_t len) {
    if (len == 0 || len > sizeof blob->bytes) {
        return 0;
    }
    blob->number = number;
    blob->len = (uint32_t)len;
    memcpy(blob->bytes, bytes, len);
    return 1;
}

static void hand_out(const struct storage_blob *blob, vw_storage_reply *reply) {
    reply->number = blob->number;
    reply->data = blob->bytes;
    reply->len = blob->len;
}

static int append(struct storage *storage, const vw_storage_request *request, vw_storage_reply *reply) {
    struct storage_blob *region = storage->entries[request->lane];
    uint64_t number = storage->next[request->lane] + 1;
    for (size_t i = 0; i < STORAGE_ENTRIES; i++) {
        if (region[i].len == 0 && keep(&region[i], number, request->data, request->len)) {
            storage->next[request->lane] = number;
            reply->kind = VW_REPLY_APPENDED;
            reply->number = number;
            reply->free = UINT32_MAX;
            return 1;
        }
    }
    reply->kind = VW_REPLY_FULL;
    return 0;
}

static void find(const struct storage *storage, const vw_storage_request *request, vw_storage_reply *reply) {
    const struct storage_blob *region = storage->entries[request->lane];
    const struct storage_blob *oldest = NULL;
    for (size_t i = 0; i < STORAGE_ENTRIES; i++) {
        int wanted = region[i].len != 0 && (!request->has_number || region[i].number > request->number);
        if (wanted && (oldest == NULL || region[i].number < oldest->number)) {
            oldest = &region[i];
        }
    }
    reply->kind = oldest == NULL ? VW_REPLY_END : VW_REPLY_ENTRY;
    if (oldest != NULL) {
        hand_out(oldest, reply);
    }
}

static void trim(struct storage *storage, const vw_storage_request *request) {
    struct storage_blob *region = storage->entries[request->lane];
    for (size_t i = 0; i < STORAGE_ENTRIES; i++) {
        if (region[i].len != 0 && region[i].number <= request->number) {
            memset(&region[i], 0, sizeof region[i]);
        }
    }
}

int storage_serve(struct storage *storage, const vw_storage_request *request, vw_storage_reply *reply) {
    memset(reply, 0, sizeof *reply);
    reply->kind = VW_REPLY_FAILED;
    if (request->lane >= VW_LANES || request->item >= VW_ITEMS) {
        return 0;
    }
    struct storage_blob *item = &storage->items[request->item];
    switch (request->kind) {
    case VW_STORAGE_APPEND:
        return append(storage, request, reply);
    case VW_STORAGE_READ:
        find(storage, request, reply);
        return 0;
    case VW_STORAGE_TRIM:
        trim(storage, request);
        reply->kind = VW_REPLY_DONE;
        return 1;
    case VW_STORAGE_PUT:
        reply->kind = keep(item, 0, request->data, request->len) ? VW_REPLY_DONE : VW_REPLY_FULL;
        return 1;
    case VW_STORAGE_GET:
        reply->kind = item->len == 0 ? VW_REPLY_NO_VALUE : VW_REPLY_VALUE;
        hand_out(item, reply);
        return 0;
    case VW_STORAGE_DELETE:
        memset(item, 0, sizeof *item);
        reply->kind = VW_REPLY_DONE;
        return 1;
    default:
        return 0;
    }
}
