/*
 * Unit tests of the vfio-user session: requests and replies of one thread, and
 * what the server asks.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/un.h>
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "session-peer.h"

static void script_version(Peer *peer)
{
    static const char json[] =
        "{\"capabilities\": {\"max_msg_fds\": 3, \"max_dma_maps\": 77}}";
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);
    uint8_t payload[4 + sizeof(json)] = { 0 };

    peer_recv(peer, msg);
    g_assert_cmpuint(msg->command, ==, 1);
    g_assert_cmpuint(msg->flags, ==, 0);
    g_assert_cmpuint(msg->error, ==, 0);
    g_assert_cmpuint(msg->num_fds, ==, 0);
    g_assert_cmpmem(msg->payload, 4, "\0\0\0\0", 4);
    g_assert_cmpuint(msg->size, ==, 4 + strlen((char *)msg->payload + 4) + 1);
    g_assert_nonnull(strstr((char *)msg->payload + 4, "\"capabilities\""));
    memcpy(payload + 4, json, sizeof(json));
    peer_reply(peer, msg, payload, sizeof(payload));
    peer_expect_end(peer);
}

static void test_session_version(void)
{
    Peer peer = { .script = script_version };
    VFIOUserSession *session = peer_open(&peer);

    g_assert_cmpuint(vfio_user_session_caps(session)->max_msg_fds, ==, 3);
    g_assert_cmpuint(vfio_user_session_caps(session)->max_dma_maps, ==, 77);
    g_assert_false(vfio_user_session_is_dead(session));
    g_assert_null(vfio_user_session_reason(session));
    peer_stop(&peer);
}

/* --- where it connects to --- */

/* Connect to @address, which has room or not, in the first of three steps. */
static VFIOUserSession *open_address(SocketAddress *address, bool wait,
                                     Error **errp)
{
    VFIOUserSessionConfig config = {
        .address = address, .name = "vfio-user:here",
        .timeout_ms = { [VFIO_USER_DEADLINE_MAP] = PATIENCE_MS },
    };

    return vfio_user_session_open(&config, wait, errp);
}

static void test_session_open_abstract(const void *data)
{
    bool tight = data;
    g_autofree char *path = g_strdup_printf("vfio-user-%d", getpid());
    SocketAddress address = {
        .type = SOCKET_ADDRESS_TYPE_UNIX,
        .u.q_unix = { .path = path, .has_abstract = true, .abstract = true,
                      .has_tight = true, .tight = tight },
    };
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(name.sun_path + 1, path);
    g_assert_cmpint(bind(listener, (void *)&name, tight ?
                         offsetof(struct sockaddr_un, sun_path) + 1 +
                         strlen(path) : sizeof(name)), ==, 0);
    g_assert_cmpint(listen(listener, 1), ==, 0);
    vfio_user_session_close(open_address(&address, true, &error_abort));
    close(listener);
}

/* Without waiting: as many as the server's queue takes, and then none */
static void test_session_open_full(void)
{
    Peer peer = { };
    SocketAddress address = { .type = SOCKET_ADDRESS_TYPE_UNIX };
    g_autoptr(GPtrArray) sessions = g_ptr_array_new();
    g_autoptr(Error) err = NULL;
    VFIOUserSession *session;
    guint i;

    peer_start(&peer);
    address.u.q_unix.path = peer.path;
    while ((session = open_address(&address, false, &err))) {
        g_ptr_array_add(sessions, session);
    }
    g_assert_cmpuint(sessions->len, >, 0);
    g_assert_nonnull(strstr(error_get_pretty(err), "vfio-user:here: cannot "
                            "connect: "));
    for (i = 0; i < sessions->len; i++) {
        vfio_user_session_close(g_ptr_array_index(sessions, i));
    }
    peer_stop(&peer);
}

