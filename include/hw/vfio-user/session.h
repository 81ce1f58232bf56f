/*
 * vfio-user session: requests and their replies over one connection, with
 * deadlines, and one death that everybody is told of.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_USER_SESSION_H
#define HW_VFIO_USER_SESSION_H

#include "qapi/qapi-types-sockets.h"
#include "qemu/queue.h"
#include "hw/vfio-user/caps.h"
#include "hw/vfio-user/channel.h"
#include "hw/vfio-user/wire.h"

/*
 * Threads.  Any thread may make calls, with or without the BQL.  The session
 * never takes or drops the BQL, and calls make progress without the main
 * loop: of the threads that wait for replies one reads the socket, hands the
 * others what is theirs, and leaves the reading to one of them when its own
 * reply has come.  When nobody waits, the main loop watches the socket; behind
 * a burst of calls it may take up to 4 ms to look again, unless the server has
 * sent commands on its own account before.
 *
 * Errors.  A text begins with the name of the session and, where it is about
 * one request, the name of its command:
 *     vfio-user:<socket>: <COMMAND>: <what was wrong>
 *
 * A session is CONNECTING, READY or DEAD.  Nothing leads out of DEAD.
 */
typedef struct VFIOUserSession VFIOUserSession;

/* How long a reply may take depends on what the server has to do for it. */
typedef enum VFIOUserDeadline {
    VFIO_USER_DEADLINE_REGISTER,    /* register access, and our answers */
    VFIO_USER_DEADLINE_MAP,         /* DMA maps, set-up, connecting */
    VFIO_USER_DEADLINE_STATE,       /* state changes and reset */
    VFIO_USER_DEADLINE_BULK,        /* device data and dirty bitmaps */
    VFIO_USER_DEADLINE__MAX,
} VFIOUserDeadline;

/* In milliseconds, for the class of deadline that a config leaves 0 */
#define VFIO_USER_DEFAULT_REGISTER_TIMEOUT  5000
#define VFIO_USER_DEFAULT_MAP_TIMEOUT       30000
#define VFIO_USER_DEFAULT_STATE_TIMEOUT     60000
#define VFIO_USER_DEFAULT_BULK_TIMEOUT      60000

/*
 * The session has died.  Called once, from a bottom half in the main loop
 * with the BQL held, unless the session was closed first; never from within a
 * session function.  @reason is the session's.  May close the session.
 */
typedef void VFIOUserDeadNotify(void *opaque, const Error *reason);

/*
 * The server sent the command that @header describes; @msg is the whole
 * message, whose fds the handler may take.  Returns 0 with the payload of the
 * answer appended to @reply (empty at the start), or the positive errno to
 * answer with, when @reply is ignored.  If @header->no_reply no answer is sent.
 *
 * Runs in whatever thread received the command, without any lock of the
 * session that it could see, but perhaps while another thread that holds the
 * BQL waits for this one: it must not wait for the BQL, nor for another
 * request, so it makes no calls on any session; it may kill this one.  One
 * runs at a time.  None runs before connect has returned.  After close has
 * returned, one may still be running in another thread that has not come
 * back from its call.
 */
typedef int VFIOUserRequestHandler(void *opaque,
                                   const VFIOUserHeaderDesc *header,
                                   VFIOUserMsg *msg, GByteArray *reply);

typedef struct VFIOUserSessionConfig {
    SocketAddress *address;         /* borrowed during connect */
    const char *name;               /* "vfio-user:<socket>", copied */
    uint32_t timeout_ms[VFIO_USER_DEADLINE__MAX];   /* 0: the default */
    VFIOUserDeadNotify *dead;       /* may be NULL */
    void *opaque;                   /* of dead */
    VFIOUserRequestHandler *request;    /* NULL: all are refused, ENOTSUP */
    void *request_opaque;           /* of request */
    /*
     * Called once with request_opaque when no handler runs any more nor will
     * run, be it that connect fails or long after close.  Any thread, with or
     * without the BQL.  May be NULL.
     */
    GDestroyNotify request_release;
    bool serial;                    /* see vfio_user_session_window() */
} VFIOUserSessionConfig;

/*
 * Connect and negotiate ("VERSION"), within the MAP deadline for each of the
 * two.  Main thread with the BQL held.  @config is borrowed.  Returns a READY
 * session to be closed with vfio_user_session_close(), or NULL with @errp
 * set; then nothing remains, request_release has been called, and no other
 * callback has been or will be.
 */
VFIOUserSession *vfio_user_session_connect(const VFIOUserSessionConfig *config,
                                           Error **errp);

/*
 * The three steps of the above, for who must not wait for a server that takes
 * its time.  First, connect: a CONNECTING session, or NULL as above.  Unless
 * @wait, a server that has no room for another connection at once is an error.
 * Main thread with the BQL held.
 */
VFIOUserSession *vfio_user_session_open(const VFIOUserSessionConfig *config,
                                        bool wait, Error **errp);

/*
 * Second, negotiate.  Any one thread, which may then make calls; another one
 * makes it return early with vfio_user_session_kill().  Returns false with
 * @errp set on failure, when only close is left to do.
 */
bool vfio_user_session_negotiate(VFIOUserSession *session, Error **errp);

