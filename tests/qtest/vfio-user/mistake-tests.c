/*
 * Mistakes of those who start QEMU: one line says what is wrong, and the exit
 * status is 1; or it works.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hostile.h"
#include "steps.h"

#define RUN "-machine q35 -accel qtest -display none -nodefaults -S "

/* A folder with a server's socket in it */
typedef struct Place {
    char *dir;
    char *socket;
    Mock *mock;
} Place;

static void place_make(Place *place)
{
    g_autoptr(GError) error = NULL;
    MockConfig config;

    place->dir = g_dir_make_tmp("vfio-user-test-XXXXXX", NULL);
    place->socket = g_build_filename(place->dir, "device", NULL);
    mock_config_init(&config);
    place->mock = mock_new(&config, NULL);
    mock_start(place->mock, place->socket, &error);
    g_assert_no_error(error);
}

static void place_drop(Place *place)
{
    mock_free(place->mock);
    g_assert_cmpint(rmdir(place->dir), ==, 0);
    g_free(place->dir);
    g_free(place->socket);
}

/* What QEMU says is one line with @error at its end, and it ends with 1. */
static void assert_refuses(const char *args, const char *error)
{
    g_autofree char *end = g_strdup_printf("%s\n", error), *errors = NULL;
    int status = vfio_user_test_run_qemu(args, &errors);

    g_test_message("%s", errors);
    if (!g_str_has_suffix(errors, end) ||
        strchr(errors, '\n') != errors + strlen(errors) - 1) {
        vfio_user_test_fail("not one line that ends in \"%s\": %s", error,
                            errors);
    }
    g_assert_cmpint(status, ==, 1);
}

/*
 * Root may do all, unless it is told that it may not: then it needs what the
 * socket's mode gives to its owner, like others.
 */
static void refuses_without_privilege(const char *args, const char *error)
{
    g_autofree char *binary = g_strdup(getenv("QTEST_QEMU_BINARY"));
    g_autofree char *bound = g_strdup_printf(
        "setpriv --bounding-set=-dac_override,-dac_read_search %s", binary);

    if (!geteuid()) {
        g_setenv("QTEST_QEMU_BINARY", bound, true);
    }
    assert_refuses(args, error);
    g_setenv("QTEST_QEMU_BINARY", binary, true);
}

static void test_mistake_permission(const void *data)
{
    const bool folder = data != NULL;
    g_autofree char *args = NULL, *error = NULL;
    Place place;

    place_make(&place);
    args = g_strdup_printf(RUN "-device vfio-user-pci,socket=%s",
                           place.socket);
    error = g_strdup_printf("vfio-user:%s: cannot connect: Permission denied",
                            place.socket);
    g_assert_cmpint(chmod(folder ? place.dir : place.socket, 0), ==, 0);
    refuses_without_privilege(args, error);
    g_assert_cmpint(chmod(folder ? place.dir : place.socket, 0700), ==, 0);
    place_drop(&place);
}

static void test_mistake_folder(const void *data)
{
    g_autofree char *args = NULL, *error = NULL;
    Place place;

    place_make(&place);
    args = g_strdup_printf(RUN "-device vfio-user-pci,socket=%s", place.dir);
    error = g_strdup_printf("vfio-user:%s: cannot connect: Connection refused",
                            place.dir);
    assert_refuses(args, error);
    place_drop(&place);
}

static void test_mistake_long_path(const void *data)
{
    g_autofree char *path = g_strnfill(108, 'x');
    g_autofree char *args = g_strdup_printf(RUN "-device "
                                            "vfio-user-pci,socket=/%s", path);
    g_autofree char *error = g_strdup_printf("vfio-user:/%s: socket path is "
                                             "too long (got 109, limit 107)",
                                             path);

    assert_refuses(args, error);
}

static void test_mistake_empty_path(const void *data)
{
    assert_refuses(RUN "-device vfio-user-pci,socket=",
                   "vfio-user-pci: property 'socket' is missing: use "
                   "socket=PATH, the UNIX socket of a vfio-user server");
}

