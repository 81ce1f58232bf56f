/*
 * Unit tests of the vfio-user session: a server with a second socket, for its
 * own commands and the answers to them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "session-peer.h"

#define TWIN_JSON(index) \
    "{\"capabilities\": {\"max_msg_fds\": 8, \"twin_socket\": " \
    "{\"supported\": true, \"fd_index\": " #index "}}}"

/* Offer a twin as the second of two fds. Returns the script's end. */
static int offer_twin(Peer *peer)
{
    int pair[2];
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
                    ==, 0);
    fds[0] = STDERR_FILENO;
    fds[1] = pair[1];
    peer_version_fds(peer, TWIN_JSON(1), fds, 2);
    close(pair[1]);
    return pair[0];
}

/* Let the script act on the other socket. */
static void swap(Peer *peer, int *fd)
{
    int other = peer->fd;

    peer->fd = *fd;
    *fd = other;
}

static int serve(void *opaque, const VFIOUserHeaderDesc *header,
                 VFIOUserMsg *msg, GByteArray *reply)
{
    g_byte_array_append(reply, msg->data + PEER_HEADER_SIZE, header->size);
    return 0;
}

#define COMMANDS 80

/*
 * The server wants memory before it replies: more answers than the second
 * socket takes, and all of them before the reply on the first.
 */
static void script_in_call(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);
    g_autofree PeerMessage *answer = g_new(PeerMessage, 1);
    g_autofree char *large = g_strnfill(40000, 'l');
    int twin = offer_twin(peer);
    int i;

    peer_expect(peer, 9, msg);
    swap(peer, &twin);
    for (i = 0; i < COMMANDS; i++) {
        /* an id may be that of the client's request */
        peer_send(peer, msg->id, 11, 0, 0, large, 3000);
    }
    for (i = 0; i < COMMANDS; i++) {
        peer_recv(peer, answer);
        g_assert_cmpuint(answer->command, ==, 11);
        g_assert_cmpuint(answer->flags, ==, PEER_REPLY);
        g_assert_cmpmem(answer->payload, answer->size, large, 3000);
    }
    swap(peer, &twin);
    peer_reply(peer, msg, "done", 4);
    peer_expect_end(peer);
    close(twin);
}

static void test_twin_in_call(void)
{
    Peer peer = { .script = script_in_call, .request = serve };
    VFIOUserSession *session = peer_open(&peer);
    VFIOUserCall call = make_call(9, NULL, 0);

    vfio_user_session_call(session, &call, &error_abort);
    expect_reply(&call, "done");
    peer_stop(&peer);
}

/* With nobody waiting, the main loop has an ear for both. */
static void script_idle(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);
    int twin = offer_twin(peer);
    int i;

    for (i = 0; i < 3; i++) {
        swap(peer, &twin);
        peer_send(peer, i, 12, 0, 0, "four", 4);
        peer_expect(peer, 12, msg);
        g_assert_cmpuint(msg->id, ==, i);
        g_assert_cmpmem(msg->payload, msg->size, "four", 4);
        swap(peer, &twin);
    }
    set_done((bool *)peer->data);
    peer_expect(peer, 9, msg);
    peer_reply(peer, msg, "and on", 6);
    peer_expect_end(peer);
    close(twin);
}

static void test_twin_idle(void)
{
    bool done = false;
    Peer peer = { .script = script_idle, .request = serve, .data = &done };
    VFIOUserSession *session = peer_open(&peer);
    VFIOUserCall call = make_call(9, NULL, 0);

    main_loop_until(&done);
    vfio_user_session_call(session, &call, &error_abort);
    expect_reply(&call, "and on");
    peer_stop(&peer);
}

#define NUM_THREADS 4
#define CALLS_EACH 200

/* Commands all the time, from a thread of their own */
static void *command_thread(void *opaque)
{
    Peer peer = { .fd = *(int *)opaque };
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);
    int i;

    for (i = 0; i < NUM_THREADS * CALLS_EACH / 2; i++) {
        peer_send(&peer, i, 11, 0, 0, &i, sizeof(i));
        peer_expect(&peer, 11, msg);
        g_assert_cmpmem(msg->payload, msg->size, &i, sizeof(i));
    }
    return NULL;
}

