/*
 * Unit tests of the vfio-user session: everything that a server can say wrong,
 * what the user is told, and that nothing is sent after a death.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/un.h>
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "session-peer.h"

typedef struct VersionFault {
    const char *name;
    const char *bytes;          /* after the header of a reply; NULL: close */
    size_t size;
    const char *text;
} VersionFault;

/* All of @bytes but the NUL that C adds */
#define FAULT(name, bytes, text) { name, bytes, sizeof(bytes) - 1, text }

static const VersionFault version_faults[] = {
    { "closes-at-once", NULL, 0, "VERSION: server closed the connection" },
    FAULT("empty", "", "VERSION: *"),
    FAULT("short", "\0\0\0", "VERSION: *"),
    FAULT("major", "\1\0\0\0{}\0", "VERSION: *major*"),
    FAULT("minor", "\0\0\7\0{}\0", "VERSION: *minor*"),
    FAULT("no-nul", "\0\0\0\0{}", "VERSION: *"),
    FAULT("not-json", "\0\0\0\0{{{{\0", "VERSION: *"),
    FAULT("wrong-type",
          "\0\0\0\0{\"capabilities\":{\"max_msg_fds\":\"many\"}}\0",
          "VERSION: *max_msg_fds*"),
};

static void script_version_fault(Peer *peer)
{
    const VersionFault *fault = peer->data;
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);

    if (fault->bytes) {
        peer_expect(peer, 1, msg);
        peer_reply(peer, msg, fault->bytes, fault->size);
        peer_expect_end(peer);
    }
}

static void test_faults_version(gconstpointer opaque)
{
    const VersionFault *fault = opaque;
    Peer peer = { .script = script_version_fault, .data = fault };
    g_autofree char *pattern = NULL;
    g_autoptr(Error) err = NULL;

    peer_start(&peer);
    pattern = g_strdup_printf("%s: %s", peer.name, fault->text);
    g_assert_null(peer_connect(&peer, &err));
    if (!g_pattern_match_simple(pattern, error_get_pretty(err))) {
        g_assert_cmpstr(error_get_pretty(err), ==, pattern);
    }
    peer_stop(&peer);
}

static void script_version_error(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);

    peer_expect(peer, 1, msg);
    peer_send(peer, msg->id, 1, PEER_REPLY | PEER_ERROR, EINVAL, NULL, 0);
}

static void test_faults_version_error(void)
{
    Peer peer = { .script = script_version_error };
    g_autoptr(Error) err = NULL;

    peer_start(&peer);
    g_assert_null(peer_connect(&peer, &err));
    expect_text(&peer, err, "VERSION: server error: Invalid argument");
    peer_stop(&peer);
}

static void script_version_oversize(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);

    /* Only the header: it is refused before the rest is waited for. */
    peer_expect(peer, 1, msg);
    peer_send_bytes(peer, (uint8_t[]) {
        msg->id, msg->id >> 8, 1, 0, 0x15, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0,
    }, PEER_HEADER_SIZE);
    peer_expect_end(peer);
}

static void test_faults_version_oversize(void)
{
    Peer peer = { .script = script_version_oversize };
    g_autoptr(Error) err = NULL;

    peer_start(&peer);
    g_assert_null(peer_connect(&peer, &err));
    expect_text(&peer, err, "VERSION: reply is too long "
                "(got 65541 bytes, limit 65540)");
    peer_stop(&peer);
}

static void script_version_garbage(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);

    peer_expect(peer, 1, msg);
    peer_send_bytes(peer, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
    peer_expect_end(peer);
}

static void test_faults_version_garbage(void)
{
    Peer peer = { .script = script_version_garbage };
    g_autoptr(Error) err = NULL;

    peer_start(&peer);
    g_assert_null(peer_connect(&peer, &err));
    g_assert_true(g_str_has_prefix(error_get_pretty(err), peer.name));
    g_assert_null(strchr(error_get_pretty(err), '\n'));
    peer_stop(&peer);
}

static void script_version_silent(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);

    peer_expect(peer, 1, msg);
    peer_expect_end(peer);
}

static void test_faults_version_silent(void)
{
    Peer peer = { .script = script_version_silent, .connect_timeout_ms = 50 };
    g_autoptr(Error) err = NULL;

    peer_start(&peer);
    g_assert_null(peer_connect(&peer, &err));
    expect_text(&peer, err, "VERSION: no reply within 50 ms");
    peer_stop(&peer);
}

static void test_faults_no_socket(void)
{
    Peer peer = { 0 };
    g_autoptr(Error) err = NULL;

    peer_start(&peer);
    unlink(peer.path);
    g_assert_null(peer_connect(&peer, &err));
    expect_text(&peer, err, "cannot connect: No such file or directory");
    peer_stop(&peer);
}

