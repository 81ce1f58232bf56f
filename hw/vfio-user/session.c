/*
 * vfio-user session: life and death of a connection, and the requests of its
 * users.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "session-internal.h"
#include "trace.h"

/*
 * Requests under way in one thread.  The fds of those that a server has not
 * read count for the user's limit of open files.
 */
#define WINDOW 64

/*
 * Life and death.  Any thread, unless said otherwise.
 */

static void session_free(VFIOUserSession *session)
{
    SessionAnswer *answer, *next;

    QSIMPLEQ_FOREACH_SAFE(answer, &session->answers, next, next) {
        g_byte_array_unref(answer->payload);
        g_free(answer);
    }
    if (session->watch_epoll >= 0) {
        close(session->watch_epoll);
    }
    if (session->request_release) {
        session->request_release(session->request_opaque);
    }
    event_notifier_cleanup(&session->kick);
    vfio_user_channel_free(session->channel);
    vfio_user_channel_free(session->twin);
    qemu_cond_destroy(&session->changed);
    qemu_mutex_destroy(&session->lock);
    qemu_mutex_destroy(&session->send_lock);
    qemu_mutex_destroy(&session->twin_lock);
    qemu_mutex_destroy(&session->turn);
    error_free(session->reason);
    g_free(session->name);
    g_free(session);
}

VFIOUserSession *vfio_user_session_new(const VFIOUserSessionConfig *config,
                                       QIOChannelSocket *socket,
                                       Error **errp)
{
    static const uint32_t defaults[VFIO_USER_DEADLINE__MAX] = {
        [VFIO_USER_DEADLINE_REGISTER] = VFIO_USER_DEFAULT_REGISTER_TIMEOUT,
        [VFIO_USER_DEADLINE_MAP] = VFIO_USER_DEFAULT_MAP_TIMEOUT,
        [VFIO_USER_DEADLINE_STATE] = VFIO_USER_DEFAULT_STATE_TIMEOUT,
        [VFIO_USER_DEADLINE_BULK] = VFIO_USER_DEFAULT_BULK_TIMEOUT,
    };
    VFIOUserSession *session = g_new0(VFIOUserSession, 1);

    session->name = g_strdup(config->name);
    for (int i = 0; i < VFIO_USER_DEADLINE__MAX; i++) {
        session->timeout_ms[i] = config->timeout_ms[i] ?: defaults[i];
    }
    session->dead = config->dead;
    session->opaque = config->opaque;
    session->request = config->request;
    session->request_opaque = config->request_opaque;
    session->request_release = config->request_release;
    session->serial = config->serial;
    vfio_user_caps_init_client(&session->ours);
    vfio_user_caps_init_default(&session->caps);
    session->watch_epoll = -1;
    session->refs = 1;
    session->state = SESSION_CONNECTING;
    qemu_mutex_init(&session->turn);
    qemu_mutex_init(&session->send_lock);
    qemu_mutex_init(&session->twin_lock);
    qemu_mutex_init(&session->lock);
    qemu_cond_init(&session->changed);
    QTAILQ_INIT(&session->calls);
    QSIMPLEQ_INIT(&session->answers);

    session->channel = vfio_user_channel_new(socket, vfio_user_session_admit,
                                             session, errp);
    if (!session->channel) {
        error_prepend(errp, "%s: ", session->name);
    }
    if (!session->channel || !vfio_user_session_watch_init(session, errp)) {
        session_free(session);
        return NULL;
    }
    return session;
}

void vfio_user_session_ref(VFIOUserSession *session)
{
    qatomic_inc(&session->refs);
}

void vfio_user_session_unref(VFIOUserSession *session)
{
    if (qatomic_fetch_dec(&session->refs) == 1) {
        session_free(session);
    }
}

bool vfio_user_session_is_dead(VFIOUserSession *session)
{
    return qatomic_load_acquire(&session->state) == SESSION_DEAD;
}

const Error *vfio_user_session_reason(VFIOUserSession *session)
{
    return vfio_user_session_is_dead(session) ? session->reason : NULL;
}

const VFIOUserCaps *vfio_user_session_caps(VFIOUserSession *session)
{
    return &session->caps;
}

unsigned int vfio_user_session_window(VFIOUserSession *session)
{
    return session->serial ? 1 : WINDOW;
}

