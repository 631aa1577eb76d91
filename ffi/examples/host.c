// A device in C on a host, against the example backend `udp_backend`:
//
//   host PROVISION STORAGE
//
// PROVISION is the file that the backend writes, STORAGE a file that stands for flash. The device meets the backend,
// sends records in every lane, does a command, rekeys; then the link goes down, a few records get stored, and the power
// is cut. After the reboot the device resumes, and what was stored arrives. ffi/run builds it with sanitizers.
#define _POSIX_C_SOURCE 200809L

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "channels.h"
#include "check.h"
#include "storage.h"
#include "vitalwire.h"

#define PACKET_MAX 1500

struct provision {
    struct sockaddr_in backend;
    uint8_t authority[VW_KEY_LEN];
    uint8_t secret[VW_KEY_LEN];
    uint8_t credential[VW_CREDENTIAL_MAX];
    size_t credential_len;
};

struct command {
    int pending;
    uint32_t id;
    uint64_t deadline;
    char body[257];
};

struct app {
    vw_device device;
    int socket;
    struct provision provision;
    const char *storage_path;
    struct storage storage;
    struct command command;
    int entropy_fails;
    int connected;
    uint8_t pattern;
    uint32_t commands;
    uint8_t outbox[8192];
    uint8_t backlog[12288];
    uint8_t descriptors[256];
};

_Noreturn void die(const char *what, vw_status status) {
    fprintf(stderr, "host: %s: %s\n", what, vw_error_name(status));
    exit(1);
}

static void fail(const char *what) {
    fprintf(stderr, "host: %s\n", what);
    exit(1);
}

static uint64_t now_ms(void) {
    struct timespec time;
    if (clock_gettime(CLOCK_MONOTONIC, &time) != 0) {
        fail("no clock");
    }
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

// The system's generator; on a device, a hardware generator that passed its health tests.
static int32_t entropy(void *context, uint8_t *out, size_t len) {
    const struct app *app = context;
    if (app->entropy_fails) {
        return -1;
    }
    FILE *file = fopen("/dev/urandom", "rb");
    if (file == NULL) {
        return -1;
    }
    size_t read = fread(out, 1, len, file);
    fclose(file);
    return read == len ? 0 : -1;
}

// Keeps what came; it is done after the call.
static void received(void *context, const vw_received *what) {
    struct app *app = context;
    uint64_t when;
    // Not from in here.
    EXPECT(vw_poll_timeout(&app->device, &when), VW_ERROR_BUSY);
    if (what->kind == VW_RECEIVED_COMMAND && !app->command.pending && what->body_len < sizeof app->command.body) {
        app->command.pending = 1;
        app->command.id = what->id;
        app->command.deadline = what->deadline;
        memcpy(app->command.body, what->body, what->body_len);
        app->command.body[what->body_len] = 0;
    }
}

// --- provisioning

static size_t hex_field(const char *text, const char *name, uint8_t *out, size_t max) {
    char key[64];
    snprintf(key, sizeof key, "\"%s\": \"", name);
    const char *at = strstr(text, key);
    if (at == NULL) {
        fail("the provisioning lacks a field");
    }
    at += strlen(key);
    size_t len = 0;
    unsigned byte;
    while (len < max && sscanf(at, "%2x", &byte) == 1 && at[0] != '"') {
        out[len++] = (uint8_t)byte;
        at += 2;
    }
    if (*at != '"') {
        fail("a field of the provisioning is too long");
    }
    return len;
}

static void read_provision(const char *path, struct provision *provision) {
    static char text[8192];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail("cannot open the provisioning");
    }
    size_t len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[len] = 0;
    const char *at = strstr(text, "\"address\": \"");
    unsigned a, b, c, d, port;
    if (at == NULL || sscanf(at + 12, "%u.%u.%u.%u:%u", &a, &b, &c, &d, &port) != 5) {
        fail("the provisioning has no address");
    }
    provision->backend.sin_family = AF_INET;
    provision->backend.sin_port = htons((uint16_t)port);
    provision->backend.sin_addr.s_addr = htonl(a << 24 | b << 16 | c << 8 | d);
    hex_field(text, "authority", provision->authority, VW_KEY_LEN);
    hex_field(text, "device_secret", provision->secret, VW_KEY_LEN);
    provision->credential_len = hex_field(text, "device_credential", provision->credential, VW_CREDENTIAL_MAX);
}

