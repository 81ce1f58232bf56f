/*
 * Makes a number of requests, so that the instructions of one can be counted:
 * those of two runs differ by what the requests cost.  The server is another
 * process, that does not count.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/un.h>
#include "qemu/cutils.h"
#include "qemu/main-loop.h"
#include "qemu/error-report.h"
#include "qapi/error.h"
#include "hw/vfio-user/session.h"

#define REGION 0
#define COUNT 8

typedef struct Bench {
    VFIOUserSession *session;
    VFIOUserRegionRW rw;
    VFIOUserCall call;
    uint64_t value;
} Bench;

/* Answers everything with what it was asked, a read with data behind. */
static void serve(int listener)
{
    static const char version[] = "\0\0\0\0{}";
    static uint8_t message[65536];
    int fd = accept(listener, NULL, NULL);
    VFIOUserHeader header;

    while (recv(fd, &header, sizeof(header), MSG_WAITALL) == sizeof(header)) {
        uint32_t size = le32_to_cpu(header.size) - sizeof(header);
        uint32_t flags = le32_to_cpu(header.flags);

        if (size > sizeof(message) - sizeof(header) - COUNT ||
            (size && recv(fd, message + sizeof(header), size,
                          MSG_WAITALL) != size)) {
            break;
        }
        if (flags & VFIO_USER_FLAG_NO_REPLY) {
            continue;
        }
        if (header.command == cpu_to_le16(VFIO_USER_REGION_READ)) {
            size += COUNT;
        } else if (header.command == cpu_to_le16(VFIO_USER_REGION_WRITE)) {
            size = sizeof(VFIOUserRegionRW);
        }
        if (header.command == cpu_to_le16(VFIO_USER_VERSION)) {
            size = sizeof(version);
            memcpy(message + sizeof(header), version, size);
        }
        header.flags = cpu_to_le32(VFIO_USER_FLAG_REPLY);
        header.size = cpu_to_le32(sizeof(header) + size);
        memcpy(message, &header, sizeof(header));
        if (send(fd, message, sizeof(header) + size, MSG_NOSIGNAL) < 0) {
            break;
        }
    }
    _exit(0);
}

static VFIOUserSession *connect_to_server(void)
{
    g_autofree char *dir = g_dir_make_tmp("vfio-user-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "socket", NULL);
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    SocketAddress address = {
        .type = SOCKET_ADDRESS_TYPE_UNIX,
        .u.q_unix.path = path,
    };
    VFIOUserSessionConfig config = { .address = &address, .name = "bench" };
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    VFIOUserSession *session;

    g_strlcpy(name.sun_path, path, sizeof(name.sun_path));
    if (bind(listener, (void *)&name, sizeof(name)) || listen(listener, 1)) {
        error_report("bench-session: %s: %s", path, strerror(errno));
        exit(1);
    }
    if (!fork()) {
        serve(listener);
    }
    close(listener);
    module_call_init(MODULE_INIT_QOM);
    qemu_init_main_loop(&error_fatal);
    session = vfio_user_session_connect(&config, &error_fatal);
    unlink(path);
    rmdir(dir);
    return session;
}

static void do_read(Bench *bench)
{
    const uint8_t *data;

    vfio_user_session_call(bench->session, &bench->call, &error_fatal);
    if (!vfio_user_wire_get_region_read(
            vfio_user_call_payload(&bench->call),
            vfio_user_call_payload_size(&bench->call), REGION, 0, COUNT, &data,
            &error_fatal)) {
        exit(1);
    }
    memcpy(&bench->value, data, COUNT);
    vfio_user_msg_free(g_steal_pointer(&bench->call.reply));
}

static void do_write(Bench *bench)
{
    vfio_user_session_call(bench->session, &bench->call, &error_fatal);
    vfio_user_msg_free(g_steal_pointer(&bench->call.reply));
}

static void do_post(Bench *bench)
{
    vfio_user_session_post(bench->session, &bench->call, &error_fatal);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*request)(Bench *bench);
        uint16_t command;
    } kinds[] = {
        { "read", do_read, VFIO_USER_REGION_READ },
        { "write", do_write, VFIO_USER_REGION_WRITE },
        { "posted", do_post, VFIO_USER_REGION_WRITE },
    };
    Bench bench = { .session = NULL };
    unsigned long i, k;

    for (k = 0; argc == 3 && k < ARRAY_SIZE(kinds); k++) {
        unsigned long count;
        VFIOUserCall call;

        if (qemu_strtoul(argv[2], NULL, 0, &count) ||
            strcmp(argv[1], kinds[k].name)) {
            continue;
        }
        bench.session = connect_to_server();
        for (i = 0; i < count; i++) {
            call = (VFIOUserCall) {
                .command = kinds[k].command,
                .head = &bench.rw,
                .head_size = sizeof(bench.rw),
                .max_reply = sizeof(bench.rw) + COUNT,
            };
            if (kinds[k].command == VFIO_USER_REGION_WRITE) {
                call.data = &bench.value;
                call.data_size = COUNT;
            }
            vfio_user_wire_put_region_rw(&bench.rw, REGION, 0, COUNT);
            bench.call = call;
            kinds[k].request(&bench);
        }
        vfio_user_session_close(bench.session);
        return 0;
    }
    printf("Usage: bench-vfio-user-session {read | write | posted} COUNT\n");
    return argc == 2 && !strcmp(argv[1], "--help") ? 0 : 2;
}