bool vfio_user_session_die(VFIOUserSession *session, int death,
                           const char *command, Error *reason)
{
    VFIOUserCall *call;

    if (command) {
        error_prepend(&reason, "%s: ", command);
    }
    error_prepend(&reason, "%s: ", session->name);

    qemu_mutex_lock(&session->lock);
    if (session->state == SESSION_DEAD) {
        qemu_mutex_unlock(&session->lock);
        error_free(reason);
        return false;
    }
    trace_vfio_user_session_state(session->name, "dead",
                                  error_get_pretty(reason));
    session->reason = reason;
    session->death = death;
    qatomic_store_release(&session->state, SESSION_DEAD);
    while ((call = QTAILQ_FIRST(&session->calls))) {
        QTAILQ_REMOVE(&session->calls, call, next);
        call->in_flight = false;
    }
    session->num_calls = 0;
    qemu_cond_broadcast(&session->changed);
    if (session->dead_bh && !session->closed) {
        qemu_bh_schedule(session->dead_bh);
    }
    /* Wakes the reader and a blocked sender. */
    vfio_user_channel_shutdown(session->channel);
    if (session->twin) {
        vfio_user_channel_shutdown(session->twin);
    }
    qemu_mutex_unlock(&session->lock);
    return true;
}

void vfio_user_session_kill(VFIOUserSession *session, Error *reason)
{
    vfio_user_session_die(session, ENOTCONN, NULL, reason);
}

/* Main thread with the BQL held. */
void vfio_user_session_close(VFIOUserSession *session)
{
    Error *reason = NULL;

    if (!session) {
        return;
    }
    qemu_mutex_lock(&session->lock);
    session->closed = true;
    qemu_mutex_unlock(&session->lock);

    error_setg(&reason, "closed");
    vfio_user_session_kill(session, reason);
    vfio_user_session_watch_stop(session);
    vfio_user_session_unref(session);
}

/*
 * Requests.  Any thread.
 */

/*
 * Give @call an id and, unless it is posted, put it on the list; others may
 * change its deadline from then on.  @deadline_us is the one to send within.
 */
static int call_begin(VFIOUserSession *session, VFIOUserCall *call,
                      bool posted, int64_t *deadline_us, Error **errp)
{
    QEMU_LOCK_GUARD(&session->lock);

    if (session->state == SESSION_DEAD) {
        error_propagate(errp, error_copy(session->reason));
        return -ENOTCONN;
    }
    if (session->num_calls > UINT16_MAX) {
        error_setg(errp, "%s: %s: too many requests under way "
                   "(got %u, limit %u)", session->name,
                   vfio_user_command_name(call->command),
                   session->num_calls + 1, UINT16_MAX + 1);
        return -EINVAL;
    }

    while (vfio_user_session_find_call(session, session->next_id)) {
        session->next_id++;
    }
    call->id = session->next_id++;
    call->timeout_us = session->timeout_ms[call->deadline] * 1000LL;
    call->deadline_us = g_get_monotonic_time() + call->timeout_us;
    *deadline_us = call->deadline_us;
    call->done = false;
    call->timed_out = false;
    call->remote_error = false;
    call->reply = NULL;
    if (!posted) {
        QTAILQ_INSERT_TAIL(&session->calls, call, next);
        session->num_calls++;
        call->in_flight = true;
    }
    return 0;
}

static int call_check(VFIOUserSession *session, const VFIOUserCall *call,
                      Error **errp)
{
    const size_t limit = UINT32_MAX - sizeof(VFIOUserHeader);
    const char *command = vfio_user_command_name(call->command);

    if (call->head_size > limit || call->data_size > limit - call->head_size) {
        error_setg(errp, "%s: %s: request is too long (limit %zu)",
                   session->name, command, limit);
        return -EINVAL;
    }
    if (call->num_fds > VFIO_USER_CHANNEL_MAX_FDS) {
        error_setg(errp, "%s: %s: too many fds (got %zu, limit %d)",
                   session->name, command, call->num_fds,
                   VFIO_USER_CHANNEL_MAX_FDS);
        return -EINVAL;
    }
    return 0;
}

/* The message itself.  send_lock held; the session dies when it fails. */
static int call_transmit(VFIOUserSession *session, VFIOUserCall *call,
                         uint32_t flags, int64_t deadline_us, Error **errp)
{
    const char *command = vfio_user_command_name(call->command);
    size_t payload_size = call->head_size + call->data_size;
    SessionSend send = {
        .session = session,
        .channel = session->channel,
        .timeout_ms = session->timeout_ms[call->deadline],
        .deadline_us = deadline_us,
    };
    VFIOUserHeader header;
    struct iovec iov[] = {
        { &header, sizeof(header) },
        { (void *)call->head, call->head_size },
        { (void *)call->data, call->data_size },
    };
    Error *err = NULL;
    int ret;

    vfio_user_wire_put_header(&header, call->id, call->command, flags, 0,
                              payload_size);
    trace_vfio_user_send_hdr(session->name, call->id, command, payload_size,
                             flags, call->num_fds);
    ret = vfio_user_channel_send(session->channel, iov, ARRAY_SIZE(iov),
                                 call->fds, call->num_fds,
                                 vfio_user_session_wait_writable, &send, &err);
    if (ret < 0) {
        bool first = vfio_user_session_die(session, ENOTCONN, command, err);

        error_propagate(errp, error_copy(session->reason));
        return first && ret == -ETIMEDOUT ? ret : -session->death;
    }
    if (send.blocked) {
        qemu_mutex_lock(&session->lock);
        call->deadline_us = MAX(call->deadline_us,
                                g_get_monotonic_time() + call->timeout_us);
        qemu_mutex_unlock(&session->lock);
    }
    return 0;
}