static void test_faults_long_path(void)
{
    g_autofree char *path = g_strnfill(200, 'p');
    Peer peer = { 0 };
    g_autoptr(Error) err = NULL;

    peer_start(&peer);
    unlink(peer.path);
    g_free(peer.path);
    peer.path = g_steal_pointer(&path);
    g_assert_null(peer_connect(&peer, &err));
    expect_text(&peer, err, "socket path is too long (got 200, limit 107)");
    peer_stop(&peer);
}

/* Nobody accepts, and the queue of those who wait is full. */
static void test_faults_busy_server(void)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    Peer peer = { .connect_timeout_ms = 50 };
    g_autoptr(Error) err = NULL;
    int fd;

    peer_start(&peer);
    strcpy(name.sun_path, peer.path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (void *)&name, sizeof(name)), ==, 0);
    g_assert_null(peer_connect(&peer, &err));
    expect_text(&peer, err,
                "server did not accept the connection within 50 ms");
    close(fd);
    peer_stop(&peer);
}

/* Faults in the reply to a REGION_READ that may have 20 bytes and no fd */

typedef struct ReplyFault {
    const char *name;
    void (*reply)(Peer *peer, const PeerMessage *msg);
    int ret;
    const char *text;
} ReplyFault;

static void reply_wrong_id(Peer *peer, const PeerMessage *msg)
{
    peer_send(peer, msg->id + 1, 9, PEER_REPLY, 0, "data", 4);
}

static void reply_wrong_command(Peer *peer, const PeerMessage *msg)
{
    peer_send(peer, msg->id, 10, PEER_REPLY, 0, "data", 4);
}

static void reply_command(Peer *peer, const PeerMessage *msg)
{
    peer_send(peer, msg->id, 9, 0, 0, "data", 4);
}

static void reply_no_type(Peer *peer, const PeerMessage *msg)
{
    peer_send(peer, msg->id, 9, 2, 0, "data", 4);
}

static void reply_too_long(Peer *peer, const PeerMessage *msg)
{
    peer_send(peer, msg->id, 9, PEER_REPLY, 0, peer, 21);
}

static void reply_error_too_long(Peer *peer, const PeerMessage *msg)
{
    peer_send(peer, msg->id, 9, PEER_REPLY | PEER_ERROR, EIO, msg->payload,
              65537);
}

static void reply_fds(Peer *peer, const PeerMessage *msg)
{
    peer_send_fds(peer, msg->id, 9, PEER_REPLY, "data", 4, 1);
}

static void reply_twice(Peer *peer, const PeerMessage *msg)
{
    g_autofree PeerMessage *next = g_new(PeerMessage, 1);

    peer_reply(peer, msg, "data", 4);
    peer_expect(peer, 9, next);
    peer_reply(peer, msg, "data", 4);
}

static void reply_tiny_size(Peer *peer, const PeerMessage *msg)
{
    peer_send_bytes(peer, (uint8_t[PEER_HEADER_SIZE]) {
        msg->id, msg->id >> 8, 9, 0, 15, 0, 0, 0, 1,
    }, PEER_HEADER_SIZE);
}

static void reply_end(Peer *peer, const PeerMessage *msg)
{
    shutdown(peer->fd, SHUT_WR);
}

static void reply_end_inside(Peer *peer, const PeerMessage *msg)
{
    peer_send_bytes(peer, (uint8_t[20]) {
        msg->id, msg->id >> 8, 9, 0, 24, 0, 0, 0, 1,
    }, 20);
    shutdown(peer->fd, SHUT_WR);
}

static void reply_command_too_long(Peer *peer, const PeerMessage *msg)
{
    peer_send_bytes(peer, (uint8_t[PEER_HEADER_SIZE]) {
        0, 0, 12, 0, 33, 0, 16, 0, 0,
    }, PEER_HEADER_SIZE);
}

static void reply_late(Peer *peer, const PeerMessage *msg)
{
    /* Until the client has given up, which ends the stream. */
    peer_expect_end(peer);
    peer_reply(peer, msg, "data", 4);
}

