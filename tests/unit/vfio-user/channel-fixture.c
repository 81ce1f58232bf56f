/*
 * A vfio-user channel and the other end of its socket.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <poll.h>
#include "qemu/memfd.h"
#include "channel-fixture.h"

int count_fds(void)
{
    GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);
    int count = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir)) {
        count++;
    }
    g_dir_close(dir);
    return count;
}

bool admit(void *opaque, const uint8_t *header, size_t size, size_t *max_fds,
           Error **errp)
{
    Fixture *f = opaque;

    f->admitted++;
    f->admitted_size = size;
    if (size > f->limit) {
        error_setg(errp, "too long (got %zu, limit %zu)", size, f->limit);
        return false;
    }
    *max_fds = f->max_fds;
    return true;
}

void fixture_init(Fixture *f)
{
    g_autoptr(Error) err = NULL;
    QIOChannelSocket *socket;
    int pair[2];

    memset(f, 0, sizeof(*f));
    f->limit = 1 << 20;
    f->num_fds = count_fds();
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    f->peer = pair[1];
    socket = qio_channel_socket_new_fd(pair[0], &error_abort);
    f->channel = vfio_user_channel_new(socket, admit, f, &err);
    g_assert_null(err);
    object_unref(OBJECT(socket));
}

void fixture_cleanup(Fixture *f)
{
    vfio_user_channel_free(f->channel);
    if (f->peer >= 0) {
        close(f->peer);
    }
    g_assert_cmpint(count_fds(), ==, f->num_fds);
}

/* A message of @size bytes, told apart by @seed; the header is spelled out. */
uint8_t *make_message(uint8_t seed, uint32_t size)
{
    uint8_t *bytes = g_malloc0(size);

    bytes[0] = seed;
    bytes[4] = size;
    bytes[5] = size >> 8;
    bytes[6] = size >> 16;
    for (uint32_t i = HEADER_SIZE; i < size; i++) {
        bytes[i] = seed + i * 7;
    }
    return bytes;
}

void peer_send(Fixture *f, const uint8_t *bytes, size_t size, const int *fds,
               size_t num_fds)
{
    char control[CMSG_SPACE(sizeof(int) * 32)] = { 0 };
    struct iovec iov = { (void *)bytes, size };
    struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (num_fds) {
        struct cmsghdr *cmsg = (struct cmsghdr *)control;

        header.msg_control = control;
        header.msg_controllen = CMSG_SPACE(num_fds * sizeof(int));
        cmsg->cmsg_len = CMSG_LEN(num_fds * sizeof(int));
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        memcpy(CMSG_DATA(cmsg), fds, num_fds * sizeof(int));
    }
    g_assert_cmpint(sendmsg(f->peer, &header, MSG_NOSIGNAL), ==, size);
}

/* As a user does: call until 0, then again when the socket is readable */
int receive(Fixture *f, VFIOUserMsg **msg, Error **errp)
{
    struct pollfd pfd = {
        .fd = vfio_user_channel_fd(f->channel), .events = POLLIN,
    };
    int ret = vfio_user_channel_recv(f->channel, 0, msg, errp);

    if (ret == 0 && poll(&pfd, 1, 0) == 1) {
        ret = vfio_user_channel_recv(f->channel, 0, msg, errp);
    }
    return ret;
}

void expect_message(Fixture *f, const uint8_t *bytes, size_t size,
                    size_t num_fds)
{
    g_autoptr(Error) err = NULL;
    g_autoptr(VFIOUserMsg) msg = NULL;

    g_assert_cmpint(receive(f, &msg, &err), ==, 1);
    g_assert_null(err);
    g_assert_cmpmem(msg->data, msg->size, bytes, size);
    g_assert_cmpuint(msg->num_fds, ==, num_fds);
}

void expect_nothing(Fixture *f)
{
    g_autoptr(Error) err = NULL;
    VFIOUserMsg *msg = NULL;

    g_assert_cmpint(receive(f, &msg, &err), ==, 0);
    g_assert_null(err);
    g_assert_null(msg);
}

void expect_error(Fixture *f, int ret, const char *text)
{
    g_autoptr(Error) err = NULL;
    VFIOUserMsg *msg = NULL;

    g_assert_cmpint(receive(f, &msg, &err), ==, ret);
    g_assert_nonnull(err);
    g_assert_cmpstr(error_get_pretty(err), ==, text);
    g_assert_null(msg);
}

void peer_close(Fixture *f)
{
    close(f->peer);
    f->peer = -1;
}

int make_file(const char *text)
{
    int fd = qemu_memfd_create("test-channel", 4096, false, 0, 0, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pwrite(fd, text, strlen(text) + 1, 0), ==,
                    strlen(text) + 1);
    return fd;
}

void expect_file(int fd, const char *text)
{
    char got[16];

    g_assert_cmpint(pread(fd, got, sizeof(got), 0), ==, sizeof(got));
    g_assert_cmpstr(got, ==, text);
    g_assert_cmpint(fcntl(fd, F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);
}
