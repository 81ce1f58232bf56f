/*
 * Fuzz target: a session over a socket, with a server that sends what the
 * input says (whole messages, or bytes at will, with fds, on one or on two
 * sockets) while requests of all kinds are under way.  One thread: what is not
 * there when it is waited for does not come, so time passes at once then.
 *
 * An input is a VERSION reply, then steps; see LLVMFuzzerTestOneInput().
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "fuzz.h"
#include <sys/ioctl.h>
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "hw/vfio-user/incoming.h"
#include "tests/unit/vfio-user/guest-ram.h"

#define MAX_CALLS 16
#define MAX_PIECE 300
#define DEADLINE_MS 1000
#define RAM_BASE 0x10000
#define TWIN_JSON "{\"capabilities\":{\"twin_socket\":" \
                  "{\"supported\":true,\"fd_index\":0}}}"

typedef struct World {
    VFIOUserSession *session;
    int client;                 /* the session's end of the first socket */
    int server;                 /* the server's ends; -1: none, or closed */
    int twin;
    bool on_twin;               /* where the server speaks */
    VFIOUserCall calls[MAX_CALLS];
    bool under_way[MAX_CALLS];
    unsigned int num_calls;
    bool died;
    FuzzInput input;
} World;

/*
 * Time, and what waits for it to pass.  meson.build gives these names to all
 * files, and to the headers that declare the real ones.
 */

static gint64 now_us;

gint64 fuzz_monotonic_time(void)
{
    return now_us;
}

ssize_t fuzz_recvmsg(int fd, struct msghdr *msg, int flags)
{
    struct mmsghdr one = { .msg_hdr = *msg };
    int ret = recvmmsg(fd, &one, 1, flags | MSG_DONTWAIT, NULL);

    if (ret < 0 && !(flags & MSG_DONTWAIT)) {
        now_us += DEADLINE_MS * 1000;
    }
    *msg = one.msg_hdr;
    return ret < 0 ? ret : (int)one.msg_len;
}

int fuzz_poll_ns(GPollFD *fds, guint num_fds, int64_t timeout_ns)
{
    int ret = g_poll(fds, num_fds, 0);

    now_us += ret ? 0 : timeout_ns / 1000;
    return ret;
}

/*
 * The server
 */

static void server_close(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
    *fd = -1;
}

/* Nothing here may fill up. Fds that are not asked for do not come. */
static void server_read_all(int fd)
{
    static uint8_t bytes[65536];

    while (fd >= 0 && recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
        continue;
    }
}

static void server_send(int fd, const void *head, size_t head_size,
                        const void *data, size_t size, const int *fds,
                        size_t num_fds)
{
    char control[CMSG_SPACE(sizeof(int) * 32)] = { 0 };
    struct cmsghdr *cmsg = (struct cmsghdr *)control;
    struct iovec iov[] = {
        { (void *)head, head_size }, { (void *)data, size },
    };
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

    if (fd < 0) {
        return;
    }
    if (num_fds) {
        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(num_fds * sizeof(int));
        cmsg->cmsg_len = CMSG_LEN(num_fds * sizeof(int));
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        memcpy(CMSG_DATA(cmsg), fds, num_fds * sizeof(int));
    }
    /* A client that takes no more, or is gone, is the client's affair. */
    if (sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        return;
    }
}

/* @extra is one fd to send, or -1; else as many as the input says */
static void server_message(World *world, uint16_t id, uint16_t command,
                           uint32_t flags, uint32_t error, int extra,
                           const void *data, size_t size)
{
    int fd = world->on_twin ? world->twin : world->server;
    uint8_t how = fuzz_byte(&world->input);
    size_t num_fds = extra >= 0 ? 1 : how & 0x20 ? how & 0x1f : 0;
    VFIOUserHeader header;
    int fds[32];

    for (size_t i = 0; i < num_fds; i++) {
        fds[i] = extra >= 0 ? extra : STDIN_FILENO;
    }
    vfio_user_wire_put_header(&header, id, command, flags, error, size);
    if (how & 0x40) {           /* the header is a lie */
        uint8_t at = fuzz_byte(&world->input);

        ((uint8_t *)&header)[at % sizeof(header)] ^= fuzz_byte(&world->input);
    }
    server_send(fd, &header, sizeof(header), data, size, fds, num_fds);
}

static void step_reply(World *world)
{
    uint8_t how = fuzz_byte(&world->input);
    VFIOUserCall *call = &world->calls[how % MAX_CALLS];
    bool bad = how & 0x40;
    uint8_t size = fuzz_byte(&world->input);
    size_t got;
    const uint8_t *data = fuzz_bytes(&world->input, size, &got);

    server_message(world, call->id, call->command,
                   VFIO_USER_FLAG_REPLY | (bad ? VFIO_USER_FLAG_ERROR : 0),
                   bad ? fuzz_byte(&world->input) : 0, -1, data, got);
}

