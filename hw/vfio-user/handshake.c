/*
 * vfio-user session: from a socket's address to a connection on which both
 * sides have told their limits.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/un.h>
#include "qemu/sockets.h"
#include "session-internal.h"
#include "trace.h"

static int socket_connect_within(int fd, const struct sockaddr_un *name,
                                 socklen_t size, uint32_t timeout_ms)
{
    /* A server that is busy lets connect() wait for room in its queue. */
    struct timeval timeout = {
        .tv_sec = timeout_ms / 1000,
        .tv_usec = timeout_ms % 1000 * 1000,
    };
    int ret;

    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout,
                   sizeof(timeout)) < 0) {
        return -errno;
    }
    do {
        ret = connect(fd, (const struct sockaddr *)name, size);
    } while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : 0;
}

/* With @timeout_ms 0 do not wait at all. */
static QIOChannelSocket *connect_unix(const UnixSocketAddress *address,
                                      uint32_t timeout_ms, Error **errp)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    size_t length = strlen(address->path);
    socklen_t size = sizeof(name);
    QIOChannelSocket *socket;
    int fd, ret;

    if (length >= sizeof(name.sun_path)) {
        error_setg(errp, "socket path is too long (got %zu, limit %zu)",
                   length, sizeof(name.sun_path) - 1);
        return NULL;
    }
    /* the name of an abstract socket begins with a NUL */
    memcpy(name.sun_path + address->abstract, address->path, length);
    if (address->abstract && (!address->has_tight || address->tight)) {
        size = offsetof(struct sockaddr_un, sun_path) + 1 + length;
    }

    fd = qemu_socket(AF_UNIX, SOCK_STREAM | (timeout_ms ? 0 : SOCK_NONBLOCK),
                     0);
    if (fd < 0) {
        error_setg_errno(errp, errno, "no socket");
        return NULL;
    }
    ret = socket_connect_within(fd, &name, size, timeout_ms);
    if (ret == -EAGAIN && timeout_ms) {
        error_setg(errp, "server did not accept the connection within %u ms",
                   timeout_ms);
    } else if (ret < 0) {
        error_setg_errno(errp, -ret, "cannot connect");
    }
    socket = ret < 0 ? NULL : qio_channel_socket_new_fd(fd, errp);
    if (!socket) {
        close(fd);
    }
    return socket;
}

static QIOChannelSocket *connect_address(SocketAddress *address,
                                         uint32_t timeout_ms, Error **errp)
{
    QIOChannelSocket *socket;

    if (address->type == SOCKET_ADDRESS_TYPE_UNIX) {
        return connect_unix(&address->u.q_unix, timeout_ms, errp);
    }
    socket = qio_channel_socket_new();
    if (qio_channel_socket_connect_sync(socket, address, errp) < 0) {
        object_unref(OBJECT(socket));
        return NULL;
    }
    return socket;
}

/* A connected UNIX stream socket, and nothing else the server might send */
static bool check_twin(int fd, Error **errp)
{
    int domain = 0, type = 0;
    socklen_t size = sizeof(int);

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
        domain != AF_UNIX || type != SOCK_STREAM) {
        error_setg(errp, "twin_socket.fd_index names no UNIX stream socket");
        return false;
    }
    return true;
}

static bool take_twin(VFIOUserSession *session, VFIOUserMsg *reply,
                      Error **errp)
{
    uint64_t index = session->caps.twin_fd_index;
    QIOChannelSocket *socket;
    int fd;

    if (!session->caps.twin_socket) {
        if (reply->num_fds) {
            error_setg(errp, "too many fds in a message (got %zu, limit 0)",
                       reply->num_fds);
            return false;
        }
        return true;
    }
    if (index >= reply->num_fds) {
        error_setg(errp, "twin_socket.fd_index names no fd (got %" PRIu64
                   ", fds %zu)", index, reply->num_fds);
        return false;
    }
    fd = vfio_user_msg_take_fd(reply, index);
    socket = check_twin(fd, errp) ? qio_channel_socket_new_fd(fd, errp) : NULL;
    if (!socket) {
        close(fd);
        return false;
    }
    session->twin = vfio_user_channel_new(socket,
                                          vfio_user_session_admit_twin,
                                          session, errp);
    object_unref(OBJECT(socket));
    return session->twin && vfio_user_session_watch_twin(session, errp);
}

static bool read_version(VFIOUserSession *session, const VFIOUserCall *call,
                         Error **errp)
{
    VFIOUserVersionDesc version;

    if (!vfio_user_wire_get_version(vfio_user_call_payload(call),
                                    vfio_user_call_payload_size(call),
                                    VFIO_USER_MAJOR, VFIO_USER_MINOR,
                                    &version, errp) ||
        !vfio_user_caps_parse(version.json, version.json_len, &session->caps,
                              errp) ||
        !take_twin(session, call->reply, errp)) {
        error_prepend(errp, "%s: VERSION: ", session->name);
        return false;
    }
    trace_vfio_user_version(session->name, version.major, version.minor,
                            version.json ?: "");
    return true;
}

bool vfio_user_session_negotiate(VFIOUserSession *session, Error **errp)
{
    g_autofree char *json = vfio_user_caps_to_json(&session->ours);
    g_autofree uint8_t *payload = NULL;
    g_autoptr(VFIOUserMsg) reply = NULL;
    VFIOUserCall call = {
        .command = VFIO_USER_VERSION,
        .deadline = VFIO_USER_DEADLINE_MAP,
        .max_reply = sizeof(VFIOUserVersion) + VFIO_USER_MAX_JSON_SIZE,
        .max_reply_fds = VFIO_USER_MAX_FDS,
    };

    payload = vfio_user_wire_put_version(VFIO_USER_MAJOR, VFIO_USER_MINOR,
                                         json, &call.head_size);
    call.head = payload;
    if (vfio_user_session_call(session, &call, errp) < 0) {
        return false;
    }
    reply = call.reply;
    return read_version(session, &call, errp);
}

VFIOUserSession *vfio_user_session_open(const VFIOUserSessionConfig *config,
                                        bool wait, Error **errp)
{
    ERRP_GUARD();
    uint32_t timeout_ms = config->timeout_ms[VFIO_USER_DEADLINE_MAP] ?:
                          VFIO_USER_DEFAULT_MAP_TIMEOUT;
    QIOChannelSocket *socket;
    VFIOUserSession *session;

    socket = connect_address(config->address, wait ? timeout_ms : 0, errp);
    if (!socket) {
        if (config->request_release) {
            config->request_release(config->request_opaque);
        }
        error_prepend(errp, "%s: ", config->name);
        return NULL;
    }
    session = vfio_user_session_new(config, socket, errp);
    object_unref(OBJECT(socket));
    return session;
}

VFIOUserSession *vfio_user_session_connect(const VFIOUserSessionConfig *config,
                                           Error **errp)
{
    VFIOUserSession *session = vfio_user_session_open(config, true, errp);

    if (session && !vfio_user_session_negotiate(session, errp)) {
        vfio_user_session_close(session);
        return NULL;
    }
    if (session) {
        vfio_user_session_start(session);
    }
    return session;
}