static int call_send(VFIOUserSession *session, VFIOUserCall *call,
                     bool posted, Error **errp)
{
    uint32_t flags = VFIO_USER_FLAG_COMMAND |
                     (posted ? VFIO_USER_FLAG_NO_REPLY : 0);
    int64_t deadline_us;
    int ret = call_check(session, call, errp);

    if (ret < 0) {
        return ret;
    }

    qemu_mutex_lock(&session->send_lock);
    ret = call_begin(session, call, posted, &deadline_us, errp);
    if (ret == 0) {
        ret = call_transmit(session, call, flags, deadline_us, errp);
    }
    qemu_mutex_unlock(&session->send_lock);
    vfio_user_session_flush(session, false);
    return ret;
}

int vfio_user_session_post(VFIOUserSession *session, VFIOUserCall *call,
                           Error **errp)
{
    int ret;

    vfio_user_session_ref(session);
    ret = call_send(session, call, true, errp);
    vfio_user_session_unref(session);
    return ret;
}

static void end_turn(VFIOUserSession *session)
{
    if (session->serial) {
        qemu_mutex_unlock(&session->turn);
    }
    vfio_user_session_unref(session);
}

int vfio_user_session_send(VFIOUserSession *session, VFIOUserCall *call,
                           Error **errp)
{
    int ret;

    /* vfio_user_session_wait() drops this one, and ends the turn. */
    vfio_user_session_ref(session);
    if (session->serial) {
        qemu_mutex_lock(&session->turn);
    }
    ret = call_send(session, call, false, errp);
    if (ret < 0) {
        vfio_user_msg_free(call->reply);
        call->reply = NULL;
        end_turn(session);
    }
    return ret;
}

void vfio_user_session_expire(VFIOUserSession *session, VFIOUserCall *call)
{
    Error *reason = NULL;

    error_setg(&reason, "no reply within %" PRId64 " ms",
               call->timeout_us / 1000);
    call->timed_out =
        vfio_user_session_die(session, ENOTCONN,
                              vfio_user_command_name(call->command), reason);
}

/* Another thread reads: sleep until something has changed.  lock held. */
static void call_follow(VFIOUserSession *session, VFIOUserCall *call)
{
    int64_t left_us = call->deadline_us - g_get_monotonic_time();

    if (left_us <= 0) {
        qemu_mutex_unlock(&session->lock);
        vfio_user_session_expire(session, call);
        qemu_mutex_lock(&session->lock);
        return;
    }
    session->followers++;
    qemu_cond_timedwait(&session->changed, &session->lock,
                        MIN(DIV_ROUND_UP(left_us, 1000), INT_MAX));
    session->followers--;
}

/* What has become of @call.  lock held. */
static int call_result(VFIOUserSession *session, VFIOUserCall *call,
                       Error **errp)
{
    if (!call->done) {
        error_propagate(errp, error_copy(session->reason));
        return call->timed_out ? -ETIMEDOUT : -session->death;
    }
    if (call->remote_errno) {
        call->remote_error = true;
        error_setg(errp, "%s: %s: server error: %s", session->name,
                   vfio_user_command_name(call->command),
                   strerror(call->remote_errno));
        return -call->remote_errno;
    }
    return 0;
}

int vfio_user_session_wait(VFIOUserSession *session, VFIOUserCall *call,
                           Error **errp)
{
    int ret;

    qemu_mutex_lock(&session->lock);
    while (call->in_flight) {
        if (vfio_user_session_reader_begin(session)) {
            qemu_mutex_unlock(&session->lock);
            vfio_user_session_lead(session, call);
            qemu_mutex_lock(&session->lock);
            vfio_user_session_reader_end(session, false);
        } else {
            call_follow(session, call);
        }
    }
    ret = call_result(session, call, errp);
    qemu_mutex_unlock(&session->lock);
    end_turn(session);
    return ret;
}

int vfio_user_session_call(VFIOUserSession *session, VFIOUserCall *call,
                           Error **errp)
{
    int ret = vfio_user_session_send(session, call, errp);

    return ret < 0 ? ret : vfio_user_session_wait(session, call, errp);
}
