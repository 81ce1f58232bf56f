/*
 * The server's side of the session's stress test.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "hw/vfio-user/device.h"
#include "stress-server.h"

#define RW_SIZE         16          /* offset, region and count */
#define DMA_SIZE        512
#define ASKED_MOST      8           /* commands under way */
#define ASKED_IDLE      40          /* with only the main loop to hear them */
#define DIE_AFTER       2000        /* requests */

/* What the server asks for, over and over, by the number of the command */
enum { PUT, GET, PUT_WHERE_IT_COMES, GET_WHERE_IT_COMES, NUM_KINDS };

typedef struct Server {
    Peer *peer;
    Stress *stress;
    PeerMessage *msg;
    uint8_t regs[STRESS_VCPUS * STRESS_BLOCK];
    unsigned int requests;

    /* From DIE_AFTER on: where what is not answered begins, and who waits */
    bool begun[STRESS_THREADS];
    uint64_t first[STRESS_THREADS];
    bool waiting[STRESS_THREADS];

    /* A reply that another one overtakes */
    bool has_held;
    uint16_t held_id;
    uint16_t held_command;
    uint8_t held[RW_SIZE + STRESS_REGISTER];
    size_t held_size;
} Server;

typedef struct Asker {
    Peer peer;                      /* with only the fd */
    unsigned int sent;
    unsigned int answered;
    bool stop;                      /* atomic: for the thread on the twin */
    QemuThread thread;
} Asker;

uint8_t stress_data[STRESS_DATA_SIZE];

/*
 * DMA by message
 */

static const uint8_t *asked_data(unsigned int number)
{
    return stress_data + number / NUM_KINDS % 1024 * DMA_SIZE;
}

static void ask(Asker *asker)
{
    unsigned int number = asker->sent++;
    unsigned int kind = number % NUM_KINDS;
    bool put = kind == PUT || kind == PUT_WHERE_IT_COMES;
    uint64_t page = kind < PUT_WHERE_IT_COMES ? STRESS_STAYS : STRESS_COMES;
    uint8_t payload[RW_SIZE + DMA_SIZE];

    stq_le_p(payload, page + number / NUM_KINDS % ASKED_MOST * DMA_SIZE);
    stq_le_p(payload + 8, DMA_SIZE);
    memcpy(payload + RW_SIZE, asked_data(number), DMA_SIZE);
    peer_send(&asker->peer, number, put ? 12 : 11, 0, 0, payload,
              put ? sizeof(payload) : RW_SIZE);
}

static void check_answer(Asker *asker, const PeerMessage *msg)
{
    unsigned int number = asker->answered++;
    unsigned int kind = number % NUM_KINDS;

    g_assert_cmpuint(msg->id, ==, number % 65536);
    if (msg->flags == (PEER_REPLY | PEER_ERROR)) {
        g_assert_cmpuint(kind, >=, PUT_WHERE_IT_COMES);
        g_assert_cmpuint(msg->error, ==, EFAULT);
        return;
    }
    g_assert_cmpuint(msg->flags, ==, PEER_REPLY);
    g_assert_cmpuint(ldq_le_p(msg->payload + 8), ==, DMA_SIZE);
    if (kind == GET) {
        g_assert_cmpmem(msg->payload + RW_SIZE, msg->size - RW_SIZE,
                        asked_data(number), DMA_SIZE);
    }
}

static void recv_answer(Asker *asker, PeerMessage *msg)
{
    peer_recv(&asker->peer, msg);
    check_answer(asker, msg);
}

static void recv_answers(Asker *asker, PeerMessage *msg)
{
    while (asker->answered < asker->sent) {
        recv_answer(asker, msg);
    }
}

static void *asker_thread(void *opaque)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);
    Asker *asker = opaque;

    while (!qatomic_read(&asker->stop)) {
        while (asker->sent - asker->answered < ASKED_MOST) {
            ask(asker);
        }
        recv_answer(asker, msg);
    }
    recv_answers(asker, msg);
    return NULL;
}

