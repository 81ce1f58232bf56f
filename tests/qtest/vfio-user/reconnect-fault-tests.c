/*
 * The property reconnect: servers that have another device, stall, or are lost
 * again meanwhile, and devices that are unplugged at any moment.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "reach.h"
#include "reconnect.h"

#define MAP_TIMEOUT "x-map-timeout=600000"

static const MockPattern version = MOCK_PATTERN_COMMAND(MOCK_VERSION);

/* --- another device --- */

typedef struct Difference {
    const char *text;
    void (*make)(MockConfig *mock);
} Difference;

static void other_bar(MockConfig *mock)
{
    mock->bar0_size *= 2;
}

static void other_config(MockConfig *mock)
{
    mock->config_size = mock->config_size == 256 ? 4096 : 256;
}

static void other_areas(MockConfig *mock)
{
    mock->bar2_areas = 1;
}

static void no_migration(MockConfig *mock)
{
    mock->no_migration = true;
}

static void other_window(MockConfig *mock)
{
    mock->window_size *= 2;
}

static void other_vectors(MockConfig *mock)
{
    mock->num_msix_vectors--;
}

static void no_msix(MockConfig *mock)
{
    mock->no_msix = true;
}

static void with_msi(MockConfig *mock)
{
    mock->msi = true;
}

static void with_function_reset(MockConfig *mock)
{
    mock->function_reset = true;
}

static void no_reset(MockConfig *mock)
{
    mock->no_reset = true;
}

static void other_capabilities(MockConfig *mock)
{
    mock->capabilities = "{\"capabilities\": {\"pgsizes\": 2097152,"
                         " \"migration\": {\"pgsize\": 4096}}}";
}

static void other_pgsize(MockConfig *mock)
{
    mock->capabilities = "{\"capabilities\": {\"migration\":"
                         " {\"pgsize\": 8192}}}";
}

static const Difference differences[] = {
    { "region 0: not the device that was lost: size (got 0x2000, was 0x1000)",
      other_bar },
    { "region 7: not the device that was lost: size", other_config },
    { "region 2: not the device that was lost: number of areas to map (got "
      "0x1, was 0x2)", other_areas },
    { "not the device that was lost: capability to migrate (got 0x0, was 0x1)",
      no_migration },
    { "region 9: not the device that was lost: size", other_window },
    { "interrupt type 2: not the device that was lost: count", other_vectors },
    { "region 4: not the device that was lost: size (got 0x0", no_msix },
    { "interrupt type 1: not the device that was lost: count (got 0x1, was "
      "0x0)", with_msi },
    { "not the device that was lost: capability at 0x", with_function_reset },
    { "not the device that was lost: device flags", no_reset },
    { "not the device that was lost: page sizes for mappings",
      other_capabilities },
    { "not the device that was lost: page size for migration (got 0x2000, was "
      "0x1000)", other_pgsize },
};

/* Told once, and tried again and again; the right one is taken at last. */
static void test_reconnect_refused(const void *data)
{
    g_autoptr(Guest) guest = NULL;
    VFIOUserTestVM *vm;
    MockConfig mock;
    size_t i;

    mock_config_init(&mock);
    mock.bar2_size = 0x8000;
    mock.bar2_areas = 2;
    guest = reconnect_start(NULL, &mock);
    vm = guest->vm;
    reconnect_lose(vm);
    for (i = 0; i < G_N_ELEMENTS(differences); i++) {
        MockConfig other = mock;

        differences[i].make(&other);
        vfio_user_test_vm_restart_mock(vm, &other);
        reconnect_wait_errors(vm, differences[i].text, 1);
        g_assert_cmpint(mock_journal_wait(vm->mock, 0, &version, i ? 1 : 3,
                                          VFIO_USER_TEST_DEADLINE_MS), >=, 0);
        vfio_user_test_assert_states(vm, "");
        mock_stop(vm->mock);
    }
    reconnect_assert_no_event(vm, "VFIO_USER_RECONNECTED");
    reconnect_return(vm, &mock);
    guest_enable(guest);
    g_assert_cmphex(guest_readl(guest, MOCK_BAR0_ID), ==, MOCK_BAR0_ID_VALUE);
    g_assert_cmpuint(reconnect_count_errors(vm, "not the device that was "
                                            "lost: "), ==, i);
    reconnect_assert_no_event(vm, "VFIO_USER_DISCONNECTED");
}

/* --- servers that stall, or are lost again --- */