static void script_version_long(Peer *peer)
{
    g_autofree char *filler = g_strnfill(60000, 'x');
    g_autofree char *json =
        g_strdup_printf("{\"unknown\": \"%s\", "
                        "\"capabilities\": {\"max_msg_fds\": 5}}", filler);

    peer_version_json(peer, json);
    peer_expect_end(peer);
}

static void test_session_version_long(void)
{
    Peer peer = { .script = script_version_long };

    peer_open(&peer);
    g_assert_cmpuint(vfio_user_session_caps(peer.session)->max_msg_fds, ==, 5);
    peer_stop(&peer);
}

/* Calls */

static void script_call(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);

    peer_version(peer);
    peer_expect(peer, 9, msg);
    g_assert_cmpuint(msg->flags, ==, 0);
    g_assert_cmpmem(msg->payload, msg->size, "headdata", 8);
    g_assert_cmpuint(msg->num_fds, ==, 2);
    peer_send_fds(peer, msg->id, 9, PEER_REPLY, "answer", 6, 3);
    peer_expect(peer, 13, msg);
    g_assert_cmpuint(msg->size, ==, 0);
    peer_reply(peer, msg, NULL, 0);
    peer_expect_end(peer);
}

static void test_session_call(void)
{
    Peer peer = { .script = script_call };
    VFIOUserSession *session = peer_open(&peer);
    int fds[] = { STDERR_FILENO, STDERR_FILENO };
    VFIOUserCall call = make_call(9, "head", 4);
    VFIOUserCall empty = make_call(13, NULL, 0);

    call.data = "data";
    call.data_size = 4;
    call.fds = fds;
    call.num_fds = 2;
    call.max_reply = 6;
    call.max_reply_fds = 3;
    g_assert_cmpint(vfio_user_session_call(session, &call, &error_abort),
                    ==, 0);
    g_assert_cmpuint(call.reply->num_fds, ==, 3);
    g_assert_false(call.remote_error);
    expect_reply(&call, "answer");

    empty.max_reply = 0;
    g_assert_cmpint(vfio_user_session_call(session, &empty, &error_abort),
                    ==, 0);
    expect_reply(&empty, "");
    peer_stop(&peer);
}

static void script_spare(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);

    peer_version(peer);
    for (int i = 0; i < 2; i++) {
        peer_expect(peer, 9, msg);
        peer_reply(peer, msg, "answer", 6);
    }
    peer_expect_end(peer);
}

/* A reply goes where there is room for it, and only there. */
static void test_session_spare(void)
{
    Peer peer = { .script = script_spare };
    VFIOUserSession *session = peer_open(&peer);

    for (size_t lack = 0; lack < 2; lack++) {
        VFIOUserCall call = make_call(9, NULL, 0);
        void *spare = g_malloc(sizeof(VFIOUserHeader) + 6 - lack);

        call.max_reply = 6;
        call.spare = spare;
        call.spare_size = sizeof(VFIOUserHeader) + 6 - lack;
        g_assert_cmpint(vfio_user_session_call(session, &call, &error_abort),
                        ==, 0);
        g_assert_true(call.spare == (lack ? spare : NULL));
        g_assert_true((call.reply->data == spare) == !lack);
        g_free(call.spare);
        expect_reply(&call, "answer");
    }
    peer_stop(&peer);
}

static void script_backwards(Peer *peer)
{
    g_autofree PeerMessage *msgs = g_new(PeerMessage, 5);

    peer_version(peer);
    for (int i = 0; i < 5; i++) {
        peer_expect(peer, 9, &msgs[i]);
        g_assert_cmpuint(msgs[i].payload[0], ==, '0' + i);
    }
    for (int i = 4; i >= 0; i--) {
        peer_reply(peer, &msgs[i], msgs[i].payload, msgs[i].size);
    }
    peer_expect_end(peer);
}

