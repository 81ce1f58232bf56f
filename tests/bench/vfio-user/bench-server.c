/*
 * A vfio-user server that does as little as possible for each message, to
 * measure a client with.  One thread, one connection; every wait is a blocking
 * system call.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include "bench-server.h"
#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define MOST_LATE 4096
#define MOST_FDS 16

/* Answers that are due later, in the order of their commands */
typedef struct Late {
    BenchReply reply;
    BenchHeader header;
    BenchAccess access;
    int64_t due_us;
} Late;

static Late late[MOST_LATE];
static size_t late_head, late_count;
static uint8_t received[2 * BENCH_MAX_MESSAGE];
static int connection;

static void __attribute__((noreturn)) fail(const char *what)
{
    fprintf(stderr, "bench-server: error: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void send_reply(const BenchReply *reply, const BenchHeader *header,
                       const BenchAccess *access)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct iovec parts[2] = {
        { (void *)reply->head, reply->head_size },
        { (void *)reply->data, reply->data_size },
    };
    struct msghdr message = {
        .msg_iov = parts,
        .msg_iovlen = reply->data_size ? 2 : 1,
    };
    size_t size = reply->head_size + reply->data_size;

    if (reply->fd >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &reply->fd, sizeof(int));
    }
    /* A blocking send of a stream socket sends all of it */
    if (sendmsg(connection, &message, MSG_NOSIGNAL) != (ssize_t)size &&
        errno != EPIPE && errno != ECONNRESET) {
        fail("sendmsg");
    }
    bench_log_add(header, true, access);
}

/* An answer that is sent later holds up those behind it, as servers do. */
static void answer(const BenchReply *reply, const BenchHeader *header,
                   const BenchAccess *access)
{
    Late *last = &late[(late_head + late_count - 1) % MOST_LATE];
    Late *next = &late[(late_head + late_count) % MOST_LATE];
    int64_t due_us;

    if (!late_count && !reply->delay_us) {
        send_reply(reply, header, access);
        return;
    }
    if (late_count == MOST_LATE) {
        errno = ENOBUFS;
        fail("too many requests under way");
    }
    due_us = bench_now_us() + reply->delay_us;
    if (late_count && last->due_us > due_us) {
        due_us = last->due_us;
    }
    *next = (Late) { *reply, *header, *access, due_us };
    late_count++;
}

/* Send what is due; returns whether there is something to receive. */
static bool wait_with_late(void)
{
    while (late_count) {
        Late *first = &late[late_head];
        int64_t left_us = first->due_us - bench_now_us();
        struct timespec left = { left_us / 1000000, left_us % 1000000 * 1000 };
        struct pollfd fd = { connection, POLLIN, 0 };

        if (left_us > 0) {
            if (ppoll(&fd, 1, &left, NULL) > 0) {
                return true;
            }
            continue;
        }
        late_head = (late_head + 1) % MOST_LATE;
        late_count--;
        send_reply(&first->reply, &first->header, &first->access);
    }
    return true;
}

/* Receive once; returns the number of bytes, 0 when the client has gone. */
static size_t receive(uint8_t *bytes, size_t room)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(MOST_FDS * sizeof(int))];
    } control;
    struct iovec part = { bytes, room };
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    struct cmsghdr *cmsg;
    ssize_t size = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);

    if (size < 0 && errno != ECONNRESET) {
        fail("recvmsg");
    }
    for (cmsg = CMSG_FIRSTHDR(&message); size > 0 && cmsg;
         cmsg = CMSG_NXTHDR(&message, cmsg)) {
        size_t i, num = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        for (i = 0; i < num; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
            close(fd);
        }
    }
    return size > 0 ? size : 0;
}

/* Execute the message at @bytes if it is whole; returns its size, or 0. */
static size_t execute(const uint8_t *bytes, size_t size)
{
    BenchReply reply;
    BenchHeader header;
    BenchAccess access;

    if (size < sizeof(header)) {
        return 0;
    }
    memcpy(&header, bytes, sizeof(header));
    if (header.size < sizeof(header) || header.size > BENCH_MAX_MESSAGE) {
        errno = EPROTO;
        fail("size of a message");
    }
    if (size < header.size) {
        return 0;
    }
    bench_device_execute(&header, bytes + sizeof(header),
                         header.size - sizeof(header), &reply, &access);
    bench_log_add(&header, false, &access);
    if (!(header.flags & BENCH_NO_REPLY)) {
        answer(&reply, &header, &access);
    }
    return header.size;
}

