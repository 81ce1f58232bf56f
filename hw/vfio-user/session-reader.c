/*
 * vfio-user session: reading the socket, by whichever thread is there for it,
 * and answering the server's commands.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/timer.h"
#include "session-internal.h"
#include "trace.h"

/* Messages after which to look up: at the clock, at the main loop's others */
#define READ_BUDGET     64

/* Answers of ours that the server has not taken; each may be 1 MiB large */
#define MAX_ANSWERS     16

/* What a server may append to an error reply for nothing */
#define MAX_ERROR_BODY  (64 * KiB)

/*
 * Receiving.  The reader, without a lock of the session's (but see sending).
 */

VFIOUserCall *vfio_user_session_find_call(VFIOUserSession *session,
                                          uint16_t id)
{
    VFIOUserCall *call;

    QTAILQ_FOREACH(call, &session->calls, next) {
        if (call->id == id) {
            return call;
        }
    }
    return NULL;
}

static bool admit_command(VFIOUserSession *session,
                          const VFIOUserHeaderDesc *header, size_t *max_fds,
                          Error **errp)
{
    size_t limit = sizeof(VFIOUserDMARW) + session->ours.max_data_xfer_size;
    VFIOUserCall *call;

    QEMU_LOCK_GUARD(&session->lock);

    /* The ids of the two sides are independent, the commands are not. */
    call = vfio_user_session_find_call(session, header->id);
    if (call && call->command == header->command) {
        error_setg(errp, "command in place of the reply");
        return false;
    }
    if (header->size > limit) {
        error_setg(errp, "command from the server is too long "
                   "(got %u bytes, limit %zu)", header->size, limit);
        return false;
    }
    *max_fds = VFIO_USER_CHANNEL_MAX_FDS;
    return true;
}

static bool admit_reply(VFIOUserSession *session,
                        const VFIOUserHeaderDesc *header, size_t *max_fds,
                        Error **errp)
{
    VFIOUserCall *call;
    size_t limit;

    QEMU_LOCK_GUARD(&session->lock);

    call = vfio_user_session_find_call(session, header->id);
    if (!call) {
        error_setg(errp, "reply to no request (id 0x%x)", header->id);
        return false;
    }
    session->blame = call->command;
    if (header->command != call->command) {
        error_setg(errp, "wrong command in the reply (got %u, sent %u)",
                   header->command, call->command);
        return false;
    }
    limit = header->error ? MAX(call->max_reply, MAX_ERROR_BODY)
                          : call->max_reply;
    if (header->size > limit) {
        error_setg(errp, "reply is too long (got %u bytes, limit %zu)",
                   header->size, limit);
        return false;
    }
    if (call->spare &&
        sizeof(VFIOUserHeader) + header->size <= call->spare_size) {
        vfio_user_channel_give_buffer(session->channel,
                                      g_steal_pointer(&call->spare));
    }
    *max_fds = MIN(call->max_reply_fds, VFIO_USER_CHANNEL_MAX_FDS);
    return true;
}

static bool admit(VFIOUserSession *session, bool twin, const uint8_t *data,
                  size_t *max_fds, Error **errp)
{
    VFIOUserHeaderDesc header;

    if (!vfio_user_wire_get_header(data, sizeof(VFIOUserHeader), UINT32_MAX,
                                   &header, errp)) {
        return false;
    }
    trace_vfio_user_recv_hdr(session->name, header.id,
                             vfio_user_command_name(header.command),
                             header.size, header.reply, header.error);
    session->blame = header.command;
    /* With two sockets, each has its own kind of messages. */
    if (session->twin && header.reply == twin) {
        error_setg(errp, "%s on the %s socket", twin ? "reply" : "command",
                   twin ? "second" : "first");
        return false;
    }
    return header.reply ? admit_reply(session, &header, max_fds, errp)
                        : admit_command(session, &header, max_fds, errp);
}

bool vfio_user_session_admit(void *opaque, const uint8_t *data, size_t size,
                             size_t *max_fds, Error **errp)
{
    return admit(opaque, false, data, max_fds, errp);
}

bool vfio_user_session_admit_twin(void *opaque, const uint8_t *data,
                                  size_t size, size_t *max_fds, Error **errp)
{
    return admit(opaque, true, data, max_fds, errp);
}