/* A command: bytes as they are, or DMA that makes sense to begin with */
static void step_command(World *world)
{
    uint8_t how = fuzz_byte(&world->input);
    uint32_t flags = how & 0x80 ? VFIO_USER_FLAG_NO_REPLY : 0;
    uint8_t size = fuzz_byte(&world->input);
    size_t got;
    const uint8_t *data = fuzz_bytes(&world->input, size, &got);

    if (how & 0x40) {
        server_message(world, size, how & 0x1f, flags, 0, -1, data, got);
    } else {
        bool write = how & 0x20;
        VFIOUserDMARW rw;
        g_autofree uint8_t *whole = g_malloc(sizeof(rw) + got);

        vfio_user_wire_put_dma_reply(
            &rw, RAM_BASE + fuzz_byte(&world->input) * 0x40,
            write ? got : fuzz_byte(&world->input) * 0x20);
        memcpy(whole, &rw, sizeof(rw));
        if (got) {
            memcpy(whole + sizeof(rw), data, got);
        }
        server_message(world, size,
                       write ? VFIO_USER_DMA_WRITE : VFIO_USER_DMA_READ,
                       flags, 0, -1, whole, sizeof(rw) + (write ? got : 0));
    }
}

static void step_bytes(World *world)
{
    uint8_t how = fuzz_byte(&world->input);
    int fds[4] = { STDIN_FILENO, STDIN_FILENO, STDIN_FILENO, STDIN_FILENO };
    uint8_t size = fuzz_byte(&world->input);
    size_t got;
    const uint8_t *data = fuzz_bytes(&world->input, size, &got);

    server_send(world->on_twin ? world->twin : world->server, data, got, NULL,
                0, fds, how & 3);
}

static void step_hang_up(World *world)
{
    int *fd = world->on_twin ? &world->twin : &world->server;

    if (fuzz_byte(&world->input) & 1) {
        server_close(fd);
    } else if (*fd >= 0) {
        shutdown(*fd, SHUT_WR);
    }
}

/*
 * The client
 */

static void step_send(World *world)
{
    static const int fds[] = { STDIN_FILENO, STDIN_FILENO };
    static const uint8_t payload[MAX_PIECE];
    uint8_t how = fuzz_byte(&world->input);
    uint8_t most = fuzz_byte(&world->input);
    unsigned int nr = world->num_calls % MAX_CALLS;
    VFIOUserCall *call = &world->calls[nr];
    bool dead = vfio_user_session_is_dead(world->session);
    Error *err = NULL;
    int ret;

    if (world->under_way[nr]) {
        return;
    }
    *call = (VFIOUserCall) {
        .command = how & 0x1f,
        .head = payload,
        .head_size = most,
        .fds = fds,
        .num_fds = how >> 6 & 1,
        .max_reply = most,
        .max_reply_fds = how >> 5 & 3,
    };
    if (how & 0x80) {
        ret = vfio_user_session_post(world->session, call, &err);
    } else {
        ret = vfio_user_session_send(world->session, call, &err);
        world->under_way[nr] = !ret;
        world->num_calls += !ret;
    }
    g_assert_true(!dead || ret == -ENOTCONN);
    fuzz_check_error(!ret, err);
    server_read_all(world->server);
}

static void wait_for_call(World *world, unsigned int nr)
{
    VFIOUserCall *call = &world->calls[nr];
    Error *err = NULL;
    int ret;

    if (!world->under_way[nr]) {
        return;
    }
    world->under_way[nr] = false;
    ret = vfio_user_session_wait(world->session, call, &err);
    if (!ret) {
        g_assert_nonnull(call->reply);
        g_assert_false(call->remote_error);
        g_assert_cmpuint(vfio_user_call_payload_size(call), <=,
                         call->max_reply);
        g_assert_cmpuint(call->reply->num_fds, <=, call->max_reply_fds);
        for (size_t i = 0; i < call->reply->num_fds; i++) {
            g_assert_cmpint(call->reply->fds[i], >=, 0);
        }
    } else {
        g_assert_cmpint(ret, <, 0);
        g_assert_null(call->reply);
        g_assert_true(call->remote_error ||
                      vfio_user_session_is_dead(world->session));
    }
    fuzz_check_error(!ret, err);
    vfio_user_msg_free(g_steal_pointer(&call->reply));
    server_read_all(world->server);
    server_read_all(world->twin);
}