static void test_session_replies_out_of_order(void)
{
    static const char *const names[] = { "0", "1", "2", "3", "4" };
    Peer peer = { .script = script_backwards };
    VFIOUserSession *session = peer_open(&peer);
    VFIOUserCall calls[5];

    for (int i = 0; i < 5; i++) {
        calls[i] = make_call(9, names[i], 1);
        g_assert_cmpint(vfio_user_session_send(session, &calls[i],
                                               &error_abort), ==, 0);
    }
    for (int i = 0; i < 5; i++) {
        g_assert_cmpint(vfio_user_session_wait(session, &calls[i],
                                               &error_abort), ==, 0);
        expect_reply(&calls[i], names[i]);
    }
    peer_stop(&peer);
}

static void script_remote_error(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);
    static const uint32_t errors[] = { ENOSPC, 0, 0x80000000, 4096 };

    peer_version(peer);
    for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
        peer_expect(peer, 5, msg);
        /* With a body larger than any that the call would take */
        peer_send(peer, msg->id, 5, PEER_REPLY | PEER_ERROR, errors[i],
                  msg->payload, i == 1 ? 0 : 5000);
    }
    peer_expect(peer, 5, msg);
    peer_reply(peer, msg, "ok", 2);
    peer_expect_end(peer);
}

static void test_session_remote_error(void)
{
    static const int errors[] = { ENOSPC, EIO, EIO, EIO };
    Peer peer = { .script = script_remote_error };
    VFIOUserSession *session = peer_open(&peer);
    VFIOUserCall call = make_call(5, NULL, 0);

    call.max_reply = 2;
    for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
        g_autoptr(Error) err = NULL;
        g_autofree char *text =
            g_strdup_printf("%s: DEVICE_GET_REGION_INFO: server error: %s",
                            peer.name, strerror(errors[i]));

        g_assert_cmpint(vfio_user_session_call(session, &call, &err), ==,
                        -errors[i]);
        g_assert_cmpstr(error_get_pretty(err), ==, text);
        g_assert_true(call.remote_error);
        g_assert_null(call.reply);
    }
    g_assert_cmpint(vfio_user_session_call(session, &call, &error_abort),
                    ==, 0);
    g_assert_false(call.remote_error);
    expect_reply(&call, "ok");
    peer_stop(&peer);
}

static void test_session_request_limits(void)
{
    Peer peer = { .script = script_version };
    VFIOUserSession *session = peer_open(&peer);
    int fds[VFIO_USER_CHANNEL_MAX_FDS + 1] = { 0 };
    VFIOUserCall call = make_call(8, fds, UINT32_MAX - PEER_HEADER_SIZE + 1);

    g_assert_cmpint(vfio_user_session_call(session, &call, NULL), ==, -EINVAL);
    call.head_size = 4;
    call.data_size = SIZE_MAX;
    g_assert_cmpint(vfio_user_session_call(session, &call, NULL), ==, -EINVAL);
    call.data_size = 0;
    call.fds = fds;
    call.num_fds = ARRAY_SIZE(fds);
    g_assert_cmpint(vfio_user_session_call(session, &call, NULL), ==, -EINVAL);
    /* The script sees that nothing was sent. */
    g_assert_false(vfio_user_session_is_dead(session));
    peer_stop(&peer);
}

static void script_post(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);

    peer_version(peer);
    for (int i = 0; i < 100; i++) {
        peer_expect(peer, 10, msg);
        g_assert_cmpuint(msg->flags, ==, i % 3 ? PEER_NO_REPLY : 0);
        g_assert_cmpuint(msg->payload[0], ==, i);
        if (i % 3 == 0) {
            peer_reply(peer, msg, NULL, 0);
        }
    }
    peer_expect_end(peer);
}

static void test_session_post(void)
{
    Peer peer = { .script = script_post };
    VFIOUserSession *session = peer_open(&peer);

    for (uint8_t i = 0; i < 100; i++) {
        VFIOUserCall call = make_call(10, &i, 1);

        if (i % 3) {
            g_assert_cmpint(vfio_user_session_post(session, &call,
                                                   &error_abort), ==, 0);
        } else {
            g_assert_cmpint(vfio_user_session_call(session, &call,
                                                   &error_abort), ==, 0);
            expect_reply(&call, "");
        }
    }
    peer_stop(&peer);
}

