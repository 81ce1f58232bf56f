/*
 * Servers that are not there, or not what they should be: QEMU says in one
 * line what is wrong and exits with status 1; device_add says the same and
 * QEMU goes on.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "framework.h"
#include "qapi/qmp/qdict.h"
#include <sys/socket.h>
#include <sys/un.h>

/* What is at the socket's path */
typedef enum ServerKind {
    SERVER_MOCK,
    SERVER_NONE,
    SERVER_FILE,                /* a regular file */
    SERVER_RAW,                 /* sends bytes to whoever connects, closes */
} ServerKind;

typedef struct ConnectTest {
    const char *path;
    /* Script */
    ServerKind server;
    MockRule rule;              /* Optional: of the mock */
    const char *bytes;          /* Optional: of the raw server */
    uint64_t bar0_size;         /* Optional: of the mock, 0 for its default */
    const char *device;         /* Optional: properties */
    bool no_socket_property;
    /* Expected result: what the error says, after the socket's name */
    const char *error;
} ConnectTest;

#define RULE(command_, ...) \
    { .where = MOCK_PATTERN_COMMAND(command_), .action = __VA_ARGS__ }
#define REPLY(bytes) \
    MOCK_ACTION_REPLY, .data = (bytes), .data_size = sizeof(bytes)

static const ConnectTest connect_tests[] = {
    {
        .path = "no-server",
        .server = SERVER_NONE,
        .error = "cannot connect: No such file or directory",
    }, {
        .path = "regular-file",
        .server = SERVER_FILE,
        .error = "cannot connect: Connection refused",
    }, {
        .path = "no-socket-property",
        .no_socket_property = true,
        .error = "property 'socket' is missing: use socket=PATH, the UNIX "
                 "socket of a vfio-user server",
    }, {
        .path = "closes-at-once",
        .server = SERVER_RAW,
        .bytes = "",
        .error = "VERSION: server closed the connection",
    }, {
        .path = "closes-at-version",
        .rule = RULE(MOCK_VERSION, MOCK_ACTION_CLOSE_BEFORE),
        .error = "VERSION: server closed the connection",
    }, {
        .path = "closes-at-info",
        .rule = RULE(MOCK_DEVICE_GET_INFO, MOCK_ACTION_CLOSE_BEFORE),
        .error = "DEVICE_GET_INFO: server closed the connection",
    }, {
        .path = "silent",
        .rule = RULE(MOCK_VERSION, MOCK_ACTION_NO_REPLY),
        .device = "x-map-timeout=100",
        .error = "VERSION: no reply within 100 ms",
    }, {
        .path = "garbage",
        .server = SERVER_RAW,
        .bytes = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
        .error = "UNKNOWN: command from the server is too long "
                 "(got 825110815 bytes, limit 1048592)",
    }, {
        .path = "monitor",
        .server = SERVER_RAW,
        .bytes = "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 2}}}}\r\n",
        .error = "VERSION: message type is neither command nor reply "
                 "(got 11, limit 1)",
    }, {
        .path = "ssh",
        .server = SERVER_RAW,
        .bytes = "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n",
        .error = "VERSION: message type is neither command nor reply "
                 "(got 15, limit 1)",
    }, {
        .path = "garbage-json",
        .rule = RULE(MOCK_VERSION, REPLY("\0\0\0\0{\"capabilities\": [")),
        .error = "VERSION: JSON is not valid: JSON parse error, premature EOI",
    }, {
        .path = "wrong-major-version",
        .rule = RULE(MOCK_VERSION, REPLY("\7\0\0\0{}")),
        .error = "VERSION: major version is not the one asked for "
                 "(got 0x7, expected 0x0)",
    }, {
        .path = "refuses-version",
        .rule = RULE(MOCK_VERSION, MOCK_ACTION_ERROR, .error = EINVAL),
        .error = "VERSION: server error: Invalid argument",
    }, {
        .path = "page-size",
        .rule = RULE(MOCK_VERSION, REPLY("\0\0\0\0{\"capabilities\": "
                                         "{\"pgsizes\": 1073741824}}")),
        .error = "server maps no pages as small as the host's "
                 "(pgsizes 0x40000000, page 0x1000)",
    }, {
        .path = "closes-at-map",
        .rule = RULE(MOCK_DMA_MAP, MOCK_ACTION_CLOSE_BEFORE),
        .error = "DMA_MAP: server closed the connection",
    }, {
        .path = "silent-at-map",
        .rule = RULE(MOCK_DMA_MAP, MOCK_ACTION_NO_REPLY),
        .device = "x-map-timeout=100",
        .error = "DMA_MAP: no reply within 100 ms",
    }, {
        .path = "refuses-map",
        .rule = RULE(MOCK_DMA_MAP, MOCK_ACTION_ERROR, .error = ENOSPC),
        .error = "DMA_MAP: server error: No space left on device",
    }, {
        .path = "bar-size",
        .bar0_size = 0x1800,
        .error = "BAR 0: size is not a power of two of at least 16 bytes "
                 "(got 0x1800)",
    },
};

/* --- the raw server --- */

typedef struct RawServer {
    int fd;
    const char *bytes;
    GThread *thread;
} RawServer;

