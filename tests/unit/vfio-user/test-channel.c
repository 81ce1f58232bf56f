/*
 * Unit tests of the vfio-user channel: bytes and fds written to the other end
 * of its socket by hand, messages received.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/module.h"
#include "channel-fixture.h"

static void test_channel_recv_whole(void)
{
    g_autofree uint8_t *small = make_message(1, HEADER_SIZE);
    g_autofree uint8_t *large = make_message(2, 100000);
    Fixture f;

    fixture_init(&f);
    expect_nothing(&f);
    peer_send(&f, small, HEADER_SIZE, NULL, 0);
    expect_message(&f, small, HEADER_SIZE, 0);
    peer_send(&f, large, 100000, NULL, 0);
    expect_message(&f, large, 100000, 0);
    expect_nothing(&f);
    g_assert_cmpuint(f.admitted, ==, 2);
    fixture_cleanup(&f);
}

static void test_channel_recv_dribble(void)
{
    g_autofree uint8_t *bytes = make_message(3, 40);
    Fixture f;

    fixture_init(&f);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 40; i++) {
            expect_nothing(&f);
            peer_send(&f, bytes + i, 1, NULL, 0);
        }
        expect_message(&f, bytes, 40, 0);
    }
    g_assert_cmpuint(f.admitted, ==, 2);
    fixture_cleanup(&f);
}

/* Two messages in two pieces, cut at every offset, polled in between. */
static void test_channel_recv_split(void)
{
    g_autofree uint8_t *first = make_message(4, 36);
    g_autofree uint8_t *second = make_message(5, 24);
    uint8_t both[60];
    Fixture f;

    memcpy(both, first, 36);
    memcpy(both + 36, second, 24);
    fixture_init(&f);
    for (size_t cut = 1; cut < sizeof(both); cut++) {
        peer_send(&f, both, cut, NULL, 0);
        if (cut >= 36) {
            expect_message(&f, first, 36, 0);
        }
        expect_nothing(&f);
        peer_send(&f, both + cut, sizeof(both) - cut, NULL, 0);
        if (cut < 36) {
            expect_message(&f, first, 36, 0);
        }
        expect_message(&f, second, 24, 0);
        expect_nothing(&f);
    }
    fixture_cleanup(&f);
}

/* More than is read ahead at once, in messages of every small size. */
static void test_channel_recv_many(void)
{
    g_autoptr(GByteArray) all = g_byte_array_new();
    Fixture f;

    for (uint32_t size = HEADER_SIZE; size < 300; size++) {
        g_autofree uint8_t *bytes = make_message(size, size);

        g_byte_array_append(all, bytes, size);
    }
    fixture_init(&f);
    peer_send(&f, all->data, all->len, NULL, 0);
    for (uint32_t size = HEADER_SIZE; size < 300; size++) {
        g_autofree uint8_t *bytes = make_message(size, size);

        expect_message(&f, bytes, size, 0);
    }
    expect_nothing(&f);
    fixture_cleanup(&f);
}

static void test_channel_recv_fds(void)
{
    g_autofree uint8_t *bytes = make_message(6, 48);
    g_autoptr(VFIOUserMsg) msg = NULL;
    int files[] = { make_file("zero"), make_file("one"), make_file("two") };
    int taken;
    Fixture f;

    fixture_init(&f);
    f.max_fds = 3;
    peer_send(&f, bytes, 48, files, 3);
    for (int i = 0; i < 3; i++) {
        close(files[i]);
    }

    g_assert_cmpint(receive(&f, &msg, &error_abort), ==, 1);
    g_assert_cmpuint(msg->num_fds, ==, 3);
    expect_file(msg->fds[0], "zero");
    expect_file(msg->fds[2], "two");
    taken = vfio_user_msg_take_fd(msg, 1);
    g_assert_cmpint(vfio_user_msg_take_fd(msg, 1), ==, -1);
    g_assert_cmpint(vfio_user_msg_take_fd(msg, 3), ==, -1);

    /* What was taken outlives the message; the others go with it. */
    vfio_user_msg_free(g_steal_pointer(&msg));
    expect_file(taken, "one");
    close(taken);
    f.num_fds -= ARRAY_SIZE(files);
    fixture_cleanup(&f);
}

