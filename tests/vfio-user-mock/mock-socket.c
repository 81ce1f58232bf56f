/*
 * Bytes and file descriptors of one connection: never blocks except in poll,
 * always to be woken.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "mock-internal.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef union Control {
    char bytes[CMSG_SPACE(MOCK_MAX_FDS * sizeof(int))];
    struct cmsghdr align;
} Control;

void mock_connection_init(MockConnection *connection, int fd)
{
    *connection = (MockConnection) { .fd = fd };
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
}

void mock_connection_close(MockConnection *connection)
{
    unsigned i;

    for (i = 0; i < connection->num_fds; i++) {
        close(connection->fds[i]);
    }
    mock_message_free(connection->incoming);
    close(connection->fd);
    *connection = (MockConnection) { .fd = -1 };
}

static void keep_fds(MockConnection *connection, struct msghdr *header)
{
    struct cmsghdr *control;
    int fd;

    for (control = CMSG_FIRSTHDR(header); control;
         control = CMSG_NXTHDR(header, control)) {
        size_t number = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int), i;

        if (control->cmsg_level != SOL_SOCKET ||
            control->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (i = 0; i < number; i++) {
            memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof(int));
            if (connection->num_fds < MOCK_MAX_FDS) {
                connection->fds[connection->num_fds++] = fd;
            } else {
                close(fd);
            }
        }
    }
}

/* Bytes read; 0 at end of file; -errno */
static ssize_t receive(MockConnection *connection, void *data, size_t size)
{
    struct iovec vector = { .iov_base = data, .iov_len = size };
    Control control;
    struct msghdr header = {
        .msg_iov = &vector,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    ssize_t got;

    do {
        got = recvmsg(connection->fd, &header,
                      MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return -errno;
    }
    keep_fds(connection, &header);
    return got;
}

/* Fill data up to size; OK with *done short means: no more for now */
static MockIo receive_up_to(MockConnection *connection, uint8_t *data,
                            size_t size, size_t *done)
{
    while (*done < size) {
        ssize_t got = receive(connection, data + *done, size - *done);

        if (got == -EAGAIN || got == -EWOULDBLOCK) {
            return MOCK_IO_OK;
        }
        if (got <= 0) {
            return MOCK_IO_CLOSED;
        }
        *done += got;
    }
    return MOCK_IO_OK;
}

static MockMessage *take_message(MockConnection *connection)
{
    MockMessage *message = g_steal_pointer(&connection->incoming);

    memcpy(message->fds, connection->fds, sizeof(message->fds));
    message->num_fds = connection->num_fds;
    connection->num_fds = 0;
    connection->header_got = connection->body_got = 0;
    return message;
}

MockIo mock_connection_receive(MockConnection *connection, uint32_t max_size,
                               MockMessage **message, bool *bad_length)
{
    MockMessage *incoming;
    MockIo io;

    *message = NULL;
    *bad_length = false;
    io = receive_up_to(connection, connection->header, MOCK_HEADER_SIZE,
                       &connection->header_got);
    if (io != MOCK_IO_OK || connection->header_got < MOCK_HEADER_SIZE) {
        return io;
    }
    if (!connection->incoming) {
        incoming = connection->incoming = mock_message_new();
        mock_header_get(incoming, connection->header);
        if (incoming->size < MOCK_HEADER_SIZE || incoming->size > max_size) {
            *bad_length = true;
            *message = take_message(connection);
            return MOCK_IO_CLOSED;
        }
        g_byte_array_set_size(incoming->body,
                              incoming->size - MOCK_HEADER_SIZE);
    }
    incoming = connection->incoming;
    io = receive_up_to(connection, incoming->body->data, incoming->body->len,
                       &connection->body_got);
    if (io == MOCK_IO_OK && connection->body_got == incoming->body->len) {
        *message = take_message(connection);
    }
    return io;
}

/* polls[0] is the wake-up event; an fd of -1 is left alone */
static MockIo wait_for(Mock *mock, struct pollfd *polls, unsigned number,
                       int64_t deadline_us)
{
    int64_t left = -1;
    uint64_t wakes;
    MockIo io = MOCK_IO_OK;

    if (deadline_us >= 0) {
        left = MAX(deadline_us - g_get_monotonic_time(), 0);
        left = (left + 999) / 1000;
    }
    if (poll(polls, number, left) <= 0) {
        return MOCK_IO_OK;
    }
    if (polls[0].revents) {
        if (read(mock->wake_fd, &wakes, sizeof(wakes)) < 0) {
            return MOCK_IO_OK;
        }
        g_mutex_lock(&mock->lock);
        if (mock->stop) {
            io = MOCK_IO_STOP;
        } else if (mock->drop) {
            io = MOCK_IO_CLOSED;
        }
        g_mutex_unlock(&mock->lock);
    }
    return io;
}

MockIo mock_wait_for(Mock *mock, int fd, short events, int64_t deadline_us,
                     short *revents)
{
    struct pollfd polls[2] = {
        { .fd = mock->wake_fd, .events = POLLIN },
        { .fd = fd, .events = events },
    };
    MockIo io = wait_for(mock, polls, 2, deadline_us);

    *revents = polls[1].revents;
    return io;
}

MockIo mock_wait_for_input(Mock *mock, int64_t deadline_us, bool *connection,
                           bool *twin)
{
    struct pollfd polls[3] = {
        { .fd = mock->wake_fd, .events = POLLIN },
        { .fd = mock->connection.fd, .events = POLLIN },
        { .fd = mock->twin.fd, .events = POLLIN },
    };
    MockIo io = wait_for(mock, polls, 3, deadline_us);

    *connection = polls[1].revents;
    *twin = polls[2].revents;
    return io;
}

int mock_twin_open(Mock *mock)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
        return -errno;
    }
    mock_connection_init(&mock->twin, pair[0]);
    return pair[1];
}