// --- storage in a file

static void load_storage(struct app *app) {
    memset(&app->storage, 0, sizeof app->storage);
    FILE *file = fopen(app->storage_path, "rb");
    if (file == NULL) {
        return; // a new device
    }
    if (fread(&app->storage, sizeof app->storage, 1, file) != 1) {
        memset(&app->storage, 0, sizeof app->storage);
    }
    fclose(file);
}

// The old file or the new one survives a power cut.
static int save_storage(const struct app *app) {
    char draft[512];
    snprintf(draft, sizeof draft, "%s.draft", app->storage_path);
    FILE *file = fopen(draft, "wb");
    if (file == NULL) {
        return -1;
    }
    size_t written = fwrite(&app->storage, sizeof app->storage, 1, file);
    int durable = fflush(file) == 0 && fsync(fileno(file)) == 0;
    fclose(file);
    return written == 1 && durable && rename(draft, app->storage_path) == 0 ? 0 : -1;
}

static void serve_storage(struct app *app) {
    vw_storage_request request;
    vw_storage_reply reply;
    for (;;) {
        uint64_t now = now_ms();
        CHECK(vw_poll_storage(&app->device, now, &request));
        if (request.kind == VW_STORAGE_NONE) {
            return;
        }
        if (storage_serve(&app->storage, &request, &reply) && save_storage(app) != 0) {
            reply.kind = VW_REPLY_FAILED;
        }
        CHECK(vw_handle_storage(&app->device, now, &reply));
    }
}

// --- the run loop

static void boot(struct app *app) {
    static const uint8_t storage_key[VW_KEY_LEN] = {7, 7, 7}; // an example's: a real one is random, and kept apart
    vw_config config;
    char why[80];
    size_t descriptors_len;
    load_storage(app);
    app->connected = 0;
    CHECK(channels_encode(app->descriptors, sizeof app->descriptors, &descriptors_len));
    CHECK(vw_config_init(&config, sizeof config));
    config.secret_key = app->provision.secret;
    config.credential = app->provision.credential;
    config.credential_len = app->provision.credential_len;
    config.authorities = app->provision.authority;
    config.authority_count = 1;
    config.wall_clock = (uint64_t)time(NULL);
    config.boot = 1; // the storage knows better
    config.rekey.dh_interval_ms = 0; // as the example backend has it
    config.storage_key = storage_key;
    config.outbox = app->outbox;
    config.outbox_len = sizeof app->outbox;
    config.backlog = app->backlog;
    config.backlog_len = sizeof app->backlog;
    config.descriptors = app->descriptors;
    config.descriptors_len = descriptors_len;
    config.entropy = entropy;
    config.entropy_context = app;
    config.received = received;
    config.received_context = app;

    // What is wrong is said in words.
    config.quotas[0] = 0;
    EXPECT(vw_device_init(&app->device, sizeof app->device, &config, why, sizeof why), VW_ERROR_INVALID_CONFIG);
    if (strstr(why, "quota") == NULL) {
        fail("vw_device_init does not say what is wrong");
    }
    config.quotas[0] = 100;
    CHECK(vw_device_init(&app->device, sizeof app->device, &config, why, sizeof why));
    serve_storage(app);
    uint32_t number;
    CHECK(vw_boot(&app->device, &number));
    printf("boot %u\n", (unsigned)number);
}

static void send_all(struct app *app) {
    uint8_t packet[PACKET_MAX];
    size_t len;
    for (;;) {
        CHECK(vw_poll_transmit(&app->device, now_ms(), packet, sizeof packet, &len));
        if (len == 0) {
            return;
        }
        const struct sockaddr *to = (const struct sockaddr *)&app->provision.backend;
        if (sendto(app->socket, packet, len, 0, to, sizeof app->provision.backend) < 0) {
            return; // as if it were lost
        }
    }
}