/*
 * Third: the session is READY, the server's commands are served, and its death
 * is told of, also one that has come before.  Main thread with the BQL held.
 */
void vfio_user_session_start(VFIOUserSession *session);

/*
 * Give the session up: kill it if it lives, and free it when the last thread
 * has left the calls it may be in, which return at once.  Main thread with
 * the BQL held; may be NULL.  No dead notification comes after the return.
 * No new call may be begun once this has been called.
 */
void vfio_user_session_close(VFIOUserSession *session);

/* What the server announced; constant for the session's life. */
const VFIOUserCaps *vfio_user_session_caps(VFIOUserSession *session);

/*
 * How many requests a thread may have sent whose reply it has not waited for,
 * when it sends another one or does anything else with the session.  In a
 * serial session that is none: the result is 1 then, as each request has to be
 * waited for at once and in the same thread, and others wait for their turn.
 */
unsigned int vfio_user_session_window(VFIOUserSession *session);

/* Whether the session has died.  Any thread. */
bool vfio_user_session_is_dead(VFIOUserSession *session);

/*
 * Why the session died, or NULL while it lives.  Owned by the session and
 * constant.  Any thread.
 */
const Error *vfio_user_session_reason(VFIOUserSession *session);

/*
 * Let the session die for @reason, which the call takes over, and which gets
 * the session's name put in front.  All calls under way return -ENOTCONN.
 * Without effect on a session that is dead already.  Any thread.
 */
void vfio_user_session_kill(VFIOUserSession *session, Error *reason);

/*
 * A request and what becomes of it.  Zero it, fill in the first two parts and
 * leave the private one alone.  Everything it points to is borrowed until the
 * call has ended.
 */
typedef struct VFIOUserCall {
    /* The request; the payload is head, then data */
    uint16_t command;
    VFIOUserDeadline deadline;
    const void *head;
    size_t head_size;
    const void *data;
    size_t data_size;
    const int *fds;                 /* at most VFIO_USER_CHANNEL_MAX_FDS */
    size_t num_fds;

    /* What reply to accept; more than that is a protocol error */
    size_t max_reply;               /* bytes of payload */
    size_t max_reply_fds;

    /*
     * Optional: memory from g_malloc() for a reply of up to @spare_size bytes,
     * header included. NULL afterwards if it became the reply's, else still
     * the caller's.
     */
    void *spare;
    size_t spare_size;

    /* The reply, filled in on success; the caller frees it */
    VFIOUserMsg *reply;
    bool remote_error;              /* the call failed by the server's word */

    /* Private to the session */
    uint16_t id;
    bool in_flight;
    bool done;
    bool timed_out;
    int remote_errno;
    int64_t timeout_us;
    int64_t deadline_us;
    QTAILQ_ENTRY(VFIOUserCall) next;
} VFIOUserCall;

/* The payload of @call's reply, behind the header; @call has succeeded. */
static inline const uint8_t *vfio_user_call_payload(const VFIOUserCall *call)
{
    return call->reply->data + sizeof(VFIOUserHeader);
}

/* The payload's size in bytes. */
static inline size_t vfio_user_call_payload_size(const VFIOUserCall *call)
{
    return call->reply->size - sizeof(VFIOUserHeader);
}

/*
 * Send @call's request and wait for the reply.  Any thread, with or without
 * the BQL, but not from the session's callbacks.
 *
 * Returns 0 with @call->reply filled in; its size and number of fds are
 * within what the call accepts, everything else in it is unchecked.
 * Returns -errno with @errp set and no reply otherwise:
 *   the server's errno, and @call->remote_error true, when it answered with
 *       an error; the connection goes on;
 *   -EINVAL     the request is larger than a message can be, has too many
 *               fds, or the table of requests is full (nothing was sent);
 *   -ETIMEDOUT  no reply within the deadline; the session is DEAD now;
 *   -EPROTO     the server broke the protocol meanwhile; DEAD;
 *   -ENOTCONN   the session was DEAD already (nothing was sent), or died
 *               of something else meanwhile.
 *
 * The deadline of a request counts from when it was sent, or from the last
 * reply to a request sent before it: a server that works its way through a
 * queue is given the time for each of its entries.  The session may take an
 * eighth longer to notice that it has passed.
 */
int vfio_user_session_call(VFIOUserSession *session, VFIOUserCall *call,
                           Error **errp);

/*
 * The first half of vfio_user_session_call(): send.  Requests reach the server
 * in the order in which one thread sends them.  Returns 0, when
 * vfio_user_session_wait() must follow in any thread; or an error as above,
 * when it must not.
 */
int vfio_user_session_send(VFIOUserSession *session, VFIOUserCall *call,
                           Error **errp);

/* The second half: wait for the reply to @call, which has been sent. */
int vfio_user_session_wait(VFIOUserSession *session, VFIOUserCall *call,
                           Error **errp);

/*
 * Send a request that the server does not answer, in order with the others;
 * the fields about the reply are not used.  Returns 0 when it has been sent,
 * which says nothing about what the server made of it, or an error as
 * vfio_user_session_send() does.  Not in a serial session.
 */
int vfio_user_session_post(VFIOUserSession *session, VFIOUserCall *call,
                           Error **errp);

#endif /* HW_VFIO_USER_SESSION_H */