static ssize_t send_some(int fd, const uint8_t *bytes, size_t size,
                         const int *fds, unsigned num_fds)
{
    struct iovec vector = { .iov_base = (void *)bytes, .iov_len = size };
    struct msghdr header = { .msg_iov = &vector, .msg_iovlen = 1 };
    struct cmsghdr *rights;
    Control control = { { 0 } };
    ssize_t sent;

    if (num_fds) {
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(num_fds * sizeof(int));
        rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(num_fds * sizeof(int));
        memcpy(CMSG_DATA(rights), fds, num_fds * sizeof(int));
    }
    do {
        sent = sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

static MockIo send_all(Mock *mock, int fd, const uint8_t *bytes, size_t size,
                       const int *fds, unsigned num_fds)
{
    size_t done = 0;

    while (done < size) {
        ssize_t sent = send_some(fd, bytes + done, size - done, fds,
                                 done ? 0 : num_fds);
        short revents;
        MockIo io;

        if (sent >= 0) {
            done += sent;
            continue;
        }
        if (sent != -EAGAIN && sent != -EWOULDBLOCK) {
            return MOCK_IO_CLOSED;
        }
        io = mock_wait_for(mock, fd, POLLOUT, -1, &revents);
        if (io != MOCK_IO_OK) {
            return io;
        }
    }
    return MOCK_IO_OK;
}

MockIo mock_connection_send(Mock *mock, const uint8_t *bytes, size_t size,
                            const int *fds, unsigned num_fds)
{
    return send_all(mock, mock->connection.fd, bytes, size, fds, num_fds);
}

MockIo mock_connection_send_command(Mock *mock, const uint8_t *bytes,
                                    size_t size)
{
    int fd = mock->twin.fd >= 0 ? mock->twin.fd : mock->connection.fd;

    return send_all(mock, fd, bytes, size, NULL, 0);
}

MockIo mock_connection_send_message(Mock *mock, const MockMessage *message)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    uint8_t header[MOCK_HEADER_SIZE];

    mock_header_put(message, header);
    g_byte_array_append(bytes, header, sizeof(header));
    g_byte_array_append(bytes, message->body->data, message->body->len);
    return mock_connection_send(mock, bytes->data, bytes->len, message->fds,
                                message->num_fds);
}

/* A socket that nobody serves any more may be replaced, nothing else */
static bool clear_path(const struct sockaddr_un *address, GError **error)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int result = connect(fd, (const struct sockaddr *)address,
                         sizeof(*address));
    int trouble = result ? errno : EADDRINUSE;

    close(fd);
    if (trouble == ENOENT) {
        return true;
    }
    if (trouble == ECONNREFUSED && g_file_test(address->sun_path,
                                               G_FILE_TEST_EXISTS) &&
        !g_file_test(address->sun_path, G_FILE_TEST_IS_REGULAR)) {
        unlink(address->sun_path);
        return true;
    }
    if (trouble == ECONNREFUSED) {
        trouble = EEXIST;
    }
    g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(trouble),
                "cannot listen on '%s': %s", address->sun_path,
                g_strerror(trouble));
    return false;
}

int mock_listen(const char *path, GError **error)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd, saved;

    if (!*path) {
        g_set_error_literal(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                            "the socket path is empty");
        return -1;
    }
    if (strlen(path) >= sizeof(address.sun_path)) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NAMETOOLONG,
                    "socket path '%s' is too long (%zu bytes, limit %zu)",
                    path, strlen(path), sizeof(address.sun_path) - 1);
        return -1;
    }
    strcpy(address.sun_path, path);
    if (!clear_path(&address, error)) {
        return -1;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) ||
        listen(fd, 8)) {
        saved = errno;
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(saved),
                    "cannot listen on '%s': %s", path, g_strerror(saved));
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}