/* Give the replies still to come as long as their deadlines say, from now. */
static void postpone_deadlines(VFIOUserCall *call)
{
    int64_t now = call ? g_get_monotonic_time() : 0;

    for (; call; call = QTAILQ_NEXT(call, next)) {
        call->deadline_us = MAX(call->deadline_us, now + call->timeout_us);
    }
}

static void handle_reply(VFIOUserSession *session,
                         const VFIOUserHeaderDesc *header, VFIOUserMsg *msg)
{
    g_autoptr(VFIOUserMsg) unwanted = msg;
    VFIOUserCall *call;

    QEMU_LOCK_GUARD(&session->lock);

    /* It was there when the header came, so only death has taken it away. */
    call = vfio_user_session_find_call(session, header->id);
    if (!call) {
        return;
    }
    postpone_deadlines(QTAILQ_NEXT(call, next));
    QTAILQ_REMOVE(&session->calls, call, next);
    session->num_calls--;
    call->in_flight = false;
    call->done = true;
    call->remote_errno = header->error;
    if (!header->error) {
        call->reply = g_steal_pointer(&unwanted);
    }
    if (session->followers && call != session->leading) {
        qemu_cond_broadcast(&session->changed);
    }
}

static void handle_command(VFIOUserSession *session,
                           const VFIOUserHeaderDesc *header, VFIOUserMsg *msg)
{
    g_autoptr(VFIOUserMsg) command = msg;
    g_autoptr(GByteArray) payload = g_byte_array_new();
    uint32_t flags = VFIO_USER_FLAG_REPLY;
    SessionAnswer *answer;
    int error = ENOTSUP;

    session->commands++;
    if (session->request &&
        qatomic_read(&session->state) == SESSION_READY) {
        error = session->request(session->request_opaque, header, command,
                                 payload);
    }
    trace_vfio_user_recv_request(session->name,
                                 vfio_user_command_name(header->command),
                                 error);
    if (header->no_reply) {
        return;
    }
    if (error) {
        g_byte_array_set_size(payload, 0);
        flags |= VFIO_USER_FLAG_ERROR;
    }

    answer = g_new0(SessionAnswer, 1);
    vfio_user_wire_put_header(&answer->header, header->id, header->command,
                              flags, error, payload->len);
    answer->command = vfio_user_command_name(header->command);
    answer->payload = g_steal_pointer(&payload);
    qemu_mutex_lock(&session->lock);
    QSIMPLEQ_INSERT_TAIL(&session->answers, answer, next);
    qatomic_set(&session->num_answers, session->num_answers + 1);
    qemu_mutex_unlock(&session->lock);
}

static void handle_message(VFIOUserSession *session, VFIOUserMsg *msg)
{
    VFIOUserHeaderDesc header;

    /* The same bytes have passed vfio_user_session_admit(). */
    if (!vfio_user_wire_get_header(msg->data, msg->size, msg->size, &header,
                                   NULL)) {
        vfio_user_msg_free(msg);
        return;
    }
    session->blame = 0;
    if (header.reply) {
        handle_reply(session, &header, msg);
    } else {
        handle_command(session, &header, msg);
    }
}

static void die_of_input(VFIOUserSession *session, int death, Error *reason)
{
    uint16_t command = session->blame;

    /* Of what all calls die, the oldest one's name tells most. */
    qemu_mutex_lock(&session->lock);
    if (!command && !QTAILQ_EMPTY(&session->calls)) {
        command = QTAILQ_FIRST(&session->calls)->command;
    }
    qemu_mutex_unlock(&session->lock);
    vfio_user_session_die(session, death == -EPROTO ? EPROTO : ENOTCONN,
                          command ? vfio_user_command_name(command) : NULL,
                          reason);
}

/* Each socket has a lock, so that answers need not wait for requests. */
static QemuMutex *answer_lock(VFIOUserSession *session)
{
    return session->twin ? &session->twin_lock : &session->send_lock;
}

static bool answers_are_full(VFIOUserSession *session)
{
    return qatomic_read(&session->num_answers) >= MAX_ANSWERS;
}

static void flush_locked(VFIOUserSession *session, bool reader);

/*
 * The server does not take our answers, or not yet.  Whoever is sending gives
 * up when its deadline has passed, so this wait has an end too.
 */
static void wait_for_answers(VFIOUserSession *session)
{
    qemu_mutex_lock(answer_lock(session));
    flush_locked(session, true);
    qemu_mutex_unlock(answer_lock(session));
    vfio_user_session_flush(session, true);
}