#define WRAP_CALLS (UINT16_MAX + 10)

static void script_wrap(Peer *peer)
{
    g_autofree PeerMessage *held = g_new(PeerMessage, 1);
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);

    peer_version(peer);
    peer_expect(peer, 9, held);
    for (int i = 0; i < WRAP_CALLS; i++) {
        peer_expect(peer, 10, msg);
        g_assert_cmpuint(msg->id, !=, held->id);
    }
    peer_expect(peer, 11, msg);
    peer_reply(peer, msg, NULL, 0);
    peer_reply(peer, held, "held", 4);
    peer_expect_end(peer);
}

static void test_session_id_wrap(void)
{
    Peer peer = { .script = script_wrap };
    VFIOUserSession *session = peer_open(&peer);
    VFIOUserCall held = make_call(9, NULL, 0);
    VFIOUserCall post = make_call(10, NULL, 0);
    VFIOUserCall last = make_call(11, NULL, 0);

    g_assert_cmpint(vfio_user_session_send(session, &held, &error_abort),
                    ==, 0);
    for (int i = 0; i < WRAP_CALLS; i++) {
        g_assert_cmpint(vfio_user_session_post(session, &post, &error_abort),
                        ==, 0);
    }
    g_assert_cmpint(vfio_user_session_call(session, &last, &error_abort),
                    ==, 0);
    expect_reply(&last, "");
    g_assert_cmpint(vfio_user_session_wait(session, &held, &error_abort),
                    ==, 0);
    expect_reply(&held, "held");
    peer_stop(&peer);
}

/* A command before the reply, with fds; one that wants no answer; one idle */
static void script_commands(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);

    peer_version(peer);
    peer_expect(peer, 10, msg);
    peer_send_fds(peer, msg->id, 11, 0, "0123456789abcdef", 16, 4);
    peer_expect_refusal(peer, msg->id, 11);
    peer_send(peer, 7, 12, PEER_NO_REPLY, 0, "silent", 6);
    peer_send(peer, 8, 9999, 0, 0, NULL, 0);
    peer_expect_refusal(peer, 8, 9999);
    peer_reply(peer, msg, "late", 4);

    wait_for(&peer->to_peer);
    peer_send(peer, 9, 11, 0, 0, NULL, 0);
    peer_expect_refusal(peer, 9, 11);
    set_done((bool *)peer->data);
    peer_expect_end(peer);
}

static void test_session_commands_refused(void)
{
    bool done = false;
    Peer peer = { .script = script_commands, .data = &done };
    VFIOUserSession *session = peer_open(&peer);
    VFIOUserCall call = make_call(10, NULL, 0);

    vfio_user_session_call(session, &call, &error_abort);
    expect_reply(&call, "late");
    qemu_sem_post(&peer.to_peer);
    main_loop_until(&done);
    g_assert_false(vfio_user_session_is_dead(session));
    peer_stop(&peer);
}

#define BACKLOG_COMMANDS 200

/* More than is handled at once, in one piece that fits the read ahead */
static void script_backlog(Peer *peer)
{
    uint8_t bytes[BACKLOG_COMMANDS + 1][PEER_HEADER_SIZE] = { 0 };

    for (int i = 0; i <= BACKLOG_COMMANDS; i++) {
        bytes[i][2] = 11;
        bytes[i][4] = PEER_HEADER_SIZE;
        bytes[i][8] = i < BACKLOG_COMMANDS ? PEER_NO_REPLY : 0;
    }
    peer_version(peer);
    peer_send_bytes(peer, bytes, sizeof(bytes));
    peer_expect_refusal(peer, 0, 11);
    set_done((bool *)peer->data);
    peer_expect_end(peer);
}