static void take_events(struct app *app) {
    vw_event event;
    for (;;) {
        CHECK(vw_poll_event(&app->device, &event));
        switch (event.kind) {
        case VW_EVENT_NONE:
            return;
        case VW_EVENT_CONNECTED:
            app->connected = 1;
            app->pattern = event.pattern;
            printf("connected, pattern %u\n", event.pattern);
            break;
        case VW_EVENT_DISCONNECTED:
            app->connected = 0;
            printf("disconnected, reason %u\n", event.reason);
            break;
        case VW_EVENT_CONNECT_FAILED:
        case VW_EVENT_STORAGE_TROUBLE:
        case VW_EVENT_RECORDS_REFUSED:
        case VW_EVENT_RECORDS_DROPPED:
            fprintf(stderr, "host: event %u, reason %u\n", event.kind, event.reason);
            exit(1);
        default:
            break;
        }
    }
}

static void do_command(struct app *app) {
    if (!app->command.pending) {
        return;
    }
    app->command.pending = 0;
    printf("command: %s\n", app->command.body);
    if (now_ms() < app->command.deadline) {
        CHECK(vw_command_done(&app->device, app->command.id, (const uint8_t *)"from C", 6));
        app->commands++;
    } else {
        CHECK(vw_command_failed(&app->device, app->command.id, 1));
    }
    // Once.
    EXPECT(vw_command_failed(&app->device, app->command.id, 1), VW_ERROR_STALE_HANDLE);
}

static void receive(struct app *app) {
    uint8_t packet[PACKET_MAX];
    uint64_t wake, now = now_ms();
    CHECK(vw_poll_timeout(&app->device, &wake));
    int wait = wake <= now ? 0 : wake - now < 50 ? (int)(wake - now) : 50;
    struct pollfd ready = {.fd = app->socket, .events = POLLIN};
    if (poll(&ready, 1, wait) == 1) {
        ssize_t len = recv(app->socket, packet, sizeof packet, 0);
        if (len > 0) {
            CHECK(vw_handle_packet(&app->device, now_ms(), packet, (size_t)len));
        }
    }
}

static void turn(struct app *app) {
    receive(app);
    do_command(app);
    serve_storage(app);
    send_all(app);
    take_events(app);
}

// Turns the loop until `done` says so, 10 s at the most.
static void run_until(struct app *app, const char *what, int (*done)(struct app *)) {
    uint64_t end = now_ms() + 10000;
    while (!done(app)) {
        if (now_ms() > end) {
            fprintf(stderr, "host: timed out: %s\n", what);
            exit(1);
        }
        turn(app);
    }
}

static int is_connected(struct app *app) {
    return app->connected && vw_is_connected(&app->device) == VW_YES;
}

static int is_drained(struct app *app) {
    return vw_is_drained(&app->device) == VW_YES;
}

static int is_commanded(struct app *app) {
    return app->commands > 0;
}

static int is_stored(struct app *app) {
    return vw_is_all_stored(&app->device) == VW_YES;
}

// The device takes its new keys with one of its next packets, so it needs something to send.
static int has_rekeyed(struct app *app) {
    static const int32_t rate = 80;
    uint32_t dh;
    CHECK(vw_ratchets(&app->device, NULL, &dh));
    if (dh == 0 && is_drained(app)) {
        CHECK(vw_record_values(&app->device, now_ms(), VW_LANE_EVENT, now_ms(), HEART_RATE, &rate, 1, NULL));
    }
    return dh > 0;
}

// New keys bring a new ticket, which comes a little later; the old one is gone.
static int has_settled(struct app *app) {
    static uint64_t since;
    if (since == 0) {
        since = now_ms();
    }
    return app->storage.items[VW_ITEM_TICKET].len != 0 && now_ms() - since > 1000;
}

static int has_time(struct app *app) {
    vw_wall_reading reading;
    vw_status status = vw_wall_time(&app->device, now_ms(), &reading);
    return status == VW_OK && reading.quality >= 2 && reading.error_ms < 1000;
}

static int is_closed(struct app *app) {
    return !app->connected;
}