/* Commands of which the answer is waited for in a thread, and QMP goes on */
static const MockCommand stalled[] = {
    MOCK_VERSION, MOCK_DEVICE_GET_INFO, MOCK_DEVICE_GET_REGION_INFO,
    MOCK_DEVICE_GET_IRQ_INFO, MOCK_REGION_READ,
};

static void hold(Guest *guest, MockCommand command)
{
    VFIOUserTestVM *vm = guest->vm;
    MockRule rule = {
        .where = MOCK_PATTERN_COMMAND(command), .nth = 1,
        .action = MOCK_ACTION_HOLD,
    };
    MockConfig mock;

    mock_config_init(&mock);
    mock.rules = &rule;
    mock.num_rules = 1;
    vfio_user_test_vm_restart_mock(vm, &mock);
    g_assert_true(mock_wait_held(vm->mock, 1, VFIO_USER_TEST_DEADLINE_MS));
}

static void test_reconnect_stalled(const void *data)
{
    VFIOUserTestVMConfig config = {
        .name = "guest", .device = RECONNECT_DEVICE "," MAP_TIMEOUT,
    };
    g_autoptr(Guest) guest = guest_start_vm(&config);
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(stalled); i++) {
        reconnect_lose(guest->vm);
        hold(guest, stalled[i]);
        vfio_user_test_assert_status(guest->vm, "running");
        g_assert_cmphex(guest_readl(guest, MOCK_BAR0_ID), ==, UINT32_MAX);
        reconnect_assert_no_event(guest->vm, "VFIO_USER_RECONNECTED");
        g_assert_cmpuint(mock_release(guest->vm->mock), ==, 1);
        reconnect_wait_back(guest->vm);
        guest_enable(guest);
    }
}

static const MockPattern lost_again[] = {
    MOCK_PATTERN_COMMAND(MOCK_VERSION),
    MOCK_PATTERN_COMMAND(MOCK_DEVICE_GET_REGION_INFO),
    MOCK_PATTERN_STATE_READ(),
    MOCK_PATTERN_COMMAND(MOCK_DMA_MAP),
    MOCK_PATTERN_COMMAND(MOCK_DEVICE_RESET),
    MOCK_PATTERN_COMMAND(MOCK_DEVICE_SET_IRQS),
};

/* Lost while it comes back: it was not back, so that is not told */
static void test_reconnect_lost_again(const void *data)
{
    g_autoptr(Guest) guest = reconnect_start(NULL, NULL);
    VFIOUserTestVM *vm = guest->vm;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(lost_again); i++) {
        MockRule rule = {
            .where = lost_again[i], .nth = 1,
            .action = MOCK_ACTION_CLOSE_BEFORE,
        };
        MockConfig mock;

        mock_config_init(&mock);
        mock.rules = &rule;
        mock.num_rules = 1;
        reconnect_lose_and_return(guest->vm, &mock);
        g_assert_cmpuint(mock_journal_count(vm->mock, 0, &version), ==, 2);
        reconnect_assert_no_event(vm, "VFIO_USER_DISCONNECTED");
        guest_enable(guest);
        g_assert_cmphex(guest_readl(guest, MOCK_BAR0_ID), ==,
                        MOCK_BAR0_ID_VALUE);
        reach_assert(guest->vm, 0x100000, 0x100000);
        g_assert_cmpuint(reconnect_count_errors(vm, "dev0: lost: "), ==,
                         i + 1);
        g_assert_cmpuint(reconnect_count_errors(vm, "dev0: not back: "), ==,
                         i + 1);
        g_assert_cmpuint(mock_irq_count(vm->mock, MOCK_IRQ_INTX), ==, 1);
    }
}

/* What the tries meet is told once, and not in any other place. */
static void test_reconnect_told_once(const void *data)
{
    g_autoptr(Guest) guest = reconnect_start(NULL, NULL);
    VFIOUserTestVM *vm = guest->vm;
    MockRule rule = {
        .where = MOCK_PATTERN_COMMAND(MOCK_REGION_READ),
        .action = MOCK_ACTION_ERROR, .error = EIO,
    };
    MockConfig mock;

    mock_config_init(&mock);
    mock.rules = &rule;
    mock.num_rules = 1;
    reconnect_lose(vm);
    vfio_user_test_vm_restart_mock(vm, &mock);
    g_assert_cmpint(mock_journal_wait(vm->mock, 0, &version, 3,
                                      VFIO_USER_TEST_DEADLINE_MS), >=, 0);
    g_assert_cmpuint(reconnect_count_errors(vm, "config space: cannot be "
                                            "read: Input/output error\n"), ==,
                     1);
    g_assert_cmpuint(reconnect_count_errors(vm, "\n"), ==, 2);
    mock_clear_rules(vm->mock);
    reconnect_wait_back(vm);
}

