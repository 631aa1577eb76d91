// A device in C on the emulated Cortex-M4, over a serial line with COBS. The far end is the example backend; bridge.c
// joins the two. The first boot meets the backend, sends records in every lane, does a command and stores three records
// with the link down; then it resets the board. The second boot resumes, and delivers what was stored.
//
// ffi/run builds it twice: with the library's heap and a trusted authority, and with a heap of its own (VW_HEAP_HOOKS) and
// nothing but a pinned backend (PINNED).
#include <string.h>

#include "board.h"
#include "channels.h"
#include "check.h"
#include "pool.h"
#include "provision.h" // written by ffi/run: the keys that a production line would write to flash
#include "storage.h"
#include "vitalwire.h"

#define PACKET_MAX VW_LINK_PACKET_MAX

#ifdef PINNED
#define FIRST_PATTERN 2 // IK: the backend is known
#else
#define FIRST_PATTERN 1 // XX
#endif

// Keeps its content over a reset, as flash does: see mps2.ld.
#define FLASH ((struct storage *)0x20300000u)

static vw_device device;
#ifdef VW_HEAP
static vw_device other_device;
static uint64_t heap[VW_HEAP_PER_DEVICE / 8];
#endif
static vw_health health;
static vw_cobs decoder;
static uint8_t outbox[4096];
static uint8_t backlog[8192];
static uint8_t descriptors[256];
static uint8_t line[PACKET_MAX + 8];

static struct {
    int pending;
    uint32_t id;
    uint64_t deadline;
} command;

static uint8_t pattern;
static uint32_t commands;

void vw_panic(void) {
    board_print("firmware: FAILED: the library has panicked\n");
    board_exit(1);
}

_Noreturn void die(const char *what, vw_status status) {
    board_print("firmware: FAILED: ");
    board_print(what);
    board_print(": ");
    board_print(vw_error_name(status));
    board_print("\n");
    board_exit(1);
}

#ifdef VW_HEAP
#define heap_used vw_heap_used
#define heap_peak vw_heap_peak
#else
#define heap_used pool_used
#define heap_peak pool_peak
#endif

// What a hardware generator would have in its register: 32 raw bits, of which an assessment found 8.
static int32_t sample(void *context, uint32_t *out) {
    return board_random(context, (uint8_t *)out, sizeof *out);
}

static void received(void *context, const vw_received *what) {
    (void)context;
    if (what->kind == VW_RECEIVED_COMMAND && !command.pending) {
        command.pending = 1;
        command.id = what->id;
        command.deadline = what->deadline;
    }
}

static void serve_storage(void) {
    vw_storage_request request;
    vw_storage_reply reply;
    for (;;) {
        CHECK(vw_poll_storage(&device, board_now(), &request));
        if (request.kind == VW_STORAGE_NONE) {
            return;
        }
        storage_serve(FLASH, &request, &reply);
        CHECK(vw_handle_storage(&device, board_now(), &reply));
    }
}

