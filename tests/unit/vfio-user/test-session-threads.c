/*
 * Unit tests of the vfio-user session: many threads, one of which reads for
 * all, and both sockets full.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "session-peer.h"

#define NUM_THREADS     6
#define CALLS_EACH      1000

typedef struct Caller {
    Peer *peer;
    int *left;                  /* callers that have not finished */
    VFIOUserSession *session;
    uint32_t number;
    QemuThread thread;
    QemuSemaphore done;
} Caller;

/*
 * Echoes in bursts, last first, of as many as are sure to come, with a command
 * now and then.  With data, only one command follows when all is quiet.
 */
static void script_echo(Peer *peer)
{
    g_autofree PeerMessage *msgs = g_new(PeerMessage, 2);

    peer_version(peer);
    for (int i = 0; i < NUM_THREADS * CALLS_EACH / 2; i++) {
        peer_expect(peer, 9, &msgs[0]);
        peer_expect(peer, 9, &msgs[1]);
        peer_reply(peer, &msgs[1], msgs[1].payload, msgs[1].size);
        if (i % 7 == 0 && !peer->data) {
            peer_send(peer, i, 12, PEER_NO_REPLY, 0, NULL, 0);
        }
        peer_reply(peer, &msgs[0], msgs[0].payload, msgs[0].size);
    }
    if (peer->data) {
        wait_for(&peer->to_peer);
        peer_send(peer, 5, 11, 0, 0, NULL, 0);
        peer_expect_refusal(peer, 5, 11);
        set_done((bool *)peer->data);
    }
    peer_expect_end(peer);
}

static void *echo_thread(void *opaque)
{
    Caller *caller = opaque;

    for (uint32_t i = 0; i < CALLS_EACH / 2; i++) {
        uint32_t text[2][2] = {
            { caller->number, i }, { caller->number, ~i },
        };
        VFIOUserCall calls[2];

        for (int j = 0; j < 2; j++) {
            calls[j] = make_call(9, text[j], sizeof(text[j]));
            vfio_user_session_send(caller->session, &calls[j], &error_abort);
        }
        for (int j = 0; j < 2; j++) {
            vfio_user_session_wait(caller->session, &calls[j], &error_abort);
            g_assert_cmpmem(vfio_user_call_payload(&calls[j]),
                            vfio_user_call_payload_size(&calls[j]),
                            text[j], sizeof(text[j]));
            vfio_user_msg_free(calls[j].reply);
        }
    }
    if (qatomic_fetch_dec(caller->left) == 1) {
        qemu_sem_post(&caller->peer->to_peer);
    }
    return NULL;
}

static void start_callers(Caller *callers, Peer *peer, int *left,
                          void *(*thread)(void *))
{
    *left = NUM_THREADS;
    for (uint32_t i = 0; i < NUM_THREADS; i++) {
        callers[i].peer = peer;
        callers[i].left = left;
        callers[i].session = peer->session;
        callers[i].number = i;
        qemu_sem_init(&callers[i].done, 0);
        qemu_thread_create(&callers[i].thread, "caller", thread, &callers[i],
                           QEMU_THREAD_JOINABLE);
    }
}

static void join_callers(Caller *callers)
{
    for (int i = 0; i < NUM_THREADS; i++) {
        qemu_thread_join(&callers[i].thread);
        qemu_sem_destroy(&callers[i].done);
    }
}

/* Callers in many threads, while the main loop watches too or sleeps. */
static void test_session_threads(gconstpointer with_main_loop)
{
    bool done = false;
    Peer peer = { .script = script_echo };
    Caller callers[NUM_THREADS];
    int left;

    peer.data = with_main_loop ? &done : NULL;
    peer_open(&peer);
    start_callers(callers, &peer, &left, echo_thread);
    if (with_main_loop) {
        main_loop_until(&done);
    }
    join_callers(callers);
    peer_stop(&peer);
}

static void *one_call_thread(void *opaque)
{
    Caller *caller = opaque;
    VFIOUserCall call = make_call(9, "x", 1);

    vfio_user_session_call(caller->session, &call, &error_abort);
    expect_reply(&call, "x");
    qemu_sem_post(&caller->done);
    return NULL;
}

/*
 * All wait, one of them reading; each is answered when the one before it has
 * gone, so that every one of them has to take over the reading, or else is
 * handed its reply.
 */
