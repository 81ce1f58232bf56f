/*
 * Unit tests of the vfio-user session: that everybody is told of its death, at
 * once and only once, and deadlines.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "session-peer.h"

static VFIOUserCall make_read(void)
{
    VFIOUserCall call = { .command = 9, .max_reply = 20 };

    return call;
}

/* One death, all are told */

typedef struct Death {
    bool told;
    int times;
    char *reason;
    VFIOUserSession **close;    /* from within the notification */
} Death;

static void on_death(void *opaque, const Error *reason)
{
    Death *death = opaque;

    death->times++;
    death->reason = g_strdup(error_get_pretty(reason));
    if (death->close) {
        vfio_user_session_close(g_steal_pointer(death->close));
    }
    qatomic_set(&death->told, true);
}

static void script_idle_end(Peer *peer)
{
    peer_version(peer);
    wait_for(&peer->to_peer);
}

/* Nobody waits for anything: the main loop sees it. */
static void test_faults_death_idle(gconstpointer with_close)
{
    Death death = { 0 };
    Peer peer = {
        .script = script_idle_end, .dead = on_death, .opaque = &death,
    };
    VFIOUserSession *session = peer_open(&peer);
    Error *again = NULL;

    if (GPOINTER_TO_INT(with_close)) {
        death.close = &peer.session;
    }
    qemu_sem_post(&peer.to_peer);
    main_loop_until(&death.told);
    if (!death.close) {
        error_setg(&again, "again");
        vfio_user_session_kill(session, again);
    }
    while (g_main_context_iteration(NULL, false)) {
        continue;
    }
    g_assert_cmpint(death.times, ==, 1);
    g_assert_true(g_str_has_suffix(death.reason,
                                   "socket: server closed the connection"));
    g_free(death.reason);
    peer_stop(&peer);
}

static void script_idle_reply(Peer *peer)
{
    peer_version(peer);
    wait_for(&peer->to_peer);
    peer_send(peer, 0x77, 9, PEER_REPLY, 0, "unasked", 7);
    peer_expect_end(peer);
}

static void test_faults_unsolicited(void)
{
    Death death = { 0 };
    Peer peer = {
        .script = script_idle_reply, .dead = on_death, .opaque = &death,
    };

    peer_open(&peer);
    qemu_sem_post(&peer.to_peer);
    main_loop_until(&death.told);
    g_assert_true(g_str_has_suffix(death.reason,
                                   "REGION_READ: reply to no request "
                                   "(id 0x77)"));
    g_free(death.reason);
    peer_stop(&peer);
}

/* Closed first: the notification does not come any more. */
static void test_faults_closed_untold(void)
{
    Death death = { 0 };
    Peer peer = {
        .script = script_idle_end, .dead = on_death, .opaque = &death,
    };
    VFIOUserSession *session = peer_open(&peer);
    Error *reason = NULL;

    error_setg(&reason, "changed my mind");
    vfio_user_session_kill(session, reason);
    expect_text(&peer, vfio_user_session_reason(session), "changed my mind");
    qemu_sem_post(&peer.to_peer);
    peer_stop(&peer);
    g_assert_cmpint(death.times, ==, 0);
}

#define NUM_WAITERS 8

typedef struct Waiter {
    Peer *peer;
    VFIOUserSession *session;
    const char *text;
    QemuThread thread;
    QemuSemaphore done;
} Waiter;

static void *waiter_thread(void *opaque)
{
    Waiter *waiter = opaque;
    VFIOUserCall call = make_read();
    g_autoptr(Error) err = NULL;

    g_assert_cmpint(vfio_user_session_call(waiter->session, &call, &err), ==,
                    -ENOTCONN);
    expect_text(waiter->peer, err, waiter->text);
    qemu_sem_post(&waiter->done);
    return NULL;
}

static void script_waiters(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);
    bool end = peer->data;

    peer_version(peer);
    for (int i = 0; i < NUM_WAITERS; i++) {
        peer_expect(peer, 9, msg);
    }
    qemu_sem_post(&peer->to_test);
    if (!end) {
        peer_expect_end(peer);
    }
}