static void serve(void)
{
    size_t have = 0;

    while (wait_with_late()) {
        size_t done = 0, size;
        size_t got = receive(received + have, sizeof(received) - have);

        if (!got) {
            return;
        }
        have += got;
        while ((size = execute(received + done, have - done))) {
            done += size;
        }
        have -= done;
        memmove(received, received + done, have);
    }
}

static void listen_at(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        fail(path);
    }
    strcpy(address.sun_path, path);
    if (listener < 0 ||
        bind(listener, (struct sockaddr *)&address, sizeof(address)) ||
        listen(listener, 1)) {
        fail(path);
    }
    connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (connection < 0) {
        fail("accept");
    }
    close(listener);
}

/* The command line: what does not fit into BenchOptions as it is */
static char *socket_path, *log_path;
static double delays_ms[5];
static gboolean mapped;
static BenchOptions options = {
    .bar_size = 1 << 20, .max_data = 1 << 20, .window_size = 16 << 20,
};

#define BYTES(name, member, text) \
    { name, 0, 0, G_OPTION_ARG_INT64, &options.member, text, "BYTES" }
#define DELAY(name, index, text) \
    { name, 0, 0, G_OPTION_ARG_DOUBLE, &delays_ms[index], text, "MS" }

static const GOptionEntry entries[] = {
    { "socket-path", 0, 0, G_OPTION_ARG_FILENAME, &socket_path,
      "Listen on this UNIX socket", "PATH" },
    { "log", 0, 0, G_OPTION_ARG_FILENAME, &log_path,
      "Write what was seen here, as vfio-user-mock its journal", "FILE" },
    BYTES("bar-size", bar_size, "Of BAR0, a power of two (1 MiB)"),
    BYTES("max-data", max_data, "Of data in a message, as told (1 MiB)"),
    BYTES("state-size", state_size, "Device data in stop-and-copy (0)"),
    BYTES("window-size", window_size, "Of the data area (16 MiB)"),
    BYTES("chunk-size", chunk_size, "Given at a time (the window)"),
    { "mapped", 0, 0, G_OPTION_ARG_NONE, &mapped,
      "The data area can be mapped", NULL },
    DELAY("delay-dirty", 0, "Answer DIRTY_PAGES so much later"),
    DELAY("delay-state", 1, "Likewise writes of device_state"),
    DELAY("delay-map", 2, "Likewise DMA_MAP and DMA_UNMAP"),
    DELAY("delay-info", 3, "Likewise queries of info"),
    DELAY("delay", 4, "Likewise all others"),
    { .long_name = NULL }
};

static bool parse(int *argc, char ***argv)
{
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;

    g_option_context_set_summary(context,
        "Serves one client, then writes its log and ends.  While an answer is\n"
        "due later, others are executed.");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, argc, argv, &error)) {
        fprintf(stderr, "bench-server: error: %s\n", error->message);
        return false;
    }
    if (*argc > 1 || !socket_path || !options.window_size) {
        fputs("bench-server: error: wrong arguments, see --help\n", stderr);
        return false;
    }
    if (!options.chunk_size || options.chunk_size > options.window_size) {
        options.chunk_size = options.window_size;
    }
    options.mapped = mapped;
    options.delay_dirty_us = delays_ms[0] * 1000;
    options.delay_state_us = delays_ms[1] * 1000;
    options.delay_map_us = delays_ms[2] * 1000;
    options.delay_info_us = delays_ms[3] * 1000;
    options.delay_us = delays_ms[4] * 1000;
    return true;
}

int main(int argc, char **argv)
{
    if (!parse(&argc, &argv)) {
        return 2;
    }
    if (!bench_device_init(&options)) {
        return 1;
    }
    listen_at(socket_path);
    serve();
    if (log_path && !bench_log_write(log_path)) {
        fail(log_path);
    }
    return 0;
}