static void boot(void) {
    vw_config config;
    size_t descriptors_len;
    CHECK(channels_encode(descriptors, sizeof descriptors, &descriptors_len));
    CHECK(vw_config_init(&config, sizeof config));
    config.secret_key = provision_device_secret;
    config.credential = provision_device_credential;
    config.credential_len = sizeof provision_device_credential;
#ifdef PINNED
    vw_pin pin;
    CHECK(vw_pin_init(&pin, provision_backend_key, provision_backend_credential, sizeof provision_backend_credential));
    config.pin = &pin;
#else
    config.authorities = provision_authority;
    config.authority_count = sizeof provision_authority / VW_KEY_LEN;
#endif
    config.boot = 1; // the storage knows better
    config.max_packet = VW_LINK_PACKET_MAX;
    config.smallest_packet = VW_LINK_PACKET_MAX;
    config.rekey.dh_interval_ms = 0; // as the example backend has it
    config.storage_key = provision_storage_key;
    config.outbox = outbox;
    config.outbox_len = sizeof outbox;
    config.backlog = backlog;
    config.backlog_len = sizeof backlog;
    config.descriptors = descriptors;
    config.descriptors_len = descriptors_len;
    CHECK(vw_health_init(&health, sizeof health, sample, NULL, 32, 8000));
    CHECK(vw_health_start_up(&health));
    config.entropy = vw_health_fill;
    config.entropy_context = &health;
    config.received = received;

    // A heap that is too small is an error, and no fault.
#ifdef VW_HEAP
    EXPECT(vw_device_init(&device, sizeof device, &config, NULL, 0), VW_ERROR_OUT_OF_MEMORY);
    EXPECT(vw_heap_init((uint8_t *)heap, sizeof heap / 2), VW_ERROR_OUT_OF_MEMORY);
    CHECK(vw_heap_init((uint8_t *)heap, sizeof heap));
    CHECK(vw_device_init(&device, sizeof device, &config, NULL, 0));
    EXPECT(vw_device_init(&other_device, sizeof other_device, &config, NULL, 0), VW_ERROR_OUT_OF_MEMORY);
#else
    pool_close(1);
    EXPECT(vw_device_init(&device, sizeof device, &config, NULL, 0), VW_ERROR_OUT_OF_MEMORY);
    pool_close(0);
#ifdef PINNED
    // The library has no Ed25519, and says so.
    vw_config trusting = config;
    char why[80];
    trusting.authorities = provision_authority;
    trusting.authority_count = 1;
    EXPECT(vw_device_init(&device, sizeof device, &trusting, why, sizeof why), VW_ERROR_INVALID_CONFIG);
#endif
    CHECK(vw_device_init(&device, sizeof device, &config, NULL, 0));
    pool_close(0); // vw_device_init has looked whether a whole share is there
#endif
    CHECK(vw_cobs_init(&decoder, sizeof decoder));
    serve_storage();
    uint32_t number;
    CHECK(vw_boot(&device, &number));
    board_print_number("boot ", number);
}

static void receive(void) {
    uint8_t bytes[64];
    size_t len = board_receive(bytes, sizeof bytes);
    for (size_t at = 0; at < len;) {
        uint8_t *packet;
        size_t taken, packet_len;
        CHECK(vw_cobs_next(&decoder, &bytes[at], len - at, &taken, &packet, &packet_len));
        at += taken;
        if (packet_len != 0) {
            CHECK(vw_handle_packet(&device, board_now(), packet, packet_len));
        }
    }
    uint64_t wake;
    CHECK(vw_poll_timeout(&device, &wake));
    if (len == 0 && wake > board_now()) {
        board_wait();
    }
}

static void send_all(void) {
    uint8_t packet[PACKET_MAX];
    size_t len, line_len;
    for (;;) {
        CHECK(vw_poll_transmit(&device, board_now(), packet, sizeof packet, &len));
        if (len == 0) {
            return;
        }
        CHECK(vw_cobs_write(packet, len, line, sizeof line, &line_len));
        board_send(line, line_len);
    }
}

static void take_events(void) {
    vw_event event;
    do {
        CHECK(vw_poll_event(&device, &event));
        if (event.kind == VW_EVENT_CONNECTED) {
            pattern = event.pattern;
            board_print_number("connected, pattern ", event.pattern);
        } else if (event.kind == VW_EVENT_DISCONNECTED) {
            board_print_number("disconnected, reason ", event.reason);
        } else if (event.kind == VW_EVENT_STORAGE_TROUBLE || event.kind == VW_EVENT_RECORDS_REFUSED) {
            board_print_number("firmware: FAILED: event ", event.kind);
            board_exit(1);
        }
    } while (event.kind != VW_EVENT_NONE);
}

static void do_command(void) {
    if (!command.pending) {
        return;
    }
    command.pending = 0;
    if (board_now() < command.deadline) {
        CHECK(vw_command_done(&device, command.id, (const uint8_t *)"from C", 6));
        commands++;
    } else {
        CHECK(vw_command_failed(&device, command.id, 1));
    }
}