static void script_one_by_one(Peer *peer)
{
    g_autofree PeerMessage *msgs = g_new(PeerMessage, NUM_THREADS);

    peer_version(peer);
    for (int i = 0; i < NUM_THREADS; i++) {
        peer_expect(peer, 9, &msgs[i]);
    }
    for (int i = 0; i < NUM_THREADS; i++) {
        qemu_sem_post(&peer->to_test);
        wait_for(&peer->to_peer);
        peer_reply(peer, &msgs[i], "x", 1);
    }
    peer_expect_end(peer);
}

static void test_session_hand_over(void)
{
    Peer peer = { .script = script_one_by_one };
    Caller callers[NUM_THREADS];
    int left;

    peer_open(&peer);
    start_callers(callers, &peer, &left, one_call_thread);
    for (int i = 0; i < NUM_THREADS; i++) {
        bool gone = false;

        wait_for(&peer.to_test);
        qemu_sem_post(&peer.to_peer);
        for (int waited = 0; !gone; waited++) {
            g_assert_cmpint(waited, <, PATIENCE_MS);
            for (int j = 0; j < NUM_THREADS && !gone; j++) {
                gone = qemu_sem_timedwait(&callers[j].done, 1) == 0;
            }
        }
    }
    join_callers(callers);
    peer_stop(&peer);
}

#define BEHIND_CALLS 1000

/* Each reply is followed by a command that comes when nobody waits, or not. */
static void script_behind(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);

    peer_version(peer);
    for (int i = 0; i < BEHIND_CALLS; i++) {
        peer_expect(peer, 9, msg);
        peer_reply(peer, msg, "x", 1);
        peer_send(peer, i, 11, 0, 0, NULL, 0);
        peer_expect_refusal(peer, i, 11);
        qemu_sem_post(&peer->to_test);
    }
    set_done((bool *)peer->data);
    peer_expect_end(peer);
}

static void *behind_thread(void *opaque)
{
    Peer *peer = opaque;

    for (int i = 0; i < BEHIND_CALLS; i++) {
        VFIOUserCall call = make_call(9, "x", 1);

        vfio_user_session_call(peer->session, &call, &error_abort);
        expect_reply(&call, "x");
        wait_for(&peer->to_test);
    }
    return NULL;
}

/* Nothing falls between the reader that leaves and the main loop. */
static void test_session_behind_reply(void)
{
    bool done = false;
    Peer peer = { .script = script_behind, .data = &done };
    QemuThread thread;

    peer_open(&peer);
    qemu_thread_create(&thread, "caller", behind_thread, &peer,
                       QEMU_THREAD_JOINABLE);
    main_loop_until(&done);
    qemu_thread_join(&thread);
    peer_stop(&peer);
}

#define FLOOD_CALLS 240
#define FLOOD_SIZE  30000

/* Does not read while it writes, nor write while it reads. */
static void script_flood(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);
    g_autofree char *large = g_malloc0(FLOOD_SIZE * 2);

    peer_version(peer);
    for (int i = 0; i < FLOOD_CALLS; i++) {
        peer_expect(peer, 9, msg);
        peer_reply(peer, msg, large, FLOOD_SIZE * 2);
    }
    peer_expect_end(peer);
}

static void flood(VFIOUserSession *session, int num_calls)
{
    g_autofree VFIOUserCall *calls = g_new0(VFIOUserCall, num_calls);
    g_autofree char *payload = g_malloc0(FLOOD_SIZE);

    for (int i = 0; i < num_calls; i++) {
        calls[i] = make_call(9, payload, FLOOD_SIZE);
        vfio_user_session_send(session, &calls[i], &error_abort);
    }
    for (int i = 0; i < num_calls; i++) {
        vfio_user_session_wait(session, &calls[i], &error_abort);
        vfio_user_msg_free(calls[i].reply);
    }
}

static void *flood_thread(void *opaque)
{
    Caller *caller = opaque;

    flood(caller->session, FLOOD_CALLS / NUM_THREADS);
    return NULL;
}

/* Both sockets full: whoever sends has to read meanwhile. */
static void test_session_send_blocked(void)
{
    Peer peer = { .script = script_flood };

    flood(peer_open(&peer), FLOOD_CALLS);
    peer_stop(&peer);
}