/* Each message has what came with it, however many a read brings. */
static void test_channel_recv_fds_belong(void)
{
    g_autofree uint8_t *first = make_message(7, 20);
    g_autofree uint8_t *second = make_message(8, 32);
    g_autofree uint8_t *third = make_message(9, 6000);
    int file = STDERR_FILENO;
    int two[] = { STDERR_FILENO, STDERR_FILENO };
    Fixture f;

    fixture_init(&f);
    f.max_fds = 2;

    peer_send(&f, first, 20, NULL, 0);
    peer_send(&f, second, 32, &file, 1);
    peer_send(&f, third, 6000, two, 2);
    expect_message(&f, first, 20, 0);
    expect_message(&f, second, 32, 1);
    expect_message(&f, third, 6000, 2);

    /* With the first byte, when the message before it is not yet complete */
    peer_send(&f, first, 5, &file, 1);
    expect_nothing(&f);
    peer_send(&f, first + 5, 15, NULL, 0);
    peer_send(&f, second, 1, two, 2);
    expect_message(&f, first, 20, 1);
    expect_nothing(&f);
    peer_send(&f, second + 1, 31, NULL, 0);
    peer_send(&f, third, 6000, &file, 1);
    expect_message(&f, second, 32, 2);
    expect_message(&f, third, 6000, 1);

    /* Beside the body instead of the header */
    peer_send(&f, second, HEADER_SIZE, NULL, 0);
    peer_send(&f, second + HEADER_SIZE, 16, two, 2);
    peer_send(&f, first, 20, NULL, 0);
    expect_message(&f, second, 32, 2);
    expect_message(&f, first, 20, 0);
    fixture_cleanup(&f);
}

static void test_channel_recv_too_many_fds(void)
{
    g_autofree uint8_t *bytes = make_message(10, 40);
    int two[] = { STDERR_FILENO, STDERR_FILENO };
    int many[VFIO_USER_CHANNEL_MAX_FDS + 4];
    Fixture f;

    fixture_init(&f);
    f.max_fds = 1;
    peer_send(&f, bytes, 40, two, 2);
    expect_error(&f, -EPROTO, "too many fds in a message (got 2, limit 1)");
    fixture_cleanup(&f);

    /* One by one */
    fixture_init(&f);
    f.max_fds = 1;
    peer_send(&f, bytes, 20, two, 1);
    expect_nothing(&f);
    peer_send(&f, bytes + 20, 10, two, 1);
    expect_error(&f, -EPROTO, "too many fds in a message (got 2, limit 1)");
    fixture_cleanup(&f);

    /* Before it is known how many there may be */
    fixture_init(&f);
    for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
        many[i] = STDERR_FILENO;
    }
    peer_send(&f, bytes, 1, many, 12);
    expect_nothing(&f);
    peer_send(&f, bytes + 1, 1, many, 12);
    expect_error(&f, -EPROTO, "too many fds in a message (got 24, limit 16)");
    g_assert_cmpuint(f.admitted, ==, 0);
    fixture_cleanup(&f);

    /* More than the kernel hands over at once: not one stays behind. */
    fixture_init(&f);
    f.max_fds = 8;
    peer_send(&f, bytes, 40, many, ARRAY_SIZE(many));
    expect_error(&f, -EPROTO, "fds were lost: more than 16 in a message, or no "
                 "more can be opened");
    fixture_cleanup(&f);
}

/* Freeing closes fds wherever they are: in part, in whole, read ahead. */
static void test_channel_free_fds(void)
{
    g_autofree uint8_t *first = make_message(11, 40);
    g_autofree uint8_t *second = make_message(12, 40);
    int two[] = { STDERR_FILENO, STDERR_FILENO };
    Fixture f;

    fixture_init(&f);
    f.max_fds = 2;
    peer_send(&f, first, 30, two, 2);
    expect_nothing(&f);
    fixture_cleanup(&f);

    fixture_init(&f);
    f.max_fds = 2;
    peer_send(&f, first, 40, NULL, 0);
    peer_send(&f, first, 40, NULL, 0);
    peer_send(&f, second, 40, two, 2);
    expect_message(&f, first, 40, 0);
    fixture_cleanup(&f);
}

static void test_channel_recv_size(void)
{
    g_autofree uint8_t *small = make_message(13, HEADER_SIZE);
    g_autofree uint8_t *bytes = make_message(14, 101);
    Fixture f;

    small[4] = HEADER_SIZE - 1;
    fixture_init(&f);
    peer_send(&f, small, HEADER_SIZE, NULL, 0);
    expect_error(&f, -EPROTO, "message is smaller than its header "
                 "(got 15, limit 16)");
    g_assert_cmpuint(f.admitted, ==, 0);
    fixture_cleanup(&f);

    /* Refused on the header alone; the size may be any number. */
    fixture_init(&f);
    f.limit = 100;
    peer_send(&f, bytes, HEADER_SIZE, NULL, 0);
    expect_error(&f, -EPROTO, "too long (got 101, limit 100)");
    fixture_cleanup(&f);

    memset(bytes + 4, 0xff, 4);
    fixture_init(&f);
    peer_send(&f, bytes, 101, NULL, 0);
    expect_error(&f, -EPROTO, "too long (got 4294967295, limit 1048576)");
    g_assert_cmpuint(f.admitted_size, ==, UINT32_MAX);
    fixture_cleanup(&f);
}