static void script_busy(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);
    int twin = offer_twin(peer);
    QemuThread thread;
    int i;

    qemu_thread_create(&thread, "commands", command_thread, &twin,
                       QEMU_THREAD_JOINABLE);
    for (i = 0; i < NUM_THREADS * CALLS_EACH; i++) {
        peer_expect(peer, 9, msg);
        peer_reply(peer, msg, msg->payload, msg->size);
    }
    qemu_thread_join(&thread);
    set_done((bool *)peer->data);
    peer_expect_end(peer);
    close(twin);
}

static void *call_thread(void *opaque)
{
    int i;

    for (i = 0; i < CALLS_EACH; i++) {
        VFIOUserCall call = make_call(9, "busy", 4);

        vfio_user_session_call(opaque, &call, &error_abort);
        expect_reply(&call, "busy");
    }
    return NULL;
}

static void test_twin_busy(void)
{
    bool done = false;
    Peer peer = { .script = script_busy, .request = serve, .data = &done };
    VFIOUserSession *session = peer_open(&peer);
    QemuThread threads[NUM_THREADS];
    int i;

    for (i = 0; i < NUM_THREADS; i++) {
        qemu_thread_create(&threads[i], "call", call_thread, session,
                           QEMU_THREAD_JOINABLE);
    }
    main_loop_until(&done);
    for (i = 0; i < NUM_THREADS; i++) {
        qemu_thread_join(&threads[i]);
    }
    peer_stop(&peer);
}

#define FLOOD_CALLS 40
#define FLOOD_SIZE 30000

/* How much has come that the script has not read */
static int count_input(Peer *peer)
{
    int count;

    g_assert_cmpint(ioctl(peer->fd, FIONREAD, &count), ==, 0);
    return count;
}

/* Wants memory, at the first of many requests, until they fill the socket. */
static void script_flood(Peer *peer)
{
    g_autofree PeerMessage *first = g_new(PeerMessage, 1);
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);
    int twin = offer_twin(peer);
    int input = 0, same = 0, i;

    peer_expect(peer, 9, first);
    for (i = 0; same < 100; i++) {
        int before = input;

        swap(peer, &twin);
        peer_send(peer, i, 11, 0, 0, "four", 4);
        peer_expect(peer, 11, msg);
        g_assert_cmpmem(msg->payload, msg->size, "four", 4);
        swap(peer, &twin);
        input = count_input(peer);
        same = input > FLOOD_SIZE && input == before ? same + 1 : 0;
    }
    peer_reply(peer, first, "done", 4);
    for (i = 1; i < FLOOD_CALLS; i++) {
        peer_expect(peer, 9, msg);
        peer_reply(peer, msg, "done", 4);
    }
    peer_expect_end(peer);
    close(twin);
}

static void *wait_thread(void *opaque)
{
    VFIOUserCall call = make_call(9, NULL, 0);

    vfio_user_session_call(opaque, &call, &error_abort);
    expect_reply(&call, "done");
    return NULL;
}

/* Answers need not wait for requests, whether or not somebody else reads. */
static void test_twin_flood(gconstpointer with_reader)
{
    Peer peer = { .script = script_flood, .request = serve };
    VFIOUserSession *session = peer_open(&peer);
    g_autofree char *payload = g_malloc0(FLOOD_SIZE);
    VFIOUserCall calls[FLOOD_CALLS];
    int num_calls = FLOOD_CALLS - !!with_reader;
    QemuThread thread;
    int i;

    if (with_reader) {
        qemu_thread_create(&thread, "wait", wait_thread, session,
                           QEMU_THREAD_JOINABLE);
    }
    for (i = 0; i < num_calls; i++) {
        calls[i] = make_call(9, payload, FLOOD_SIZE);
        vfio_user_session_send(session, &calls[i], &error_abort);
    }
    for (i = 0; i < num_calls; i++) {
        vfio_user_session_wait(session, &calls[i], &error_abort);
        expect_reply(&calls[i], "done");
    }
    if (with_reader) {
        qemu_thread_join(&thread);
    }
    peer_stop(&peer);
}

/* What ends the session while a call waits */

static void script_twin_closes(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);
    int twin = offer_twin(peer);

    peer_expect(peer, 9, msg);
    close(twin);
    peer_expect_end(peer);
}

