/*
 * A vfio-user server that does what a test's script says, byte for byte.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/un.h>
#include "qemu/main-loop.h"
#include "session-peer.h"

static int count_fds(void)
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

/* Connects whose handler has not been released; at the end of a test, none */
static int handlers;

static void release_handler(void *opaque)
{
    qatomic_dec(&handlers);
}

void wait_for(QemuSemaphore *sem)
{
    g_assert_cmpint(qemu_sem_timedwait(sem, PATIENCE_MS), ==, 0);
}

static void *peer_thread(void *opaque)
{
    struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };
    Peer *peer = opaque;

    peer->fd = accept(peer->listener, NULL, NULL);
    g_assert_cmpint(peer->fd, >=, 0);
    setsockopt(peer->fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
               sizeof(patience));
    setsockopt(peer->fd, SOL_SOCKET, SO_SNDTIMEO, &patience,
               sizeof(patience));
    peer->script(peer);
    if (peer->fd >= 0) {
        close(peer->fd);
    }
    return NULL;
}

void peer_start(Peer *peer)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };

    peer->num_fds = count_fds();
    peer->dir = g_dir_make_tmp("vfio-user-XXXXXX", NULL);
    g_assert_nonnull(peer->dir);
    peer->path = g_build_filename(peer->dir, "socket", NULL);
    peer->name = g_strdup_printf("vfio-user:%s", peer->path);
    qemu_sem_init(&peer->to_peer, 0);
    qemu_sem_init(&peer->to_test, 0);

    g_assert_cmpuint(strlen(peer->path), <, sizeof(name.sun_path));
    strcpy(name.sun_path, peer->path);
    peer->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(peer->listener, (void *)&name, sizeof(name)), ==, 0);
    g_assert_cmpint(listen(peer->listener, 0), ==, 0);
    if (peer->script) {
        qemu_thread_create(&peer->thread, "peer", peer_thread, peer,
                           QEMU_THREAD_JOINABLE);
    }
}

VFIOUserSession *peer_connect(Peer *peer, Error **errp)
{
    SocketAddress address = {
        .type = SOCKET_ADDRESS_TYPE_UNIX,
        .u.q_unix.path = peer->path,
    };
    VFIOUserSessionConfig config = {
        .address = &address,
        .name = peer->name,
        .dead = peer->dead,
        .opaque = peer->opaque,
        .request = peer->request,
        .request_opaque = peer->opaque,
        .request_release = release_handler,
        .serial = peer->serial,
    };

    config.timeout_ms[VFIO_USER_DEADLINE_REGISTER] =
        peer->timeout_ms ?: 10 * PATIENCE_MS;
    config.timeout_ms[VFIO_USER_DEADLINE_MAP] =
        peer->connect_timeout_ms ?: 10 * PATIENCE_MS;
    qatomic_inc(&handlers);
    peer->session = vfio_user_session_connect(&config, errp);
    return peer->session;
}

static void main_loop_idle(void)
{
    while (g_main_context_iteration(NULL, false)) {
        continue;
    }
}

VFIOUserSession *peer_open(Peer *peer)
{
    peer_start(peer);
    peer_connect(peer, &error_abort);
    main_loop_idle();
    return peer->session;
}

void peer_stop(Peer *peer)
{
    vfio_user_session_close(peer->session);
    /* It frees what it has seen, such as deleted bottom halves. */
    main_loop_idle();
    g_assert_cmpint(qatomic_read(&handlers), ==, 0);
    if (peer->script) {
        qemu_thread_join(&peer->thread);
    }
    close(peer->listener);
    unlink(peer->path);
    rmdir(peer->dir);
    g_free(peer->dir);
    g_free(peer->path);
    g_free(peer->name);
    qemu_sem_destroy(&peer->to_peer);
    qemu_sem_destroy(&peer->to_test);
    g_assert_cmpint(count_fds(), ==, peer->num_fds);
}

static gboolean give_up(gpointer opaque)
{
    g_assert_not_reached();
}

void main_loop_until(const bool *done)
{
    guint timer = g_timeout_add(PATIENCE_MS, give_up, NULL);

    while (!qatomic_load_acquire(done)) {
        g_main_context_iteration(NULL, true);
    }
    g_source_remove(timer);
}

void set_done(bool *done)
{
    qatomic_store_release(done, true);
    g_main_context_wakeup(NULL);
}

void expect_text(Peer *peer, const Error *err, const char *text)
{
    g_autofree char *whole = g_strdup_printf("%s: %s", peer->name, text);

    g_assert_nonnull(err);
    g_assert_cmpstr(error_get_pretty(err), ==, whole);
}

VFIOUserCall make_call(uint16_t command, const void *payload, size_t size)
{
    VFIOUserCall call = {
        .command = command,
        .head = payload,
        .head_size = size,
        .max_reply = 65536,
    };

    return call;
}

void expect_reply(VFIOUserCall *call, const char *text)
{
    g_assert_cmpmem(vfio_user_call_payload(call),
                    vfio_user_call_payload_size(call), text, strlen(text));
    vfio_user_msg_free(g_steal_pointer(&call->reply));
}

/*
 * The script's side.  Runs in the peer's thread.
 */

static void recv_bytes(Peer *peer, void *bytes, size_t size)
{
    while (size) {
        ssize_t ret = recv(peer->fd, bytes, size, 0);

        g_assert_cmpint(ret, >, 0);
        bytes += ret;
        size -= ret;
    }
}