/*
 * Requests
 */

static void reply_held(Server *server)
{
    if (server->has_held) {
        server->has_held = false;
        peer_send(server->peer, server->held_id, server->held_command,
                  PEER_REPLY, 0, server->held, server->held_size);
    }
}

static bool more_comes(Server *server)
{
    GPollFD input = { .fd = server->peer->fd, .events = G_IO_IN };

    return g_poll(&input, 1, 0) > 0;
}

/* Every other time behind what there is to do next, if there is */
static void reply_register(Server *server, const uint8_t *payload, size_t size)
{
    if (!server->has_held && more_comes(server)) {
        server->has_held = true;
        server->held_id = server->msg->id;
        server->held_command = server->msg->command;
        memcpy(server->held, payload, size);
        server->held_size = size;
        return;
    }
    peer_reply(server->peer, server->msg, payload, size);
}

static void serve_register(Server *server, uint64_t offset, uint32_t count)
{
    PeerMessage *msg = server->msg;
    uint8_t reply[RW_SIZE + STRESS_REGISTER];

    g_assert_cmpuint(count, ==, STRESS_REGISTER);
    g_assert_cmpuint(offset, <=, sizeof(server->regs) - count);
    memcpy(reply, msg->payload, RW_SIZE);
    if (msg->command == 9) {
        memcpy(reply + RW_SIZE, server->regs + offset, count);
        reply_register(server, reply, sizeof(reply));
        return;
    }
    memcpy(server->regs + offset, msg->payload + RW_SIZE, count);
    if (!(msg->flags & PEER_NO_REPLY)) {
        reply_register(server, reply, RW_SIZE);
    }
}

static void serve_data(Server *server, uint64_t offset, uint32_t count)
{
    PeerMessage *msg = server->msg;

    g_assert_cmpuint(offset, <=, STRESS_DATA_SIZE - count);
    if (msg->command == 9) {
        memcpy(msg->payload + RW_SIZE, stress_data + offset, count);
        peer_reply(server->peer, msg, msg->payload, RW_SIZE + count);
    } else {
        g_assert_cmpmem(msg->payload + RW_SIZE, msg->size - RW_SIZE,
                        stress_data + offset, count);
        peer_reply(server->peer, msg, msg->payload, RW_SIZE);
    }
}

/*
 * Whether the client, after piece @number of its data, sends no more until a
 * reply comes to piece @first or a later one.  Reads are sent one for one.
 * Writes are sent in rows: one of as many as may be under way, and then always
 * one of so many that they are that many again.
 */
static bool waits_after(bool read, uint64_t first, uint64_t number)
{
    uint64_t most = read ? VFIO_USER_DATA_READS : VFIO_USER_DATA_WRITES;
    uint64_t row = read ? 1 : most + 1 - VFIO_USER_DATA_WRITES_LOW(most);

    return number + 1 >= most && (number + 1 - most) % row == 0 &&
           number + 1 + row >= first + 1 + most;
}

/*
 * Note who waits for a reply that will not come, having sent all that may be
 * under way; true: all do.
 */
static bool all_wait(Server *server, uint32_t region, uint64_t offset,
                     uint32_t count)
{
    bool read = server->msg->command == 9;
    unsigned int number = !region ? offset / STRESS_BLOCK :
                          read ? STRESS_READER : STRESS_WRITER;

    if (server->msg->flags & PEER_NO_REPLY) {
        return false;
    }
    if (!server->begun[number]) {
        server->begun[number] = true;
        server->first[number] = offset;
    }
    server->waiting[number] |=
        !region || offset + count == STRESS_DATA_SIZE ||
        waits_after(read, server->first[number] / count, offset / count);
    for (int i = 0; i < STRESS_THREADS; i++) {
        if (!server->waiting[i]) {
            return false;
        }
    }
    return true;
}