typedef enum { BY_SERVER, BY_KILL, BY_CLOSE } HowToDie;

/* The deadlines are far beyond the patience of those who look on. */
static void test_faults_death_waiters(gconstpointer opaque)
{
    static const char *const texts[] = {
        [BY_SERVER] = "REGION_READ: server closed the connection",
        [BY_KILL] = "killed",
        [BY_CLOSE] = "closed",
    };
    HowToDie how = GPOINTER_TO_INT(opaque);
    Peer peer = {
        .script = script_waiters, .data = how == BY_SERVER ? &texts : NULL,
    };
    VFIOUserSession *session = peer_open(&peer);
    Waiter waiters[NUM_WAITERS];
    Error *reason = NULL;

    for (int i = 0; i < NUM_WAITERS; i++) {
        waiters[i].peer = &peer;
        waiters[i].session = session;
        waiters[i].text = texts[how];
        qemu_sem_init(&waiters[i].done, 0);
        qemu_thread_create(&waiters[i].thread, "waiter", waiter_thread,
                           &waiters[i], QEMU_THREAD_JOINABLE);
    }
    wait_for(&peer.to_test);
    if (how == BY_KILL) {
        error_setg(&reason, "killed");
        vfio_user_session_kill(session, reason);
    } else if (how == BY_CLOSE) {
        vfio_user_session_close(g_steal_pointer(&peer.session));
    }
    for (int i = 0; i < NUM_WAITERS; i++) {
        wait_for(&waiters[i].done);
        qemu_sem_destroy(&waiters[i].done);
        qemu_thread_join(&waiters[i].thread);
    }
    peer_stop(&peer);
}

static void script_in_handler(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);

    peer_version(peer);
    peer_expect(peer, 9, msg);
    peer_send(peer, 0, 11, PEER_NO_REPLY, 0, NULL, 0);
    for (int i = 1; i < NUM_WAITERS; i++) {
        peer_expect(peer, 9, msg);
        qemu_sem_post(&peer->to_test);
    }
    peer_expect_end(peer);
}

static int slow_handler(void *opaque, const VFIOUserHeaderDesc *header,
                        VFIOUserMsg *msg, GByteArray *reply)
{
    Peer *peer = opaque;

    qemu_sem_post(&peer->to_test);
    wait_for(&peer->to_peer);
    return 0;
}

/* Who reads for the others is busy, and they are told all the same. */
static void test_faults_death_in_handler(void)
{
    Peer peer = { .script = script_in_handler, .request = slow_handler };
    VFIOUserSession *session;
    Waiter waiters[NUM_WAITERS];
    Error *reason = NULL;

    peer.opaque = &peer;
    session = peer_open(&peer);
    for (int i = 0; i < NUM_WAITERS; i++) {
        waiters[i].peer = &peer;
        waiters[i].session = session;
        waiters[i].text = "killed";
        qemu_sem_init(&waiters[i].done, 0);
        qemu_thread_create(&waiters[i].thread, "waiter", waiter_thread,
                           &waiters[i], QEMU_THREAD_JOINABLE);
        /* At first the handler that runs, then the script */
        wait_for(&peer.to_test);
    }
    error_setg(&reason, "killed");
    vfio_user_session_kill(session, reason);
    for (int i = 1; i < NUM_WAITERS; i++) {
        wait_for(&waiters[i].done);
    }
    qemu_sem_post(&peer.to_peer);
    wait_for(&waiters[0].done);
    for (int i = 0; i < NUM_WAITERS; i++) {
        qemu_thread_join(&waiters[i].thread);
        qemu_sem_destroy(&waiters[i].done);
    }
    peer_stop(&peer);
}

/* Deadlines */

static void script_stuck(Peer *peer)
{
    peer_version(peer);
    wait_for(&peer->to_peer);
}

