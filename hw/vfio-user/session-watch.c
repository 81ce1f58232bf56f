/*
 * vfio-user session: the main loop's part, reading the socket when nobody else
 * does, and telling of the death.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib-unix.h>
#include <sys/epoll.h>
#include "qemu/main-loop.h"
#include "session-internal.h"
#include "trace.h"

/*
 * The main loop, when nobody else reads.  Main thread with the BQL held.
 *
 * A reply wakes the thread that waits for it and the main loop alike.  To
 * spare the guest that, the main loop looks away when it was woken for the
 * sake of another reader, until calls have ceased for PAUSE_MS.  Input that
 * nobody waits for has to wait that long then; so a server that has once asked
 * for something on its own account is watched without a pause.
 */

#define PAUSE_MS 2

bool vfio_user_session_watch_init(VFIOUserSession *session, Error **errp)
{
    int fd = vfio_user_channel_fd(session->channel);
    struct epoll_event event = { .events = EPOLLIN | EPOLLET };
    int ret = event_notifier_init(&session->kick, false);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "%s: no eventfd", session->name);
        return false;
    }
    session->watch_epoll = epoll_create1(EPOLL_CLOEXEC);
    if (session->watch_epoll < 0 ||
        epoll_ctl(session->watch_epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
        error_setg_errno(errp, errno, "%s: no epoll", session->name);
        return false;
    }
    return true;
}

/* No replies come there, so there is never a reason to look away. */
bool vfio_user_session_watch_twin(VFIOUserSession *session, Error **errp)
{
    int fd = vfio_user_channel_fd(session->twin);
    struct epoll_event event = { .events = EPOLLIN | EPOLLET };

    if (epoll_ctl(session->watch_epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
        error_setg_errno(errp, errno, "no epoll");
        return false;
    }
    return true;
}

static void set_watch(VFIOUserSession *session, uint32_t events)
{
    struct epoll_event event = { .events = events | EPOLLET };

    /* Although edge triggered, this tells of input that is there already. */
    epoll_ctl(session->watch_epoll, EPOLL_CTL_MOD,
              vfio_user_channel_fd(session->channel), &event);
}

static void source_destroyed(gpointer opaque)
{
    vfio_user_session_unref(opaque);
}

static void source_start(VFIOUserSession *session, GSource *source,
                         GSourceFunc func)
{
    vfio_user_session_ref(session);
    g_source_set_callback(source, func, session, source_destroyed);
    g_source_attach(source, NULL);
}

static void source_stop(GSource **source)
{
    if (*source) {
        g_source_destroy(*source);
        g_source_unref(*source);
        *source = NULL;
    }
}

static gboolean pause_over(gpointer opaque)
{
    VFIOUserSession *session = opaque;
    unsigned int reads;

    qemu_mutex_lock(&session->lock);
    reads = session->reads;
    qemu_mutex_unlock(&session->lock);

    if (reads != session->paused_reads) {
        session->paused_reads = reads;
        return G_SOURCE_CONTINUE;
    }
    source_stop(&session->pause);
    set_watch(session, EPOLLIN);
    return G_SOURCE_REMOVE;
}

static void pause_begin(VFIOUserSession *session, unsigned int reads)
{
    if (session->eager || session->pause) {
        return;
    }
    set_watch(session, 0);
    session->paused_reads = reads;
    session->pause = g_timeout_source_new(PAUSE_MS);
    source_start(session, session->pause, pause_over);
}

/* As the reader, for nobody's reply */
static void watch_read_now(VFIOUserSession *session)
{
    unsigned int commands = session->commands;

    vfio_user_session_read(session, false, 0);
    if (session->commands != commands && !session->eager) {
        session->eager = true;
        source_stop(&session->pause);
        set_watch(session, EPOLLIN);
    }
}

static void watch_read(VFIOUserSession *session)
{
    unsigned int reads;
    bool reader;

    vfio_user_session_ref(session);
    qemu_mutex_lock(&session->lock);
    reads = session->reads;
    reader = vfio_user_session_reader_begin(session);
    if (reader) {
        qemu_mutex_unlock(&session->lock);
        watch_read_now(session);
        qemu_mutex_lock(&session->lock);
        vfio_user_session_reader_end(session, false);
    } else {
        session->poked = true;
    }
    qemu_mutex_unlock(&session->lock);

    if (!reader) {
        pause_begin(session, reads);
    }
    vfio_user_session_unref(session);
}

static void watch_bh(void *opaque)
{
    watch_read(opaque);
}

static gboolean watch_event(gint fd, GIOCondition condition, gpointer opaque)
{
    VFIOUserSession *session = opaque;
    struct epoll_event events[2];

    /* Edge triggered: fetching the events is what makes fd unreadable. */
    epoll_wait(fd, events, ARRAY_SIZE(events), 0);
    if (vfio_user_session_is_dead(session)) {
        return G_SOURCE_REMOVE;
    }
    watch_read(session);
    return G_SOURCE_CONTINUE;
}

static void dead_bh(void *opaque)
{
    VFIOUserSession *session = opaque;

    vfio_user_session_ref(session);
    if (session->dead) {
        session->dead(session->opaque, session->reason);
    }
    vfio_user_session_unref(session);
}

void vfio_user_session_start(VFIOUserSession *session)
{
    AioContext *ctx = qemu_get_aio_context();

    session->watch = g_unix_fd_source_new(session->watch_epoll, G_IO_IN);
    source_start(session, session->watch, (GSourceFunc)watch_event);

    qemu_mutex_lock(&session->lock);
    session->watch_bh = aio_bh_new(ctx, watch_bh, session);
    session->dead_bh = aio_bh_new(ctx, dead_bh, session);
    qemu_bh_schedule(session->watch_bh);
    if (session->state == SESSION_DEAD) {
        qemu_bh_schedule(session->dead_bh);
    } else {
        trace_vfio_user_session_state(session->name, "ready", "");
        qatomic_set(&session->state, SESSION_READY);
    }
    qemu_mutex_unlock(&session->lock);
}

void vfio_user_session_watch_stop(VFIOUserSession *session)
{
    if (session->watch) {
        source_stop(&session->watch);
        source_stop(&session->pause);
        qemu_bh_delete(session->watch_bh);
        qemu_bh_delete(session->dead_bh);
    }
}