/* The same with readers that come and go while somebody else sends */
static void test_session_send_blocked_threads(void)
{
    Peer peer = { .script = script_flood };
    Caller callers[NUM_THREADS];
    int left;

    peer_open(&peer);
    start_callers(callers, &peer, &left, flood_thread);
    join_callers(callers);
    peer_stop(&peer);
}

#define ANSWERS     14
#define ANSWER_SIZE 60000

/* The same, when it is answers that fill the socket */
static void script_answers(Peer *peer)
{
    g_autofree PeerMessage *request = g_new(PeerMessage, 1);
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);
    g_autofree char *large = g_strnfill(ANSWER_SIZE, 'l');

    peer_version(peer);
    peer_expect(peer, 9, request);
    for (int i = 0; i < ANSWERS; i++) {
        peer_send(peer, i, 11, 0, 0, large, ANSWER_SIZE);
    }
    peer_reply(peer, request, "done", 4);
    for (int i = 0; i < ANSWERS; i++) {
        peer_expect(peer, 11, msg);
        g_assert_cmpuint(msg->id, ==, i);
        g_assert_cmpmem(msg->payload, msg->size, large, ANSWER_SIZE);
    }
    set_done((bool *)peer->data);
    peer_expect_end(peer);
}

static int echo_request(void *opaque, const VFIOUserHeaderDesc *header,
                        VFIOUserMsg *msg, GByteArray *reply)
{
    g_byte_array_append(reply, msg->data + PEER_HEADER_SIZE, header->size);
    return 0;
}

/* A server that does not read while it writes: the reader has to go on. */
static void test_session_answer_blocked(void)
{
    bool done = false;
    Peer peer = {
        .script = script_answers, .request = echo_request, .data = &done,
    };
    VFIOUserSession *session = peer_open(&peer);
    VFIOUserCall call = make_call(9, NULL, 0);

    vfio_user_session_call(session, &call, &error_abort);
    expect_reply(&call, "done");
    main_loop_until(&done);
    peer_stop(&peer);
}

/* Each request comes when the one before it has been answered. */
static void script_serial(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);
    int i;

    peer_version(peer);
    for (i = 0; i < NUM_THREADS * 10; i++) {
        GPollFD input = { .fd = peer->fd, .events = G_IO_IN };

        peer_expect(peer, 9, msg);
        g_assert_cmpint(g_poll(&input, 1, 2), ==, 0);
        peer_reply(peer, msg, msg->payload, msg->size);
    }
    peer_expect_end(peer);
}

static void *serial_thread(void *opaque)
{
    Caller *caller = opaque;
    int i;

    for (i = 0; i < 10; i++) {
        VFIOUserCall call = make_call(9, "turn", 4);

        vfio_user_session_call(caller->session, &call, &error_abort);
        expect_reply(&call, "turn");
    }
    qemu_sem_post(&caller->done);
    return NULL;
}

static void test_session_serial(void)
{
    Peer peer = { .script = script_serial, .serial = true };
    Caller callers[NUM_THREADS];
    int left;

    peer_open(&peer);
    g_assert_cmpuint(vfio_user_session_window(peer.session), ==, 1);
    start_callers(callers, &peer, &left, serial_thread);
    join_callers(callers);
    peer_stop(&peer);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    module_call_init(MODULE_INIT_QOM);
    qemu_init_main_loop(&error_abort);
    g_test_init(&argc, &argv, NULL);

    g_test_add_data_func("/vfio-user/session/threads",
                         GINT_TO_POINTER(false), test_session_threads);
    g_test_add_data_func("/vfio-user/session/threads/main-loop",
                         GINT_TO_POINTER(true), test_session_threads);
    g_test_add_func("/vfio-user/session/hand-over", test_session_hand_over);
    g_test_add_func("/vfio-user/session/behind-reply",
                    test_session_behind_reply);
    g_test_add_func("/vfio-user/session/send-blocked",
                    test_session_send_blocked);
    g_test_add_func("/vfio-user/session/send-blocked/threads",
                    test_session_send_blocked_threads);
    g_test_add_func("/vfio-user/session/answer-blocked",
                    test_session_answer_blocked);
    g_test_add_func("/vfio-user/session/serial", test_session_serial);
    return g_test_run();
}
