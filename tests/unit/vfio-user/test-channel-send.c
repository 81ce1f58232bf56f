/*
 * Unit tests of the vfio-user channel: messages sent, and what arrives of them
 * at the other end of its socket.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <poll.h>
#include "qemu/module.h"
#include "channel-fixture.h"

static void test_channel_shutdown(void)
{
    struct iovec iov = { (void *)"late", 4 };
    g_autoptr(Error) err = NULL;
    Fixture f;

    fixture_init(&f);
    vfio_user_channel_shutdown(f.channel);
    vfio_user_channel_shutdown(f.channel);
    expect_error(&f, -ENOTCONN, "server closed the connection");
    g_assert_cmpint(vfio_user_channel_send(f.channel, &iov, 1, NULL, 0, NULL,
                                           NULL, &err), ==, -ENOTCONN);
    g_assert_cmpstr(error_get_pretty(err), ==, "server closed the connection");
    fixture_cleanup(&f);
}

/* All pieces and the fds are one packet for a peer that reads by packets. */
static void test_channel_send_at_once(void)
{
    struct iovec iov[] = {
        { (void *)"head", 4 }, { NULL, 0 }, { (void *)"body", 5 },
    };
    char control[CMSG_SPACE(sizeof(int) * 2)];
    char got[64];
    struct iovec into = { got, sizeof(got) };
    struct msghdr header = {
        .msg_iov = &into, .msg_iovlen = 1,
        .msg_control = control, .msg_controllen = sizeof(control),
    };
    struct cmsghdr *cmsg = (struct cmsghdr *)control;
    int files[] = { make_file("three"), make_file("four") };
    int received[2];
    Fixture f;

    fixture_init(&f);
    g_assert_cmpint(vfio_user_channel_send(f.channel, iov, 3, files, 2, NULL,
                                           NULL, &error_abort), ==, 0);
    close(files[0]);
    close(files[1]);

    g_assert_cmpint(recvmsg(f.peer, &header, MSG_CMSG_CLOEXEC), ==, 9);
    g_assert_cmpstr(got, ==, "headbody");
    g_assert_cmpint(cmsg->cmsg_len, ==, CMSG_LEN(sizeof(received)));
    memcpy(received, CMSG_DATA(cmsg), sizeof(received));
    expect_file(received[0], "three");
    expect_file(received[1], "four");
    close(received[0]);
    close(received[1]);
    f.num_fds -= ARRAY_SIZE(files);
    fixture_cleanup(&f);
}

typedef struct Drain {
    Fixture *f;
    unsigned int waits;
    unsigned int give_up_at;
    size_t fds;
    GByteArray *got;
} Drain;

/* Take some of what the channel has sent, counting the fds that came along. */
static ssize_t drain_some(Drain *d)
{
    char control[CMSG_SPACE(sizeof(int) * 4)];
    uint8_t got[30000];
    struct iovec iov = { got, sizeof(got) };
    struct msghdr header = {
        .msg_iov = &iov, .msg_iovlen = 1,
        .msg_control = control, .msg_controllen = sizeof(control),
    };
    ssize_t ret = recvmsg(d->f->peer, &header, MSG_DONTWAIT);
    struct cmsghdr *cmsg;

    if (ret <= 0) {
        return ret;
    }
    for (cmsg = CMSG_FIRSTHDR(&header); cmsg;
         cmsg = CMSG_NXTHDR(&header, cmsg)) {
        size_t num = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        for (size_t i = 0; i < num; i++) {
            close(((int *)CMSG_DATA(cmsg))[i]);
        }
        d->fds += num;
    }
    g_byte_array_append(d->got, got, ret);
    return ret;
}

static int drain_wait(void *opaque, Error **errp)
{
    Drain *d = opaque;
    struct pollfd pfd = {
        .fd = vfio_user_channel_fd(d->f->channel), .events = POLLOUT,
    };

    if (++d->waits == d->give_up_at) {
        error_setg(errp, "enough");
        return -ETIMEDOUT;
    }
    while (poll(&pfd, 1, 0) == 0) {
        g_assert_cmpint(drain_some(d), >, 0);
    }
    return 0;
}

static void test_channel_send_partial(void)
{
    size_t size = 2000000;
    g_autofree uint8_t *bytes = make_message(16, size);
    struct iovec iov[] = { { bytes, 16 }, { bytes + 16, size - 16 } };
    int two[] = { STDERR_FILENO, STDERR_FILENO };
    g_autoptr(Error) err = NULL;
    Fixture f;
    Drain d = { .f = &f, .got = g_byte_array_new() };

    fixture_init(&f);
    g_assert_cmpint(vfio_user_channel_send(f.channel, iov, 2, two, 2,
                                           drain_wait, &d, &error_abort),
                    ==, 0);
    g_assert_cmpuint(d.waits, >, 1);
    while (drain_some(&d) > 0) {
        continue;
    }
    g_assert_cmpmem(d.got->data, d.got->len, bytes, size);
    g_assert_cmpuint(d.fds, ==, 2);

    d.give_up_at = d.waits + 1;
    g_assert_cmpint(vfio_user_channel_send(f.channel, iov, 2, NULL, 0,
                                           drain_wait, &d, &err),
                    ==, -ETIMEDOUT);
    g_assert_cmpstr(error_get_pretty(err), ==, "enough");
    fixture_cleanup(&f);
    g_byte_array_unref(d.got);
}

static void test_channel_send_limits(void)
{
    struct iovec iov[VFIO_USER_CHANNEL_MAX_IOV + 1] = { { (void *)"x", 1 } };
    int many[VFIO_USER_CHANNEL_MAX_FDS + 1] = { 0 };
    g_autoptr(Error) err = NULL;
    char byte;
    Fixture f;

    fixture_init(&f);
    g_assert_cmpint(vfio_user_channel_send(f.channel, iov, ARRAY_SIZE(iov),
                                           NULL, 0, NULL, NULL, &err),
                    ==, -EINVAL);
    error_free(g_steal_pointer(&err));
    g_assert_cmpint(vfio_user_channel_send(f.channel, iov, 1, many,
                                           ARRAY_SIZE(many), NULL, NULL, &err),
                    ==, -EINVAL);
    g_assert_cmpint(recv(f.peer, &byte, 1, MSG_DONTWAIT), ==, -1);
    fixture_cleanup(&f);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    module_call_init(MODULE_INIT_QOM);
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/vfio-user/channel/shutdown", test_channel_shutdown);
    g_test_add_func("/vfio-user/channel/send/at-once",
                    test_channel_send_at_once);
    g_test_add_func("/vfio-user/channel/send/partial",
                    test_channel_send_partial);
    g_test_add_func("/vfio-user/channel/send/limits",
                    test_channel_send_limits);
    return g_test_run();
}