/* A server that reads nothing: the send itself has a deadline. */
static void test_faults_send_timeout(void)
{
    Peer peer = { .script = script_stuck, .timeout_ms = 50 };
    VFIOUserSession *session = peer_open(&peer);
    g_autofree char *large = g_malloc0(4 * MiB);
    VFIOUserCall call = make_read();
    g_autoptr(Error) err = NULL;

    call.data = large;
    call.data_size = 4 * MiB;
    g_assert_cmpint(vfio_user_session_call(session, &call, &err), ==,
                    -ETIMEDOUT);
    expect_text(&peer, err, "REGION_READ: server took no more data for 50 ms");
    g_assert_true(vfio_user_session_is_dead(session));
    qemu_sem_post(&peer.to_peer);
    peer_stop(&peer);
}

static void script_lost_one(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);

    peer_version(peer);
    peer_expect(peer, 9, msg);
    peer_expect(peer, 10, msg);
    peer_reply(peer, msg, NULL, 0);
    peer_expect_end(peer);
}

/* Whom the deadline hits is told so; the other one's reply still counts. */
static void test_faults_timeout_one(void)
{
    Peer peer = { .script = script_lost_one, .timeout_ms = 1000 };
    VFIOUserSession *session = peer_open(&peer);
    VFIOUserCall lost = make_read();
    VFIOUserCall served = make_read();
    g_autoptr(Error) err = NULL;

    served.command = 10;
    vfio_user_session_send(session, &lost, &error_abort);
    vfio_user_session_send(session, &served, &error_abort);
    g_assert_cmpint(vfio_user_session_wait(session, &lost, &err), ==,
                    -ETIMEDOUT);
    expect_text(&peer, err, "REGION_READ: no reply within 1000 ms");
    g_assert_cmpint(vfio_user_session_wait(session, &served, &error_abort),
                    ==, 0);
    vfio_user_msg_free(served.reply);
    peer_stop(&peer);
}

#define QUEUED 12

static void script_slow(Peer *peer)
{
    g_autofree PeerMessage *msgs = g_new(PeerMessage, QUEUED);

    peer_version(peer);
    for (int i = 0; i < QUEUED; i++) {
        peer_expect(peer, 9, &msgs[i]);
    }
    for (int i = 0; i < QUEUED; i++) {
        /* What a server does for each of them takes most of the deadline. */
        g_usleep(200 * 1000);
        peer_reply(peer, &msgs[i], NULL, 0);
    }
    peer_expect_end(peer);
}

/* The clock of a request in a queue starts when its turn has come. */
static void test_faults_slow_queue(void)
{
    Peer peer = { .script = script_slow, .timeout_ms = 2000 };
    VFIOUserSession *session = peer_open(&peer);
    VFIOUserCall calls[QUEUED];

    for (int i = 0; i < QUEUED; i++) {
        calls[i] = make_read();
        vfio_user_session_send(session, &calls[i], &error_abort);
    }
    for (int i = QUEUED - 1; i >= 0; i--) {
        g_assert_cmpint(vfio_user_session_wait(session, &calls[i],
                                               &error_abort), ==, 0);
        vfio_user_msg_free(calls[i].reply);
    }
    peer_stop(&peer);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    module_call_init(MODULE_INIT_QOM);
    qemu_init_main_loop(&error_abort);
    g_test_init(&argc, &argv, NULL);

#define ADD(name, test) \
    g_test_add_func("/vfio-user/session/faults/" name, test)
#define ADD_DATA(name, data, test) \
    g_test_add_data_func("/vfio-user/session/faults/" name, \
                         GINT_TO_POINTER(data), test)
    ADD_DATA("death/idle", false, test_faults_death_idle);
    ADD_DATA("death/idle-close", true, test_faults_death_idle);
    ADD("death/unsolicited", test_faults_unsolicited);
    ADD("death/closed-untold", test_faults_closed_untold);
    ADD_DATA("death/waiters", BY_SERVER, test_faults_death_waiters);
    ADD_DATA("death/waiters-kill", BY_KILL, test_faults_death_waiters);
    ADD_DATA("death/waiters-close", BY_CLOSE, test_faults_death_waiters);
    ADD("death/in-handler", test_faults_death_in_handler);
    ADD("deadline/send", test_faults_send_timeout);
    ADD("deadline/one", test_faults_timeout_one);
    ADD("deadline/slow-queue", test_faults_slow_queue);
    return g_test_run();
}