// Turns the loop until `done` says so, 20 s at the most.
static void run_until(const char *what, int (*done)(void)) {
    uint64_t end = board_now() + 20000;
    while (!done()) {
        if (board_now() > end) {
            die(what, VW_OK);
        }
        receive();
        do_command();
        serve_storage();
        send_all();
        take_events();
    }
}

static int is_connected(void) {
    return vw_is_connected(&device) == VW_YES && pattern != 0;
}

static int is_drained(void) {
    return vw_is_drained(&device) == VW_YES;
}

static int is_commanded(void) {
    return commands != 0;
}

static int is_stored(void) {
    return vw_is_all_stored(&device) == VW_YES;
}

static int is_closed(void) {
    return vw_is_connected(&device) == VW_OK;
}

// The device takes its new keys with one of its next packets, so it needs something to send.
static int has_rekeyed(void) {
    static const int32_t rate = 80;
    uint32_t dh;
    CHECK(vw_ratchets(&device, NULL, &dh));
    if (dh == 0 && is_drained()) {
        CHECK(vw_record_values(&device, board_now(), VW_LANE_EVENT, board_now(), HEART_RATE, &rate, 1, NULL));
    }
    return dh > 0;
}

// New keys bring a new ticket, which comes a little later; the old one is gone.
static int has_settled(void) {
    static uint64_t since;
    if (since == 0) {
        since = board_now();
    }
    return FLASH->items[VW_ITEM_TICKET].len != 0 && board_now() - since > 1000;
}

#ifdef VW_HEAP_HOOKS
// A handshake without heap is an error, and tried again after a second.
static void connect_without_heap(void) {
    uint8_t packet[PACKET_MAX];
    size_t len;
    pool_close(1);
    EXPECT(vw_poll_transmit(&device, board_now(), packet, sizeof packet, &len), VW_ERROR_OUT_OF_MEMORY);
    pool_close(0);
}
#endif

int main(void) {
    uint32_t number;
    boot();
    CHECK(vw_boot(&device, &number));
    CHECK(vw_handle_link(&device, board_now(), VW_LINK_PACKET_MAX));
    CHECK(vw_connect(&device, board_now()));
#ifdef VW_HEAP_HOOKS
    if (number == 1) { // a resumption needs none
        connect_without_heap();
    }
#endif
    run_until("connecting", is_connected);
    if (number == 1) {
        if (pattern != FIRST_PATTERN) {
            die("the first handshake has another pattern", VW_OK);
        }
        CHECK(channels_record_all(&device, board_now()));
        run_until("draining", is_drained);
        run_until("a command", is_commanded);
        CHECK(vw_rekey(&device));
        run_until("rekeying", has_rekeyed);
        run_until("a new ticket", has_settled);
        CHECK(vw_handle_link(&device, board_now(), 0));
        for (int32_t rate = 91; rate <= 93; rate++) {
            CHECK(vw_record_values(&device, board_now(), VW_LANE_EVENT, board_now(), HEART_RATE, &rate, 1, NULL));
        }
        CHECK(vw_store_all(&device));
        run_until("storing", is_stored);
        board_print_number("peak heap ", (uint32_t)heap_peak());
        board_print_number("peak stack ", board_stack_peak());
        board_print("reset\n");
        board_reset();
    }
    if (pattern != 5) {
        die("the second boot does not resume", VW_OK);
    }
    run_until("draining what was stored", is_drained);
    CHECK(vw_disconnect(&device));
    run_until("closing", is_closed);
    send_all();
    board_print_number("peak heap ", (uint32_t)heap_peak());
    board_print_number("peak stack ", board_stack_peak());
    board_print_number("device ", sizeof device);
    CHECK(vw_device_destroy(&device));
    CHECK(vw_health_destroy(&health));
    if (heap_used() != 0) {
        die("the device has left something on the heap", VW_OK);
    }
    board_print("firmware: everything has arrived\n");
    return 0;
}
