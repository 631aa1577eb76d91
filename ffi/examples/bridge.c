// Joins a serial line to a UDP service: packets in COBS on the one side, datagrams on the other.
//
//   bridge SOCKET HOST:PORT
//
// SOCKET is a Unix socket that stands for the line (qemu's `-serial unix:SOCKET,server=on`). Ends with the line.
#define _POSIX_C_SOURCE 200809L

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "vitalwire.h"

static void fail(const char *what) {
    fprintf(stderr, "bridge: %s\n", what);
    exit(1);
}

// The emulator makes its socket when it is ready.
static int open_line(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        fail("the path is too long");
    }
    strcpy(address.sun_path, path);
    for (int attempt = 0; attempt < 200; attempt++) {
        int line = socket(AF_UNIX, SOCK_STREAM, 0);
        if (line >= 0 && connect(line, (const struct sockaddr *)&address, sizeof address) == 0) {
            return line;
        }
        close(line);
        const struct timespec pause = {.tv_nsec = 50000000};
        nanosleep(&pause, NULL);
    }
    fail("nobody is at the line");
    return -1;
}

static int open_service(const char *text) {
    unsigned a, b, c, d, port;
    if (sscanf(text, "%u.%u.%u.%u:%u", &a, &b, &c, &d, &port) != 5) {
        fail("no address");
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(a << 24 | b << 16 | c << 8 | d);
    int service = socket(AF_INET, SOCK_DGRAM, 0);
    if (service < 0 || connect(service, (const struct sockaddr *)&address, sizeof address) != 0) {
        fail("no service");
    }
    return service;
}

static void write_all(int line, const uint8_t *bytes, size_t len) {
    while (len > 0) {
        ssize_t written = write(line, bytes, len);
        if (written <= 0) {
            exit(0); // the line has gone
        }
        bytes += written;
        len -= (size_t)written;
    }
}

// From the line to the service.
static void forward(vw_cobs *decoder, int service, const uint8_t *bytes, size_t len) {
    size_t taken, packet_len;
    uint8_t *packet;
    for (size_t at = 0; at < len; at += taken) {
        if (vw_cobs_next(decoder, bytes + at, len - at, &taken, &packet, &packet_len) != VW_OK) {
            fail("the decoder");
        }
        if (packet_len != 0 && send(service, packet, packet_len, 0) < 0) {
            return; // as if it were lost
        }
    }
}

int main(int argc, char **argv) {
    static vw_cobs decoder;
    static uint8_t bytes[2048], framed[2100];
    if (argc != 3) {
        fail("usage: bridge SOCKET HOST:PORT");
    }
    int line = open_line(argv[1]), service = open_service(argv[2]);
    if (vw_cobs_init(&decoder, sizeof decoder) != VW_OK) {
        fail("the decoder");
    }
    struct pollfd ready[2] = {{.fd = line, .events = POLLIN}, {.fd = service, .events = POLLIN}};
    for (;;) {
        if (poll(ready, 2, -1) < 0) {
            fail("poll");
        }
        if (ready[0].revents != 0) {
            ssize_t len = read(line, bytes, sizeof bytes);
            if (len <= 0) {
                return 0;
            }
            forward(&decoder, service, bytes, (size_t)len);
        }
        if (ready[1].revents != 0) {
            ssize_t len = recv(service, bytes, sizeof bytes, 0);
            size_t framed_len;
            if (len > 0 && vw_cobs_write(bytes, (size_t)len, framed, sizeof framed, &framed_len) == VW_OK) {
                write_all(line, framed, framed_len);
            }
        }
    }
}