/* A device that does not take the state of its VM is not taken. */
static void test_reconnect_state_refused(const void *data)
{
    g_autoptr(Guest) guest = reconnect_start(NULL, NULL);
    VFIOUserTestVM *vm = guest->vm;
    MockRule rule = {
        .where = MOCK_PATTERN_STATE_WRITE(MOCK_STATE_STOP), .nth = 1,
        .action = MOCK_ACTION_ERROR, .error = EIO,
    };
    MockConfig mock;

    mock_config_init(&mock);
    mock.rules = &rule;
    mock.num_rules = 1;
    vfio_user_test_qmp(vm, "{'execute': 'stop'}");
    reconnect_lose_and_return(guest->vm, &mock);
    g_assert_cmpuint(reconnect_count_errors(vm, "device_state: the device "
                                            "does not follow the VM"), ==, 1);
    vfio_user_test_assert_states(vm, "R W0! R R W0");
    reconnect_assert_no_event(vm, "VFIO_USER_DISCONNECTED");
}

/* --- unplugging, and the end --- */

static void unplug(VFIOUserTestVM *vm)
{
    qpci_unplug_acpi_device_test(vm->qts, "dev0", VFIO_USER_TEST_DEVICE_SLOT);
}

static void plug(VFIOUserTestVM *vm)
{
    vfio_user_test_qmp(vm, "{'execute': 'device_add', 'arguments': {"
                       "'driver': 'vfio-user-pci', 'id': 'dev0',"
                       "'addr': '5.0', 'socket': %s, 'reconnect': 1,"
                       "'x-map-timeout': 600000}}", vm->socket_path);
}

/* While it waits for a server, in the middle of a try, and when it is back */
static void test_reconnect_unplug(const void *data)
{
    g_autoptr(Guest) guest = reconnect_start("pc", NULL);
    VFIOUserTestVM *vm = guest->vm;
    unsigned fds = vfio_user_test_count_fds(vm->pid), threads, i;

    for (i = 0; i < 5; i++) {
        reconnect_lose(vm);
        unplug(vm);
        vfio_user_test_vm_restart_mock(vm, NULL);
        plug(vm);
        g_assert_true(vfio_user_test_wait_fds(vm, fds));

        threads = vfio_user_test_count_threads(vm->pid);
        reconnect_lose(vm);
        hold(guest, stalled[i]);
        unplug(vm);
        mock_stop(vm->mock);
        vfio_user_test_vm_restart_mock(vm, NULL);
        plug(vm);
        g_assert_true(vfio_user_test_wait_fds(vm, fds));
        g_assert_cmpuint(vfio_user_test_count_threads(vm->pid), <=, threads);

        reconnect_lose_and_return(guest->vm, NULL);
        g_assert_true(vfio_user_test_wait_fds(vm, fds));
        unplug(vm);
        g_assert_true(mock_wait_connected(vm->mock, false,
                                          VFIO_USER_TEST_DEADLINE_MS));
        plug(vm);
        g_assert_true(vfio_user_test_wait_fds(vm, fds));
    }
}

/* QEMU does not wait for the try to end, which it would not for long. */
static void test_reconnect_quit(const void *data)
{
    VFIOUserTestVMConfig config = {
        .name = "guest", .device = RECONNECT_DEVICE "," MAP_TIMEOUT,
    };
    g_autoptr(Guest) guest = guest_start_vm(&config);

    reconnect_lose(guest->vm);
    hold(guest, MOCK_VERSION);
    vfio_user_test_qmp(guest->vm, "{'execute': 'quit'}");
    vfio_user_test_vm_wait_exit(guest->vm, 0);
    mock_release(guest->vm->mock);
}

/* --- registration --- */

void vfio_user_test_add_reconnect_fault(void)
{
    static const struct {
        const char *path;
        void (*run)(const void *data);
    } tests[] = {
        { "refused", test_reconnect_refused },
        { "stalled", test_reconnect_stalled },
        { "lost-again", test_reconnect_lost_again },
        { "told-once", test_reconnect_told_once },
        { "state-refused", test_reconnect_state_refused },
        { "unplug", test_reconnect_unplug },
        { "quit", test_reconnect_quit },
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strconcat("/vfio-user/reconnect/",
                                            tests[i].path, NULL);

        vfio_user_test_add(path, tests[i].run, NULL);
    }
}