static void script_command_on_first(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);
    int twin = offer_twin(peer);

    peer_expect(peer, 9, msg);
    peer_send(peer, 0, 11, 0, 0, NULL, 0);
    peer_expect_end(peer);
    close(twin);
}

static void script_reply_on_second(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);
    int twin = offer_twin(peer);

    peer_expect(peer, 9, msg);
    swap(peer, &twin);
    peer_reply(peer, msg, NULL, 0);
    swap(peer, &twin);
    peer_expect_end(peer);
    close(twin);
}

typedef struct Ending {
    PeerScript *script;
    int ret;
    const char *text;
} Ending;

static const Ending endings[] = {
    { script_twin_closes, -ENOTCONN,
      "REGION_READ: server closed the connection" },
    { script_command_on_first, -EPROTO,
      "DMA_READ: command on the first socket" },
    { script_reply_on_second, -EPROTO,
      "REGION_READ: reply on the second socket" },
};

static void test_twin_ends(void)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(endings); i++) {
        Peer peer = { .script = endings[i].script, .request = serve };
        VFIOUserSession *session = peer_open(&peer);
        VFIOUserCall call = make_call(9, NULL, 0);
        g_autoptr(Error) err = NULL;

        g_assert_cmpint(vfio_user_session_call(session, &call, &err), ==,
                        endings[i].ret);
        expect_text(&peer, err, endings[i].text);
        peer_stop(&peer);
    }
}

/* What is no second socket */

static void script_no_fd(Peer *peer)
{
    peer_version_fds(peer, TWIN_JSON(0), NULL, 0);
    peer_expect_end(peer);
}

static void script_index_too_large(Peer *peer)
{
    int fd = STDERR_FILENO;

    peer_version_fds(peer, TWIN_JSON(1), &fd, 1);
    peer_expect_end(peer);
}

static void script_not_offered(Peer *peer)
{
    int fd = STDERR_FILENO;

    peer_version_fds(peer, "{}", &fd, 1);
    peer_expect_end(peer);
}

static void script_file(Peer *peer)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    peer_version_fds(peer, TWIN_JSON(0), &fd, 1);
    close(fd);
    peer_expect_end(peer);
}

static void script_datagram(Peer *peer)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    peer_version_fds(peer, TWIN_JSON(0), &fd, 1);
    close(fd);
    peer_expect_end(peer);
}

static void script_internet(Peer *peer)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    peer_version_fds(peer, TWIN_JSON(0), &fd, 1);
    close(fd);
    peer_expect_end(peer);
}

#define NO_SOCKET "VERSION: twin_socket.fd_index names no UNIX stream socket"

static const struct {
    PeerScript *script;
    const char *text;
} refusals[] = {
    { script_no_fd,
      "VERSION: twin_socket.fd_index names no fd (got 0, fds 0)" },
    { script_index_too_large,
      "VERSION: twin_socket.fd_index names no fd (got 1, fds 1)" },
    { script_not_offered,
      "VERSION: too many fds in a message (got 1, limit 0)" },
    { script_file, NO_SOCKET },
    { script_datagram, NO_SOCKET },
    { script_internet, NO_SOCKET },
};

static void test_twin_refused(void)
{
    size_t i;

    for (i = 0; i < ARRAY_SIZE(refusals); i++) {
        Peer peer = { .script = refusals[i].script };
        g_autoptr(Error) err = NULL;

        peer_start(&peer);
        g_assert_null(peer_connect(&peer, &err));
        expect_text(&peer, err, refusals[i].text);
        peer_stop(&peer);
    }
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    module_call_init(MODULE_INIT_QOM);
    qemu_init_main_loop(&error_abort);
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/vfio-user/twin/in-call", test_twin_in_call);
    g_test_add_func("/vfio-user/twin/idle", test_twin_idle);
    g_test_add_func("/vfio-user/twin/busy", test_twin_busy);
    g_test_add_data_func("/vfio-user/twin/flood", GINT_TO_POINTER(false),
                         test_twin_flood);
    g_test_add_data_func("/vfio-user/twin/flood/reader", GINT_TO_POINTER(true),
                         test_twin_flood);
    g_test_add_func("/vfio-user/twin/ends", test_twin_ends);
    g_test_add_func("/vfio-user/twin/refused", test_twin_refused);
    return g_test_run();
}