/* The server has one client already: it does not answer a second one. */
static void test_mistake_twice(const void *data)
{
    g_autofree char *args = NULL, *error = NULL;
    Place place;

    place_make(&place);
    args = g_strdup_printf(RUN "-device vfio-user-pci,socket=%s "
                           "-device vfio-user-pci,socket=%s,x-map-timeout=300",
                           place.socket, place.socket);
    error = g_strdup_printf("vfio-user:%s: VERSION: no reply within 300 ms",
                            place.socket);
    assert_refuses(args, error);
    place_drop(&place);
}

/* The same while a guest runs: it keeps the device that it has. */
static void test_mistake_twice_plugged(const void *data)
{
    g_autoptr(Guest) guest = guest_start("pc", NULL);
    VFIOUserTestVM *vm = guest->vm;
    unsigned fds = vfio_user_test_count_fds(vm->pid);

    vfio_user_test_qmp_error(vm, "VERSION: no reply within 300 ms",
                             "{'execute': 'device_add', 'arguments':"
                             " {'driver': 'vfio-user-pci', 'id': 'dev1',"
                             "  'socket': %s, 'x-map-timeout': 300}}",
                             vm->socket_path);
    g_assert_true(vfio_user_test_wait_fds(vm, fds));
    g_assert_cmphex(guest_readl(guest, MOCK_BAR0_ID), ==, MOCK_BAR0_ID_VALUE);
}

/* --- the other end of a migration --- */

/* The destination has no device of ours, but perhaps another in its place. */
static void test_mistake_other_end(const void *data)
{
    const char *other = data;
    VFIOUserTestVMConfig there = {
        .name = "destination", .incoming = true, .no_device = true,
        .options = other, .keep_errors = true,
    };
    VFIOUserTestVMConfig here = { .name = "source" };
    g_autofree char *errors = NULL;
    Migration migration;
    MockConfig mock;

    migration_slow_device(&mock);
    here.mock = &mock;
    migration.source = guest_start_vm(&here);
    migration.destination = vfio_user_test_vm_new(&there);
    migration_run(&migration, 1024 * 1024);
    g_free(migration_wait(migration.source->vm, "failed"));
    errors = vfio_user_test_errors(migration.destination);
    g_test_message("%s", errors);
    g_assert_nonnull(strstr(errors, "Unknown savevm section or instance "
                            "'0000:00:05.0/vfio' 0"));
    migration_end_failed(&migration);
}

/*
 * It is the destination that has one too many, which gets no data. QEMU lets
 * that pass for any device of its: the guest finds a new one.
 */
static void test_mistake_one_more(const void *data)
{
    VFIOUserTestVMConfig here = { .name = "source", .no_device = true };
    VFIOUserTestVMConfig there = { .name = "destination", .incoming = true };
    g_autoptr(VFIOUserTestVM) source = vfio_user_test_vm_new(&here);
    g_autoptr(VFIOUserTestVM) destination = vfio_user_test_vm_new(&there);
    g_autofree char *uri = g_strdup_printf("unix:%s",
                                           destination->migration_path);

    vfio_user_test_qmp(source, "{'execute': 'migrate',"
                       " 'arguments': {'uri': %s}}", uri);
    g_free(migration_wait(source, "completed"));
    qtest_qmp_eventwait(destination->qts, "RESUME");
    vfio_user_test_settle(destination);
    vfio_user_test_assert_states(destination, "W4 W1");
    vfio_user_test_assert_status(destination, "running");
}

/* --- registration --- */

static const struct {
    const char *path;
    void (*run)(const void *data);
    const void *data;
} mistake_tests[] = {
    { "permission/socket", test_mistake_permission },
    { "permission/folder", test_mistake_permission, "folder" },
    { "folder", test_mistake_folder },
    { "long-path", test_mistake_long_path },
    { "empty-path", test_mistake_empty_path },
    { "twice/at-start", test_mistake_twice },
    { "twice/plugged", test_mistake_twice_plugged },
    { "incoming/other-device", test_mistake_other_end,
      "-device edu,addr=5.0" },
    { "incoming/no-device", test_mistake_other_end },
    { "incoming/one-more", test_mistake_one_more },
};

void vfio_user_test_add_mistake(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(mistake_tests); i++) {
        g_autofree char *path = g_strdup_printf("/vfio-user/mistake/%s",
                                                mistake_tests[i].path);

        vfio_user_test_add(path, mistake_tests[i].run, mistake_tests[i].data);
    }
}