static void test_session_commands_backlog(void)
{
    bool done = false;
    Peer peer = { .script = script_backlog, .data = &done };

    peer_open(&peer);
    main_loop_until(&done);
    peer_stop(&peer);
}

typedef struct Served {
    int calls;
} Served;

static int serve(void *opaque, const VFIOUserHeaderDesc *header,
                 VFIOUserMsg *msg, GByteArray *reply)
{
    Served *served = opaque;

    g_assert_false(header->reply);
    served->calls++;
    g_byte_array_append(reply, msg->data + PEER_HEADER_SIZE, header->size);
    if (header->command == 11) {
        close(vfio_user_msg_take_fd(msg, 0));
    }
    return header->command == 11 ? 0 : EFAULT;
}

#define SERVED_COMMANDS 80

/*
 * Many at once, none of whose answers is read before all have been sent: more
 * of them than the socket takes, so that the client is blocked meanwhile.
 */
static void script_served(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);
    g_autofree PeerMessage *answer = g_new(PeerMessage, 1);
    g_autofree char *large = g_strnfill(40000, 'l');

    peer_version(peer);
    peer_expect(peer, 10, msg);
    for (int i = 0; i < SERVED_COMMANDS; i++) {
        peer_send_fds(peer, i, i % 10 ? 11 : 12, 0, large, 3000, 1);
    }
    for (int i = 0; i < SERVED_COMMANDS; i++) {
        peer_recv(peer, answer);
        g_assert_cmpuint(answer->id, ==, i);
        if (i % 10) {
            g_assert_cmpuint(answer->flags, ==, PEER_REPLY);
            g_assert_cmpmem(answer->payload, answer->size, large, 3000);
        } else {
            g_assert_cmpuint(answer->flags, ==, PEER_REPLY | PEER_ERROR);
            g_assert_cmpuint(answer->error, ==, EFAULT);
            g_assert_cmpuint(answer->size, ==, 0);
        }
    }
    peer_reply(peer, msg, "served", 6);
    peer_expect_end(peer);
}

/* A server that asks for memory before it answers the access of a vCPU */
static void test_session_commands_served(void)
{
    Served served = { 0 };
    Peer peer = {
        .script = script_served, .request = serve, .opaque = &served,
    };
    VFIOUserSession *session = peer_open(&peer);
    VFIOUserCall call = make_call(10, NULL, 0);

    vfio_user_session_call(session, &call, &error_abort);
    expect_reply(&call, "served");
    g_assert_cmpint(served.calls, ==, SERVED_COMMANDS);
    peer_stop(&peer);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    module_call_init(MODULE_INIT_QOM);
    qemu_init_main_loop(&error_abort);
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/vfio-user/session/version", test_session_version);
    g_test_add_data_func("/vfio-user/session/open/abstract", NULL,
                         test_session_open_abstract);
    g_test_add_data_func("/vfio-user/session/open/abstract/tight", "tight",
                         test_session_open_abstract);
    g_test_add_func("/vfio-user/session/open/full", test_session_open_full);
    g_test_add_func("/vfio-user/session/version/long",
                    test_session_version_long);
    g_test_add_func("/vfio-user/session/call", test_session_call);
    g_test_add_func("/vfio-user/session/spare", test_session_spare);
    g_test_add_func("/vfio-user/session/replies-out-of-order",
                    test_session_replies_out_of_order);
    g_test_add_func("/vfio-user/session/remote-error",
                    test_session_remote_error);
    g_test_add_func("/vfio-user/session/request-limits",
                    test_session_request_limits);
    g_test_add_func("/vfio-user/session/post", test_session_post);
    g_test_add_func("/vfio-user/session/id-wrap", test_session_id_wrap);
    g_test_add_func("/vfio-user/session/commands/refused",
                    test_session_commands_refused);
    g_test_add_func("/vfio-user/session/commands/backlog",
                    test_session_commands_backlog);
    g_test_add_func("/vfio-user/session/commands/served",
                    test_session_commands_served);
    return g_test_run();
}