/* As vfio_user_session_read(), of one channel, and backlog is not touched. */
static int read_channel(VFIOUserSession *session, VFIOUserChannel *channel,
                        bool answering, int64_t timeout_us)
{
    VFIOUserMsg *msg;
    Error *err = NULL;
    int ret;

    for (int i = 0; i < READ_BUDGET; i++) {
        if (vfio_user_session_is_dead(session)) {
            return -1;
        }
        if (answers_are_full(session)) {
            if (answering) {
                break;
            }
            wait_for_answers(session);
        }
        ret = vfio_user_channel_recv(channel, timeout_us, &msg, &err);
        timeout_us = 0;
        if (ret < 0) {
            die_of_input(session, ret, err);
            return -1;
        }
        if (ret == 0) {
            return 0;
        }
        handle_message(session, msg);
        if (!answering) {
            vfio_user_session_flush(session, true);
        }
    }
    return 1;
}

/* With nothing held back, what is there makes one of the two readable. */
static int read_both(VFIOUserSession *session, bool backlog, bool answering,
                     int64_t timeout_us)
{
    GPollFD fds[] = {
        { .fd = vfio_user_channel_fd(session->channel), .events = G_IO_IN },
        { .fd = vfio_user_channel_fd(session->twin), .events = G_IO_IN },
    };
    int first = 0, second = 0;

    if (!backlog &&
        qemu_poll_ns(fds, ARRAY_SIZE(fds), timeout_us * 1000) <= 0) {
        return 0;
    }
    if (backlog || fds[1].revents) {
        second = read_channel(session, session->twin, answering, 0);
    }
    if (second >= 0 && (backlog || session->backlog || fds[0].revents)) {
        first = read_channel(session, session->channel, answering, 0);
    }
    return first < 0 || second < 0 ? -1 : first || second;
}

int vfio_user_session_read(VFIOUserSession *session, bool answering,
                           int64_t timeout_us)
{
    bool backlog = session->backlog;
    int ret;

    /* Set again by a read within this one, while an answer cannot be sent. */
    session->backlog = false;
    ret = session->twin ?
          read_both(session, backlog, answering, timeout_us) :
          read_channel(session, session->channel, answering, timeout_us);
    session->backlog |= ret > 0;
    return ret < 0 ? ret : session->backlog;
}

/*
 * Answering.  Any thread.
 */

static SessionAnswer *pop_answer(VFIOUserSession *session)
{
    SessionAnswer *answer;

    QEMU_LOCK_GUARD(&session->lock);

    answer = QSIMPLEQ_FIRST(&session->answers);
    if (answer) {
        QSIMPLEQ_REMOVE_HEAD(&session->answers, next);
        qatomic_set(&session->num_answers, session->num_answers - 1);
    }
    return answer;
}

static void send_answer(VFIOUserSession *session, SessionAnswer *answer,
                        bool reader)
{
    uint32_t timeout_ms = session->timeout_ms[VFIO_USER_DEADLINE_REGISTER];
    SessionSend send = {
        .session = session,
        .channel = session->twin ?: session->channel,
        .timeout_ms = timeout_ms,
        .deadline_us = g_get_monotonic_time() + timeout_ms * 1000LL,
        .reader = reader,
    };
    struct iovec iov[] = {
        { &answer->header, sizeof(answer->header) },
        { answer->payload->data, answer->payload->len },
    };
    Error *err = NULL;

    if (vfio_user_channel_send(send.channel, iov, ARRAY_SIZE(iov), NULL, 0,
                               vfio_user_session_wait_writable, &send,
                               &err) < 0) {
        vfio_user_session_die(session, ENOTCONN, answer->command, err);
    }
}

static void flush_locked(VFIOUserSession *session, bool reader)
{
    SessionAnswer *answer;

    while ((answer = pop_answer(session))) {
        if (!vfio_user_session_is_dead(session)) {
            send_answer(session, answer, reader);
        }
        g_byte_array_unref(answer->payload);
        g_free(answer);
    }
}

void vfio_user_session_flush(VFIOUserSession *session, bool reader)
{
    unsigned int num_answers;

    for (;;) {
        /*
         * With the lock, so that an answer is seen here, or its maker finds
         * answer_lock() free.
         */
        qemu_mutex_lock(&session->lock);
        num_answers = session->num_answers;
        qemu_mutex_unlock(&session->lock);

        if (!num_answers || qemu_mutex_trylock(answer_lock(session))) {
            return;
        }
        flush_locked(session, reader);
        qemu_mutex_unlock(answer_lock(session));
    }
}