static void test_channel_recv_end(void)
{
    g_autofree uint8_t *bytes = make_message(15, 40);
    Fixture f;

    fixture_init(&f);
    peer_close(&f);
    expect_error(&f, -ENOTCONN, "server closed the connection");
    fixture_cleanup(&f);

    /* What came before the end is still delivered. */
    fixture_init(&f);
    peer_send(&f, bytes, 40, NULL, 0);
    peer_close(&f);
    expect_message(&f, bytes, 40, 0);
    expect_error(&f, -ENOTCONN, "server closed the connection");
    fixture_cleanup(&f);

    for (size_t have = 1; have < 40; have++) {
        g_autofree char *text = NULL;

        fixture_init(&f);
        peer_send(&f, bytes, have, NULL, 0);
        peer_close(&f);
        text = g_strdup_printf("server closed the connection inside a message "
                               "(got %zu bytes of it)", have);
        expect_error(&f, -EPROTO, text);
        fixture_cleanup(&f);
    }
}

/* The peer closes with our bytes unread, which the kernel tells otherwise. */
static void test_channel_recv_reset(void)
{
    struct iovec iov = { (void *)"lost", 4 };
    Fixture f;

    fixture_init(&f);
    g_assert_cmpint(vfio_user_channel_send(f.channel, &iov, 1, NULL, 0, NULL,
                                           NULL, &error_abort), ==, 0);
    peer_close(&f);
    expect_error(&f, -ENOTCONN, "server closed the connection");
    fixture_cleanup(&f);
}

/* Waiting ends when time has passed, and does not begin if data is there. */
static void test_channel_recv_timeout(void)
{
    g_autofree uint8_t *bytes = make_message(17, 40);
    g_autoptr(VFIOUserMsg) msg = NULL;
    int64_t start = g_get_monotonic_time();
    Fixture f;

    fixture_init(&f);
    g_assert_cmpint(vfio_user_channel_recv(f.channel, 20000, &msg,
                                           &error_abort), ==, 0);
    g_assert_cmpint(g_get_monotonic_time() - start, >=, 20000);
    peer_send(&f, bytes, 40, NULL, 0);
    g_assert_cmpint(vfio_user_channel_recv(f.channel, INT64_MAX / 2, &msg,
                                           &error_abort), ==, 1);
    fixture_cleanup(&f);
}

static void test_channel_new_refuses(void)
{
    g_autoptr(Error) err = NULL;
    int before = count_fds();
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    QIOChannelSocket *socket = qio_channel_socket_new_fd(fd, &error_abort);

    g_assert_null(vfio_user_channel_new(socket, admit, NULL, &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "not a UNIX socket, so it can not pass fds");
    object_unref(OBJECT(socket));
    g_assert_cmpint(count_fds(), ==, before);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    module_call_init(MODULE_INIT_QOM);
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/vfio-user/channel/recv/whole", test_channel_recv_whole);
    g_test_add_func("/vfio-user/channel/recv/dribble",
                    test_channel_recv_dribble);
    g_test_add_func("/vfio-user/channel/recv/split", test_channel_recv_split);
    g_test_add_func("/vfio-user/channel/recv/many", test_channel_recv_many);
    g_test_add_func("/vfio-user/channel/recv/fds", test_channel_recv_fds);
    g_test_add_func("/vfio-user/channel/recv/fds-belong",
                    test_channel_recv_fds_belong);
    g_test_add_func("/vfio-user/channel/recv/too-many-fds",
                    test_channel_recv_too_many_fds);
    g_test_add_func("/vfio-user/channel/recv/size", test_channel_recv_size);
    g_test_add_func("/vfio-user/channel/recv/end", test_channel_recv_end);
    g_test_add_func("/vfio-user/channel/recv/reset", test_channel_recv_reset);
    g_test_add_func("/vfio-user/channel/recv/timeout",
                    test_channel_recv_timeout);
    g_test_add_func("/vfio-user/channel/free-fds", test_channel_free_fds);
    g_test_add_func("/vfio-user/channel/new/refuses",
                    test_channel_new_refuses);
    return g_test_run();
}