// The first boot: everything once.
static void first_boot(struct app *app) {
    uint8_t packet[PACKET_MAX];
    size_t len;
    boot(app);
    CHECK(vw_handle_link(&app->device, now_ms(), 1232));
    CHECK(vw_connect(&app->device, now_ms()));
    app->entropy_fails = 1;
    EXPECT(vw_poll_transmit(&app->device, now_ms(), packet, sizeof packet, &len), VW_ERROR_ENTROPY);
    app->entropy_fails = 0;
    EXPECT(vw_poll_transmit(&app->device, now_ms(), packet, 20, &len), VW_ERROR_BUFFER_TOO_SMALL);
    if (len <= 20 || len > VW_HANDSHAKE_PACKET_MAX) {
        fail("the needed length is not told");
    }
    run_until(app, "connecting", is_connected);
    if (app->pattern != 1) {
        fail("the first handshake is XX");
    }
    CHECK(channels_record_all(&app->device, now_ms()));
    run_until(app, "draining", is_drained);
    run_until(app, "a command", is_commanded);
    CHECK(vw_rekey(&app->device));
    run_until(app, "rekeying", has_rekeyed);
    run_until(app, "a new ticket", has_settled);
    CHECK(vw_sync_time(&app->device, now_ms()));
    run_until(app, "the time", has_time);

    // The link is gone; then the power.
    CHECK(vw_handle_link(&app->device, now_ms(), 0));
    for (int32_t rate = 91; rate <= 93; rate++) {
        CHECK(vw_record_values(&app->device, now_ms(), VW_LANE_EVENT, now_ms(), HEART_RATE, &rate, 1, NULL));
    }
    CHECK(vw_store_all(&app->device));
    run_until(app, "storing", is_stored);
    uint64_t through;
    CHECK(vw_stored_through(&app->device, VW_LANE_EVENT, &through));
    if (through == VW_NEVER) {
        fail("nothing was stored");
    }
    CHECK(vw_device_destroy(&app->device));
    for (size_t i = 0; i < sizeof app->device.opaque / sizeof app->device.opaque[0]; i++) {
        if (app->device.opaque[i] != 0) {
            fail("the device was not wiped");
        }
    }
    EXPECT(vw_is_drained(&app->device), VW_ERROR_NOT_INITIALISED);
    EXPECT(vw_device_destroy(&app->device), VW_ERROR_NOT_INITIALISED);
}

// The second boot: resumes with its ticket, and what was stored arrives.
static void second_boot(struct app *app) {
    boot(app);
    if (is_drained(app)) {
        fail("the storage has lost the records");
    }
    CHECK(vw_handle_link(&app->device, now_ms(), 1232));
    CHECK(vw_connect(&app->device, now_ms()));
    run_until(app, "resuming", is_connected);
    if (app->pattern != 5) {
        fail("the second boot does not resume");
    }
    run_until(app, "draining what was stored", is_drained);
    CHECK(vw_disconnect(&app->device));
    run_until(app, "closing", is_closed);
    uint32_t count, all = 0;
    for (uint16_t reason = 0; vw_discards(&app->device, reason, &count) == VW_OK; reason++) {
        char name[64];
        CHECK(vw_discard_name(reason, name, sizeof name));
        if (count != 0) {
            printf("discarded: %s, %u times\n", name, (unsigned)count);
        }
        all++;
    }
    if (all == 0) {
        fail("there are no reasons for discards");
    }
    CHECK(vw_device_destroy(&app->device));
}

int main(int argc, char **argv) {
    static struct app app;
    if (argc != 3) {
        fprintf(stderr, "usage: host PROVISION STORAGE\n");
        return 2;
    }
    if (vw_api_version() != VW_API_VERSION) {
        fail("header and library are not of one version");
    }
    printf("vitalwire %s, a device takes %zu bytes\n", vw_version(), sizeof(vw_device));
    read_provision(argv[1], &app.provision);
    app.storage_path = argv[2];
    app.socket = socket(AF_INET, SOCK_DGRAM, 0);
    if (app.socket < 0) {
        fail("no socket");
    }
    first_boot(&app);
    second_boot(&app);
    close(app.socket);
    printf("host: everything has arrived\n");
    return 0;
}