static const ReplyFault reply_faults[] = {
    { "wrong-id", reply_wrong_id, -EPROTO,
      "REGION_READ: reply to no request (id 0x2)" },
    { "wrong-command", reply_wrong_command, -EPROTO,
      "REGION_READ: wrong command in the reply (got 10, sent 9)" },
    { "command", reply_command, -EPROTO,
      "REGION_READ: command in place of the reply" },
    { "no-type", reply_no_type, -EPROTO, NULL },
    { "too-long", reply_too_long, -EPROTO,
      "REGION_READ: reply is too long (got 21 bytes, limit 20)" },
    { "error-too-long", reply_error_too_long, -EPROTO,
      "REGION_READ: reply is too long (got 65537 bytes, limit 65536)" },
    { "fds", reply_fds, -EPROTO,
      "REGION_READ: too many fds in a message (got 1, limit 0)" },
    { "twice", reply_twice, -EPROTO,
      "REGION_READ: reply to no request (id 0x1)" },
    { "tiny-size", reply_tiny_size, -EPROTO,
      "REGION_READ: message is smaller than its header (got 15, limit 16)" },
    { "end", reply_end, -ENOTCONN,
      "REGION_READ: server closed the connection" },
    { "end-inside", reply_end_inside, -EPROTO,
      "REGION_READ: server closed the connection inside a message "
      "(got 20 bytes of it)" },
    { "command-too-long", reply_command_too_long, -EPROTO,
      "DMA_WRITE: command from the server is too long "
      "(got 1048593 bytes, limit 1048592)" },
    { "late", reply_late, -ETIMEDOUT, "REGION_READ: no reply within 50 ms" },
};

static void script_reply_fault(Peer *peer)
{
    const ReplyFault *fault = peer->data;
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);

    peer_version(peer);
    peer_expect(peer, 9, msg);
    fault->reply(peer, msg);
    /* Nothing is sent once the session is dead. */
    peer_expect_end(peer);
}

static VFIOUserCall make_read(void)
{
    VFIOUserCall call = { .command = 9, .max_reply = 20 };

    return call;
}

static void test_faults_reply(gconstpointer opaque)
{
    const ReplyFault *fault = opaque;
    Peer peer = { .script = script_reply_fault, .data = fault };
    VFIOUserSession *session;
    VFIOUserCall call = make_read();
    VFIOUserCall more = make_read();
    g_autoptr(Error) err = NULL;

    peer.timeout_ms = fault->ret == -ETIMEDOUT ? 50 : 0;
    session = peer_open(&peer);
    if (fault->reply == reply_twice) {
        g_assert_cmpint(vfio_user_session_call(session, &call, &error_abort),
                        ==, 0);
        vfio_user_msg_free(g_steal_pointer(&call.reply));
    }
    g_assert_cmpint(vfio_user_session_call(session, &call, &err), ==,
                    fault->ret);
    g_assert_false(call.remote_error);
    g_assert_null(call.reply);
    if (fault->text) {
        expect_text(&peer, err, fault->text);
    }
    g_assert_true(vfio_user_session_is_dead(session));
    g_assert_cmpstr(error_get_pretty(vfio_user_session_reason(session)), ==,
                    error_get_pretty(err));

    /* Every later use says the same, and sends nothing. */
    error_free(g_steal_pointer(&err));
    g_assert_cmpint(vfio_user_session_call(session, &more, &err), ==,
                    -ENOTCONN);
    g_assert_null(more.reply);
    g_assert_cmpstr(error_get_pretty(vfio_user_session_reason(session)), ==,
                    error_get_pretty(err));
    g_assert_cmpint(vfio_user_session_post(session, &more, NULL), ==,
                    -ENOTCONN);
    g_assert_cmpint(vfio_user_session_send(session, &more, NULL), ==,
                    -ENOTCONN);
    peer_stop(&peer);
}

static void add_tables(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(version_faults); i++) {
        g_autofree char *path =
            g_strdup_printf("/vfio-user/session/faults/version/%s",
                            version_faults[i].name);

        g_test_add_data_func(path, &version_faults[i], test_faults_version);
    }
    for (size_t i = 0; i < ARRAY_SIZE(reply_faults); i++) {
        g_autofree char *path =
            g_strdup_printf("/vfio-user/session/faults/reply/%s",
                            reply_faults[i].name);

        g_test_add_data_func(path, &reply_faults[i], test_faults_reply);
    }
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    module_call_init(MODULE_INIT_QOM);
    qemu_init_main_loop(&error_abort);
    g_test_init(&argc, &argv, NULL);

    add_tables();
#define ADD(name, test) \
    g_test_add_func("/vfio-user/session/faults/" name, test)
    ADD("version/error", test_faults_version_error);
    ADD("version/oversize", test_faults_version_oversize);
    ADD("version/garbage", test_faults_version_garbage);
    ADD("version/silent", test_faults_version_silent);
    ADD("connect/no-socket", test_faults_no_socket);
    ADD("connect/long-path", test_faults_long_path);
    ADD("connect/busy-server", test_faults_busy_server);
    return g_test_run();
}