/* Ends when the listening socket is shut down */
static gpointer raw_server_run(gpointer opaque)
{
    RawServer *server = opaque;
    int fd;

    while ((fd = accept(server->fd, NULL, NULL)) >= 0) {
        size_t size = strlen(server->bytes);

        g_assert_cmpint(send(fd, server->bytes, size, MSG_NOSIGNAL), ==, size);
        /* what the client sends is to be read, or it gets a reset instead */
        shutdown(fd, SHUT_WR);
        while (size && recv(fd, &(char[256]) { 0 }, 256, 0) > 0) {
            continue;
        }
        close(fd);
    }
    return NULL;
}

static void raw_server_start(RawServer *server, const char *path,
                             const char *bytes)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    g_assert_cmpint(strlen(path), <, sizeof(address.sun_path));
    strcpy(address.sun_path, path);
    server->bytes = bytes;
    server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(server->fd, >=, 0);
    g_assert_cmpint(bind(server->fd, (struct sockaddr *)&address,
                         sizeof(address)), ==, 0);
    g_assert_cmpint(listen(server->fd, 4), ==, 0);
    server->thread = g_thread_new("raw-server", raw_server_run, server);
}

static void raw_server_stop(RawServer *server)
{
    shutdown(server->fd, SHUT_RDWR);
    g_thread_join(server->thread);
    close(server->fd);
}

/* --- the two ways to get a device --- */

/* What the error says, from the name of the connection on */
static char *expected_error(const ConnectTest *test, const char *path)
{
    return test->no_socket_property ?
           g_strdup_printf("vfio-user-pci: %s", test->error) :
           g_strdup_printf("vfio-user:%s: %s", path, test->error);
}

/* QEMU's name and the option come first */
static void assert_one_line(const char *text, const char *error)
{
    g_autofree char *end = g_strdup_printf(": %s\n", error);

    if (strchr(text, '\n') != text + strlen(text) - 1 ||
        !g_str_has_suffix(text, end)) {
        vfio_user_test_fail("not one line that ends in \"%s\": %s", error,
                            text);
    }
}

static void try_command_line(const ConnectTest *test, const char *path)
{
    g_autofree char *args = NULL, *errors = NULL, *error = NULL;
    int status;

    args = g_strdup_printf("-machine pc -accel qtest -display none -nodefaults "
                           "-S -device vfio-user-pci%s%s%s%s",
                           test->no_socket_property ? "" : ",socket=",
                           test->no_socket_property ? "" : path,
                           test->device ? "," : "", test->device ?: "");
    status = vfio_user_test_run_qemu(args, &errors);
    error = expected_error(test, path);
    assert_one_line(errors, error);
    g_assert_cmpint(status, ==, 1);
}

static void device_add(const ConnectTest *test, VFIOUserTestVM *vm,
                       const char *path)
{
    g_autofree char *error = expected_error(test, path);
    QDict *arguments = qdict_new();

    qdict_put_str(arguments, "driver", "vfio-user-pci");
    qdict_put_str(arguments, "id", "dev0");
    if (!test->no_socket_property) {
        qdict_put_str(arguments, "socket", path);
    }
    if (test->device) {
        g_auto(GStrv) property = g_strsplit(test->device, "=", 2);

        qdict_put_int(arguments, property[0], atoi(property[1]));
    }
    vfio_user_test_qmp_error(vm, error, "{'execute': 'device_add',"
                             " 'arguments': %p}", arguments);
}

/* Twice, since the first one may leave something behind */
static void try_device_add(const ConnectTest *test, VFIOUserTestVM *vm,
                           const char *path)
{
    unsigned fds = vfio_user_test_count_fds(vm->pid);

    device_add(test, vm, path);
    device_add(test, vm, path);
    g_assert_true(vfio_user_test_wait_fds(vm, fds));
    vfio_user_test_assert_status(vm, "running");
}

static void test_connect(const void *data)
{
    const ConnectTest *test = data;
    VFIOUserTestVMConfig config = {
        .name = "guest", .machine = "pc", .no_device = true,
    };
    g_autofree char *path = NULL;
    VFIOUserTestVM *vm;
    RawServer server;
    MockConfig mock;

    mock_config_init(&mock);
    mock.bar0_size = test->bar0_size ?: mock.bar0_size;
    mock.rules = &test->rule;
    mock.num_rules = test->rule.action != MOCK_ACTION_NONE;
    config.mock = &mock;
    vm = vfio_user_test_vm_new(&config);
    path = test->server == SERVER_MOCK ? g_strdup(vm->socket_path) :
           g_build_filename(vm->dir, "other", NULL);
    if (test->server == SERVER_FILE) {
        g_assert_true(g_file_set_contents(path, "", 0, NULL));
    } else if (test->server == SERVER_RAW) {
        raw_server_start(&server, path, test->bytes);
    }

    try_command_line(test, path);
    try_device_add(test, vm, path);

    if (test->server == SERVER_RAW) {
        raw_server_stop(&server);
    }
    if (test->server != SERVER_MOCK) {
        unlink(path);
    }
    vfio_user_test_vm_free(vm);
}

void vfio_user_test_add_connect(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(connect_tests); i++) {
        g_autofree char *path = g_strdup_printf("/vfio-user/connect/%s",
                                                connect_tests[i].path);

        vfio_user_test_add(path, test_connect, &connect_tests[i]);
    }
}
