/*
 * What the files of the vfio-user session share: the session itself, dying,
 * and reading the socket.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_USER_SESSION_INTERNAL_H
#define HW_VFIO_USER_SESSION_INTERNAL_H

#include "block/aio.h"
#include "qemu/event_notifier.h"
#include "qemu/thread.h"
#include "hw/vfio-user/session.h"

typedef enum SessionState {
    SESSION_CONNECTING,
    SESSION_READY,
    SESSION_DEAD,
} SessionState;

/* Our answer to a command of the server */
typedef struct SessionAnswer {
    VFIOUserHeader header;
    const char *command;
    GByteArray *payload;
    QSIMPLEQ_ENTRY(SessionAnswer) next;
} SessionAnswer;

/*
 * Lock order: turn, send_lock, twin_lock, lock.  None of the last three is
 * held while the owner's callbacks run, but for the one or two of the first of
 * them that a thread whose send is blocked holds, when it reads meanwhile.
 *
 * The reader is the one thread, if any, that set reading; it alone receives
 * from the channel and the twin, if there is one: the server may wait for an
 * answer there before it replies here.  Whoever waits for a reply, for room in
 * the socket, or is the main loop takes that role when it is free, and gives
 * it back with vfio_user_session_reader_end().
 */
struct VFIOUserSession {
    /* Constant once connect has returned */
    char *name;
    uint32_t timeout_ms[VFIO_USER_DEADLINE__MAX];
    VFIOUserDeadNotify *dead;
    void *opaque;
    VFIOUserRequestHandler *request;
    void *request_opaque;
    GDestroyNotify request_release;
    bool serial;
    VFIOUserChannel *channel;
    VFIOUserChannel *twin;      /* for the server's commands, or NULL */
    VFIOUserCaps ours;
    VFIOUserCaps caps;
    EventNotifier kick;         /* wakes a blocked sender to read */
    QEMUBH *watch_bh;
    QEMUBH *dead_bh;

    /* Belongs to the main thread */
    int watch_epoll;            /* the main loop's view of the socket */
    GSource *watch;
    GSource *pause;             /* ends a pause of the watch, or NULL */
    unsigned int paused_reads;  /* reads when the pause began */
    bool eager;                 /* the server has asked on its own: no pause */

    int refs;                   /* atomic: the owner's and one per call */

    /* Held from before a request is sent till its reply is there, if serial */
    QemuMutex turn;

    /* Guards sending to the channel, hence the order on the wire. */
    QemuMutex send_lock;

    /* The same for the twin: answers, whatever has to wait on the channel */
    QemuMutex twin_lock;

    /* Guards all that follows up to the reader's, and every VFIOUserCall. */
    QemuMutex lock;
    QemuCond changed;           /* a reply, the role of reader, death */
    SessionState state;         /* written with lock, atomic to read */
    bool closed;
    Error *reason;              /* constant once DEAD */
    int death;                  /* errno for the calls under way then */
    QTAILQ_HEAD(, VFIOUserCall) calls;  /* in flight, in order of sending */
    unsigned int num_calls;
    uint16_t next_id;
    bool reading;
    unsigned int reads;         /* how often somebody became the reader */
    bool poked;                 /* the main loop saw input, and a reader */
    unsigned int send_blocked;  /* threads that wait for room */
    unsigned int followers;     /* threads that wait for changed */
    QSIMPLEQ_HEAD(, SessionAnswer) answers;
    unsigned int num_answers;   /* written with lock, atomic to read */

    /* Belongs to the reader */
    bool backlog;               /* a channel may hold back messages */
    VFIOUserCall *leading;      /* whose reply it waits for, if any */
    unsigned int commands;      /* how many the server has sent */
    uint16_t blame;             /* command of the message under way, or 0 */
};

/* The call in flight with this id, or NULL.  lock held. */
VFIOUserCall *vfio_user_session_find_call(VFIOUserSession *session,
                                          uint16_t id);