/* Where no answer can come any more, the end does: that is faster. */
static void step_wait(World *world)
{
    uint8_t how = fuzz_byte(&world->input);
    int pending = 0;

    if (world->calls[how % MAX_CALLS].in_flight && !(how & 0x80) &&
        !ioctl(world->client, FIONREAD, &pending) && !pending) {
        shutdown(world->server, SHUT_WR);
    }
    wait_for_call(world, how % MAX_CALLS);
}

static void step_main_loop(World *world)
{
    while (g_main_context_iteration(NULL, false)) {
        server_read_all(world->server);
        server_read_all(world->twin);
    }
}

static void step_swap(World *world)
{
    world->on_twin = !world->on_twin;
}

static void dead(void *opaque, const Error *reason)
{
    World *world = opaque;

    g_assert_false(world->died);
    g_assert_nonnull(reason);
    world->died = true;
}

static int releases;

static void release(void *table)
{
    releases++;
    vfio_user_dma_table_unref(table);
}

static VFIOUserSession *client_connect(World *world, int fd)
{
    VFIOUserDMATable *table = vfio_user_dma_table_new();
    g_autofree char *number = g_strdup_printf("%d", fd);
    SocketAddress address = {
        .type = SOCKET_ADDRESS_TYPE_FD,
        .u.fd.str = number,
    };
    VFIOUserSessionConfig config = {
        .address = &address,
        .name = "vfio-user:fuzz",
        .dead = dead,
        .opaque = world,
        .request = vfio_user_incoming_request,
        .request_opaque = table,
        .request_release = release,
    };
    Error *err = NULL;

    vfio_user_dma_table_add(table, RAM_BASE, GUEST_RAM_SIZE,
                            VFIO_USER_DMA_MAP_READ | VFIO_USER_DMA_MAP_WRITE,
                            &guest_ram_regions[0], 0);
    vfio_user_dma_table_add(table, RAM_BASE + GUEST_RAM_SIZE, GUEST_RAM_SIZE,
                            VFIO_USER_DMA_MAP_READ, &guest_ram_regions[1], 0);
    for (int i = 0; i < VFIO_USER_DEADLINE__MAX; i++) {
        config.timeout_ms[i] = DEADLINE_MS;
    }
    world->session = vfio_user_session_connect(&config, &err);
    fuzz_check_error(world->session, err);
    return world->session;
}

/* The server's first words, which are there before the client asks */
static void server_version(World *world)
{
    uint8_t how = fuzz_byte(&world->input);
    uint8_t size = how & 3 ? fuzz_byte(&world->input) : 0;
    size_t got;
    const uint8_t *data = fuzz_bytes(&world->input, size, &got);
    static const char twin[4 + sizeof(TWIN_JSON)] = "\0\0\0\0" TWIN_JSON;
    int pair[2] = { -1, -1 };

    if (how & 4) {
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
                                   pair), ==, 0);
        world->twin = pair[0];
    }
    switch (how & 3) {
    case 0:                     /* as it should be */
        server_message(world, 0, VFIO_USER_VERSION, VFIO_USER_FLAG_REPLY, 0,
                       pair[1], pair[1] >= 0 ? twin : "\0\0\0\0{}",
                       pair[1] >= 0 ? sizeof(twin) - 1 : 7);
        break;
    case 1:
        server_send(world->server, data, got, NULL, 0, &pair[1],
                    pair[1] >= 0);
        break;
    default:
        server_message(world, 0, VFIO_USER_VERSION, VFIO_USER_FLAG_REPLY, 0,
                       pair[1], data, got);
        break;
    }
    server_close(&pair[1]);
}

static void (*const steps[])(World *world) = {
    step_send, step_reply, step_wait, step_command, step_main_loop,
    step_bytes, step_swap, step_hang_up,
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    int fd = open("/dev/null", O_RDWR);

    dup2(fd, STDIN_FILENO);
    close(fd);
    signal(SIGPIPE, SIG_IGN);
    module_call_init(MODULE_INIT_QOM);
    qemu_init_main_loop(&error_abort);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    World world = { .server = -1, .twin = -1, .input = { data, size } };
    int first_fd = fuzz_next_fd();
    int pair[2];

    releases = 0;
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
                    ==, 0);
    world.server = pair[0];
    world.client = pair[1];
    server_version(&world);
    /* the session owns the other end from now on */
    if (client_connect(&world, pair[1])) {
        server_read_all(world.server);
        while (world.input.size) {
            steps[fuzz_byte(&world.input) % ARRAY_SIZE(steps)](&world);
        }
    }
    server_close(&world.server);
    server_close(&world.twin);
    for (unsigned int i = 0; i < MAX_CALLS; i++) {
        wait_for_call(&world, i);
    }
    vfio_user_session_close(world.session);
    step_main_loop(&world);
    g_assert_cmpint(releases, ==, 1);
    g_assert_cmpint(fuzz_next_fd(), ==, first_fd);
    return 0;
}