/* Whether to go on; else it is time to die. */
static bool serve(Server *server)
{
    PeerMessage *msg = server->msg;
    uint64_t offset = ldq_le_p(msg->payload);
    uint32_t region = ldl_le_p(msg->payload + 8);
    uint32_t count = ldl_le_p(msg->payload + 12);

    g_assert_true(msg->command == 9 || msg->command == 10);
    if (server->requests++ >= DIE_AFTER &&
        server->stress->how->end != STRESS_ENDS_WELL) {
        return !all_wait(server, region, offset, count);
    }
    if (region) {
        serve_data(server, offset, count);
    } else {
        serve_register(server, offset, count);
    }
    return true;
}

/* Until the reset, or false: until all wait */
static bool serve_all(Server *server, Asker *asker)
{
    PeerMessage *msg = server->msg;
    bool more = true;

    while (more) {
        bool held = server->has_held;

        peer_recv(server->peer, msg);
        if (msg->flags & PEER_REPLY) {
            check_answer(asker, msg);
        } else if (msg->command == 13) {
            break;
        } else {
            more = serve(server);
        }
        if (held) {
            reply_held(server);
        }
        if (!server->stress->how->twin &&
            asker->sent - asker->answered < ASKED_MOST) {
            ask(asker);
        }
    }
    return more;
}

/*
 * The end
 */

static void end_well(Server *server, Asker *asker)
{
    uint16_t id = server->msg->id;

    recv_answers(asker, server->msg);
    peer_send(server->peer, id, 13, PEER_REPLY, 0, NULL, 0);
    for (int i = 0; i < ASKED_IDLE; i++) {
        ask(asker);
        recv_answer(asker, server->msg);
    }
    set_done(&server->stress->done);
    peer_expect_end(server->peer);
}

/* Answers may still come, requests must not: who made them has to wait. */
static void expect_no_request(Server *server)
{
    uint8_t byte;

    while (recv(server->peer->fd, &byte, 1, MSG_PEEK) > 0) {
        peer_recv(server->peer, server->msg);
        g_assert_cmpuint(server->msg->flags & PEER_REPLY, ==, PEER_REPLY);
    }
}

static void end_badly(Server *server)
{
    if (server->stress->how->end == STRESS_CLOSES) {
        shutdown(server->peer->fd, SHUT_RDWR);
        return;
    }
    peer_send(server->peer, 0, 99, PEER_REPLY, 0, NULL, 0);
    expect_no_request(server);
}

static int offer_twin(Peer *peer)
{
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
                    ==, 0);
    peer_version_fds(peer, "{\"capabilities\": {\"twin_socket\": "
                     "{\"supported\": true, \"fd_index\": 0}}}", &pair[1], 1);
    close(pair[1]);
    return pair[0];
}

void script_stress(Peer *peer)
{
    g_autofree PeerMessage *msg = g_new(PeerMessage, 1);
    Stress *stress = (Stress *)peer->data;
    Server server = { .peer = peer, .stress = stress, .msg = msg };
    Asker asker = { .sent = 0 };
    bool well;

    if (stress->how->twin) {
        asker.peer.fd = offer_twin(peer);
        qemu_thread_create(&asker.thread, "asker", asker_thread, &asker,
                           QEMU_THREAD_JOINABLE);
    } else {
        asker.peer.fd = peer->fd;
        peer_version(peer);
    }
    well = serve_all(&server, &asker);
    if (stress->how->twin) {
        qatomic_set(&asker.stop, true);
        qemu_thread_join(&asker.thread);
    }
    if (well) {
        end_well(&server, &asker);
    } else {
        /* so that somebody serves these at the moment of death */
        for (int i = 0; i < ASKED_MOST; i++) {
            ask(&asker);
        }
        end_badly(&server);
    }
    if (stress->how->twin) {
        close(asker.peer.fd);
    }
}