/* Take and drop a reference; the last one frees the session.  Any thread. */
void vfio_user_session_ref(VFIOUserSession *session);
void vfio_user_session_unref(VFIOUserSession *session);

/*
 * A CONNECTING session on @socket with one reference, or NULL with @errp set
 * (prefixed).
 */
VFIOUserSession *vfio_user_session_new(const VFIOUserSessionConfig *config,
                                       QIOChannelSocket *socket,
                                       Error **errp);

/*
 * Become DEAD for @reason, which is taken over and is given the session's
 * name and, unless @command is NULL, that as prefixes.  Calls in flight end
 * with -@death.  Returns whether this was what it died of.  No lock held but
 * perhaps send_lock and twin_lock.
 */
bool vfio_user_session_die(VFIOUserSession *session, int death,
                           const char *command, Error *reason);

/*
 * Send the answers that are queued, unless somebody else is sending, who
 * will.  Call after having queued one and after having sent.  @reader is
 * whether this thread is the reader, which reads on while the socket is full.
 * No lock held.
 */
void vfio_user_session_flush(VFIOUserSession *session, bool reader);

/*
 * Make what readers and the main loop wait with; false with @errp set
 * (prefixed) when there are no fds left.  The session's end undoes it, also
 * in part.
 */
bool vfio_user_session_watch_init(VFIOUserSession *session, Error **errp);

/* The same for the twin, which is there now. */
bool vfio_user_session_watch_twin(VFIOUserSession *session, Error **errp);

/*
 * As the reader: handle what has arrived.  If nothing has, wait for it for
 * about @timeout_us; 0 never waits.
 * @answering is whether this thread is sending where answers go, which wait
 * until it has; no lock is held but those of sending.
 * Returns 0 when nothing is left, 1 when something may be (backlog is set),
 * -1 when the session is DEAD.
 */
int vfio_user_session_read(VFIOUserSession *session, bool answering,
                           int64_t timeout_us);

/*
 * As the reader: read until @call is done, the session dead, or the call's
 * deadline past, when the session dies of it and @call->timed_out is set.  No
 * lock held.
 */
void vfio_user_session_lead(VFIOUserSession *session, VFIOUserCall *call);

/* Become the reader if there is none; whether it worked.  lock held. */
bool vfio_user_session_reader_begin(VFIOUserSession *session);

/*
 * Stop being the reader, and see to it that somebody else can be.  lock held,
 * dropped meanwhile; @answering as above.
 */
void vfio_user_session_reader_end(VFIOUserSession *session, bool answering);

/* Undo vfio_user_session_start(), if it was called.  Main thread. */
void vfio_user_session_watch_stop(VFIOUserSession *session);

/* The VFIOUserChannelAdmit of channel and twin; @opaque is the session. */
bool vfio_user_session_admit(void *opaque, const uint8_t *header,
                             size_t size, size_t *max_fds, Error **errp);
bool vfio_user_session_admit_twin(void *opaque, const uint8_t *header,
                                  size_t size, size_t *max_fds, Error **errp);

/* A message being sent, for vfio_user_session_wait_writable() */
typedef struct SessionSend {
    VFIOUserSession *session;
    VFIOUserChannel *channel;
    uint32_t timeout_ms;
    int64_t deadline_us;
    bool reader;                /* its thread is the reader already */
    bool blocked;               /* set when it had to wait */
} SessionSend;

/*
 * The session's VFIOUserChannelWait; @opaque is a SessionSend.  Reads as long
 * as nobody else does, lest the server wait for us just so.  The lock of the
 * send's channel held.
 */
int vfio_user_session_wait_writable(void *opaque, Error **errp);

/* Die because the deadline of @call has passed.  No lock held. */
void vfio_user_session_expire(VFIOUserSession *session, VFIOUserCall *call);

#endif /* HW_VFIO_USER_SESSION_INTERNAL_H */