/*
 * The role of reader.  Any thread.
 */

bool vfio_user_session_reader_begin(VFIOUserSession *session)
{
    if (session->reading) {
        return false;
    }
    session->reading = true;
    session->reads++;
    return true;
}

void vfio_user_session_reader_end(VFIOUserSession *session, bool answering)
{
    /* The main loop was told of this input, and may not be told again. */
    while (session->poked && session->state != SESSION_DEAD) {
        session->poked = false;
        qemu_mutex_unlock(&session->lock);
        vfio_user_session_read(session, answering, 0);
        qemu_mutex_lock(&session->lock);
        if (session->backlog) {
            break;
        }
    }

    session->reading = false;
    if (session->followers) {
        qemu_cond_broadcast(&session->changed);
    }
    if (session->send_blocked) {
        event_notifier_set(&session->kick);
    }
    if (session->backlog && session->watch_bh && !session->closed) {
        qemu_bh_schedule(session->watch_bh);
    }
}

void vfio_user_session_lead(VFIOUserSession *session, VFIOUserCall *call)
{
    int64_t left_us = call->deadline_us - g_get_monotonic_time();
    int ret;

    session->leading = call;
    do {
        /* At least once, however late: the reply may be there already. */
        ret = vfio_user_session_read(session, false,
                                     session->backlog ? 0 : MAX(left_us, 0));
        left_us = call->deadline_us - g_get_monotonic_time();
    } while (ret >= 0 && !call->done && left_us > 0);
    session->leading = NULL;

    if (ret >= 0 && !call->done) {
        vfio_user_session_expire(session, call);
    }
}

/* Whether answers have to wait until this is sent. */
static bool is_answering(const SessionSend *send)
{
    return send->channel == (send->session->twin ?: send->session->channel);
}

/* Whether it is worth trying to send again; else sleep again. */
static bool poll_writable(SessionSend *send, bool *reader, int64_t left_us)
{
    VFIOUserSession *session = send->session;
    bool answering = is_answering(send);
    bool input = *reader && !(answering && answers_are_full(session));
    GPollFD fds[] = {
        {
            .fd = vfio_user_channel_fd(send->channel),
            .events = G_IO_OUT,
        }, {
            .fd = event_notifier_get_fd(&session->kick),
            .events = G_IO_IN,
        }, {
            .fd = vfio_user_channel_fd(session->channel),
            .events = G_IO_IN,
        }, {
            .fd = session->twin ? vfio_user_channel_fd(session->twin) : -1,
            .events = G_IO_IN,
        },
    };

    if (qemu_poll_ns(fds, input ? ARRAY_SIZE(fds) : 2, left_us * 1000) <= 0) {
        return false;
    }
    if (fds[1].revents) {
        event_notifier_test_and_clear(&session->kick);
        if (!*reader) {
            qemu_mutex_lock(&session->lock);
            *reader = vfio_user_session_reader_begin(session);
            qemu_mutex_unlock(&session->lock);
            input = *reader;
        }
    }
    if (input) {
        vfio_user_session_read(session, answering, 0);
    }
    return fds[0].revents;
}

int vfio_user_session_wait_writable(void *opaque, Error **errp)
{
    SessionSend *send = opaque;
    VFIOUserSession *session = send->session;
    bool reader;
    int ret = 1;

    send->blocked = true;
    qemu_mutex_lock(&session->lock);
    session->send_blocked++;
    reader = send->reader || vfio_user_session_reader_begin(session);
    qemu_mutex_unlock(&session->lock);

    while (ret > 0) {
        int64_t left_us = send->deadline_us - g_get_monotonic_time();

        if (vfio_user_session_is_dead(session)) {
            error_propagate(errp, error_copy(session->reason));
            ret = -ENOTCONN;
        } else if (left_us <= 0) {
            error_setg(errp, "server took no more data for %u ms",
                       send->timeout_ms);
            ret = -ETIMEDOUT;
        } else if (poll_writable(send, &reader, left_us)) {
            ret = 0;
        }
    }

    qemu_mutex_lock(&session->lock);
    session->send_blocked--;
    if (reader && !send->reader) {
        vfio_user_session_reader_end(session, is_answering(send));
    }
    qemu_mutex_unlock(&session->lock);
    return ret;
}