static void recv_header(Peer *peer, uint8_t *header, size_t *num_fds)
{
    char control[CMSG_SPACE(sizeof(int) * 16)];
    struct iovec iov = { header, PEER_HEADER_SIZE };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1,
        .msg_control = control, .msg_controllen = sizeof(control),
    };
    struct cmsghdr *cmsg;

    /* The client sends header and all in one go, so this is never short. */
    g_assert_cmpint(recvmsg(peer->fd, &msg, MSG_CMSG_CLOEXEC), ==,
                    PEER_HEADER_SIZE);
    *num_fds = 0;
    cmsg = CMSG_FIRSTHDR(&msg);
    if (cmsg) {
        *num_fds = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < *num_fds; i++) {
            close(((int *)CMSG_DATA(cmsg))[i]);
        }
    }
}

void peer_recv(Peer *peer, PeerMessage *msg)
{
    uint8_t header[PEER_HEADER_SIZE];

    recv_header(peer, header, &msg->num_fds);
    msg->id = header[0] | header[1] << 8;
    msg->command = header[2] | header[3] << 8;
    msg->size = header[4] | header[5] << 8 | header[6] << 16 | header[7] << 24;
    msg->flags = header[8] | header[9] << 8;
    msg->error = header[12] | header[13] << 8;
    g_assert_cmpuint(msg->size, >=, PEER_HEADER_SIZE);
    msg->size -= PEER_HEADER_SIZE;
    g_assert_cmpuint(msg->size, <=, sizeof(msg->payload));
    recv_bytes(peer, msg->payload, msg->size);
}

void peer_expect(Peer *peer, uint16_t command, PeerMessage *msg)
{
    peer_recv(peer, msg);
    g_assert_cmpuint(msg->command, ==, command);
}

void peer_expect_refusal(Peer *peer, uint16_t id, uint16_t command)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);

    peer_expect(peer, command, msg);
    g_assert_cmpuint(msg->id, ==, id);
    g_assert_cmpuint(msg->flags, ==, PEER_REPLY | PEER_ERROR);
    g_assert_cmpuint(msg->error, ==, ENOTSUP);
    g_assert_cmpuint(msg->size, ==, 0);
}

void peer_expect_end(Peer *peer)
{
    uint8_t byte;
    ssize_t ret = recv(peer->fd, &byte, 1, 0);

    /* The latter when it has not read all that we sent */
    g_assert_true(ret == 0 || (ret < 0 && errno == ECONNRESET));
}

/* A client that has gone away is no fault of the script's. */
static bool send_pieces(Peer *peer, struct msghdr *msg, size_t size)
{
    struct iovec *iov = msg->msg_iov;

    while (size) {
        ssize_t ret = sendmsg(peer->fd, msg, MSG_NOSIGNAL);

        if (ret < 0) {
            g_assert_cmpint(errno, ==, EPIPE);
            return false;
        }
        size -= ret;
        msg->msg_control = NULL;
        msg->msg_controllen = 0;
        for (int i = 0; i < msg->msg_iovlen; i++) {
            size_t done = MIN(ret, iov[i].iov_len);

            iov[i].iov_base += done;
            iov[i].iov_len -= done;
            ret -= done;
        }
    }
    return true;
}

static void send_message(Peer *peer, uint16_t id, uint16_t command,
                         uint32_t flags, uint32_t error, const void *payload,
                         size_t size, const int *fds, size_t num_fds)
{
    uint32_t total = size + PEER_HEADER_SIZE;
    uint8_t header[PEER_HEADER_SIZE] = {
        id, id >> 8, command, command >> 8,
        total, total >> 8, total >> 16, total >> 24,
        flags, flags >> 8, 0, 0,
        error, error >> 8, error >> 16, error >> 24,
    };
    char control[CMSG_SPACE(sizeof(int) * 16)] = { 0 };
    struct cmsghdr *cmsg = (struct cmsghdr *)control;
    struct iovec iov[] = {
        { header, sizeof(header) }, { (void *)payload, size },
    };
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

    if (num_fds) {
        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(num_fds * sizeof(int));
        cmsg->cmsg_len = CMSG_LEN(num_fds * sizeof(int));
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        for (size_t i = 0; i < num_fds; i++) {
            ((int *)CMSG_DATA(cmsg))[i] = fds ? fds[i] : STDERR_FILENO;
        }
    }
    send_pieces(peer, &msg, total);
}

void peer_send(Peer *peer, uint16_t id, uint16_t command, uint32_t flags,
               uint32_t error, const void *payload, size_t size)
{
    send_message(peer, id, command, flags, error, payload, size, NULL, 0);
}

void peer_send_fds(Peer *peer, uint16_t id, uint16_t command, uint32_t flags,
                   const void *payload, size_t size, size_t num_fds)
{
    send_message(peer, id, command, flags, 0, payload, size, NULL, num_fds);
}

void peer_send_bytes(Peer *peer, const void *bytes, size_t size)
{
    struct iovec iov = { (void *)bytes, size };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    send_pieces(peer, &msg, size);
}

void peer_reply(Peer *peer, const PeerMessage *msg, const void *payload,
                size_t size)
{
    peer_send(peer, msg->id, msg->command, PEER_REPLY, 0, payload, size);
}

void peer_version_fds(Peer *peer, const char *json, const int *fds,
                      size_t num_fds)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);
    g_autofree char *payload = g_malloc0(4 + strlen(json) + 1);

    peer_expect(peer, 1, msg);
    strcpy(payload + 4, json);
    send_message(peer, msg->id, msg->command, PEER_REPLY, 0, payload,
                 4 + strlen(json) + 1, fds, num_fds);
}

void peer_version_json(Peer *peer, const char *json)
{
    peer_version_fds(peer, json, NULL, 0);
}

void peer_version(Peer *peer)
{
    peer_version_json(peer, "{\"capabilities\": {\"max_msg_fds\": 8}}");
}
