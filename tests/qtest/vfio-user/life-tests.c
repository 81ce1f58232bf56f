/*
 * The life of a device: plugged and unplugged, with servers that come late or
 * go early, through sleep, and migrated again and again.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "framework.h"
#include "libqos/pci.h"
#include "libqos/pci-pc.h"
#include "qapi/qmp/qdict.h"
#include "qapi/qmp/qlist.h"
#include "qemu/cutils.h"
#include "standard-headers/linux/pci_regs.h"

#define WARM_UP 10

/* Ports of the ACPI specification for PCI hot plug, as q35 has them */
#define Q35_ACPI_PCIHP 0xcc0
#define PCIHP_EJECT 0x08
#define PCIHP_SELECT 0x10

/* Guest memory that must be the same in the end */
#define GUEST_PAGE 0x00800000
#define GUEST_VALUE 0x5a17e57000c0ffeeull

/* What QEMU has in its hands: a leak shows as one more each time */
typedef struct Holdings {
    unsigned fds;
    unsigned threads;
    unsigned files;             /* mapped, or parts of them */
    unsigned long data;         /* KiB of private memory */
} Holdings;

static Holdings holdings(VFIOUserTestVM *vm)
{
    g_autofree char *maps_path = g_strdup_printf("/proc/%d/maps", vm->pid);
    g_autofree char *status_path = g_strdup_printf("/proc/%d/status", vm->pid);
    g_autofree char *maps = NULL, *status = NULL;
    Holdings now = { .fds = vfio_user_test_count_fds(vm->pid) };
    const char *line;

    g_assert_true(g_file_get_contents(maps_path, &maps, NULL, NULL));
    g_assert_true(g_file_get_contents(status_path, &status, NULL, NULL));
    for (line = maps; (line = strstr(line, "/memfd:")); line++) {
        now.files++;
    }
    line = strstr(status, "Threads:");
    g_assert_cmpint(sscanf(line, "Threads: %u", &now.threads), ==, 1);
    line = strstr(status, "VmData:");
    g_assert_cmpint(sscanf(line, "VmData: %lu", &now.data), ==, 1);
    return now;
}

static void assert_holds_the_same(VFIOUserTestVM *vm, const Holdings *then)
{
    Holdings now = holdings(vm);

    g_test_message("%s: %u fds, %u threads, %u mapped files, %lu KiB "
                   "(before: %lu)", vm->name, now.fds, now.threads, now.files,
                   now.data, then->data);
    g_assert_cmpuint(now.fds, ==, then->fds);
    g_assert_cmpuint(now.threads, ==, then->threads);
    g_assert_cmpuint(now.files, ==, then->files);
#ifndef QEMU_SANITIZE_ADDRESS
    /* the allocator's own leaps, an arena a thread; a device is a lot more */
    g_assert_cmpuint(now.data, <=, then->data + 16384);
#else
    /* it keeps for a while what was freed, and looks for leaks itself */
#endif
}

/* --- plugged and unplugged --- */

static void plug_at(VFIOUserTestVM *vm, const char *bus, unsigned slot)
{
    g_autofree char *address = g_strdup_printf("%u.0", slot);

    vfio_user_test_qmp(vm, "{'execute': 'device_add', 'arguments': {"
                       "'driver': 'vfio-user-pci', 'id': 'dev0', 'bus': %s,"
                       "'addr': %s, 'socket': %s}}", bus, address,
                       vm->socket_path);
    g_assert_true(mock_wait_connected(vm->mock, true,
                                      VFIO_USER_TEST_DEADLINE_MS));
}

static void plug(VFIOUserTestVM *vm)
{
    plug_at(vm, "pci.0", VFIO_USER_TEST_DEVICE_SLOT);
}

static void unplug(VFIOUserTestVM *vm)
{
    qpci_unplug_acpi_device_test(vm->qts, "dev0", VFIO_USER_TEST_DEVICE_SLOT);
    g_assert_true(mock_wait_connected(vm->mock, false,
                                      VFIO_USER_TEST_DEADLINE_MS));
}

static void plug_port(VFIOUserTestVM *vm)
{
    plug_at(vm, "port0", 0);
}

/* As a guest with q35's ACPI tables does it: the bus has a number there. */
static void unplug_port(VFIOUserTestVM *vm)
{
    QDict *answer = qtest_qmp(vm->qts, "{'execute': 'qom-get', 'arguments':"
                              " {'path': '/machine/peripheral/port0/port0',"
                              "  'property': 'acpi-pcihp-bsel'}}");
    unsigned bus = qdict_get_int(answer, "return");

    qobject_unref(answer);
    vfio_user_test_qmp(vm, "{'execute': 'device_del',"
                       " 'arguments': {'id': 'dev0'}}");
    qtest_outl(vm->qts, Q35_ACPI_PCIHP + PCIHP_SELECT, bus);
    qtest_outl(vm->qts, Q35_ACPI_PCIHP + PCIHP_EJECT, 1);
    qtest_qmp_eventwait(vm->qts, "DEVICE_DELETED");
    g_assert_true(mock_wait_connected(vm->mock, false,
                                      VFIO_USER_TEST_DEADLINE_MS));
}

static const struct PlugTest {
    VFIOUserTestVMConfig config;
    void (*plug)(VFIOUserTestVM *vm);
    void (*unplug)(VFIOUserTestVM *vm);
} plug_tests[] = {
    { .config = { .machine = "pc" }, plug, unplug },
    { .config = { .machine = "q35",
                  .options = "-device pcie-root-port,id=port0,chassis=1" },
      plug_port, unplug_port },
};

static void test_life_plug_200_times(const void *data)
{
    const struct PlugTest *test = &plug_tests[GPOINTER_TO_UINT(data)];
    VFIOUserTestVMConfig config = test->config;
    MockConfig mock;
    g_autoptr(VFIOUserTestVM) vm = NULL;
    Holdings before = { };
    int i;

    mock_config_init(&mock);
    mock.bar2_size = 0x4000;
    mock.bar2_areas = 2;
    mock.window_mmap = true;
    mock.journal_no_memory = true;
    config.name = "guest";
    config.mock = &mock;
    config.no_device = true;
    vm = vfio_user_test_vm_new(&config);
    for (i = 0; i < 200; i++) {
        test->plug(vm);
        test->unplug(vm);
        if (i == WARM_UP) {
            before = holdings(vm);
        }
    }
    assert_holds_the_same(vm, &before);
}

/* --- servers that come late or go early --- */

static void test_life_unplug_without_server(const void *data)
{
    VFIOUserTestVMConfig config = { .name = "guest", .machine = "pc" };
    g_autoptr(VFIOUserTestVM) vm = vfio_user_test_vm_new(&config);
    Holdings before = holdings(vm);

    mock_disconnect(vm->mock);
    qpci_unplug_acpi_device_test(vm->qts, "dev0", VFIO_USER_TEST_DEVICE_SLOT);
    vfio_user_test_settle(vm);
    vfio_user_test_assert_status(vm, "running");
    plug(vm);
    assert_holds_the_same(vm, &before);
}

static void test_life_late_version(const void *data)
{
    MockRule late = {
        .where = MOCK_PATTERN_COMMAND(MOCK_VERSION), .nth = 1,
        .action = MOCK_ACTION_DELAY, .delay_ms = 1500,
    };
    MockConfig mock;
    VFIOUserTestVMConfig config = { .name = "guest", .mock = &mock };
    g_autoptr(VFIOUserTestVM) vm = NULL;

    mock_config_init(&mock);
    mock.rules = &late;
    mock.num_rules = 1;
    vm = vfio_user_test_vm_new(&config);
    vfio_user_test_assert_status(vm, "running");
    g_assert_true(mock_wait_connected(vm->mock, true, 0));
}

/* --- sleep --- */

/* The power management of the machine "pc", as its firmware sets it up */
#define PM_DEVFN QPCI_DEVFN(1, 3)
#define PM_BASE 0x600
#define PM_SLEEP ((1 << 13) | (1 << 10))

static void test_life_sleep(const void *data)
{
    VFIOUserTestVMConfig config = { .name = "guest", .machine = "pc" };
    g_autoptr(VFIOUserTestVM) vm = vfio_user_test_vm_new(&config);
    MockPattern reset = MOCK_PATTERN_COMMAND(MOCK_DEVICE_RESET);
    QPCIBus *bus = qpci_new_pc(vm->qts, NULL);
    QPCIDevice *pm = qpci_device_find(bus, PM_DEVFN);

    g_assert_nonnull(pm);
    qpci_config_writel(pm, 0x40, PM_BASE | 1);
    qpci_config_writeb(pm, 0x80, 1);
    qtest_outw(vm->qts, PM_BASE + 4, PM_SLEEP);
    qtest_qmp_eventwait(vm->qts, "SUSPEND");
    vfio_user_test_assert_status(vm, "suspended");
    vm->mark = mock_journal_length(vm->mock);
    vfio_user_test_qmp(vm, "{'execute': 'system_wakeup'}");
    qtest_qmp_eventwait(vm->qts, "WAKEUP");
    vfio_user_test_settle(vm);
    vfio_user_test_assert_status(vm, "running");
    g_assert_cmpuint(mock_journal_count(vm->mock, vm->mark, &reset), ==, 1);
    vfio_user_test_assert_states(vm, "");
    g_free(pm);
    qpci_free_pc(bus);
}

#define PLAIN_OPTIONS "-device virtio-net-pci"

static VFIOUserTestVM *start_plain(const char *name, bool incoming,
                                   bool journal)
{
    MockConfig mock;
    VFIOUserTestVMConfig config = {
        .name = name, .mock = &mock, .incoming = incoming,
        .options = PLAIN_OPTIONS,
    };

    mock_config_init(&mock);
    mock.journal_no_memory = !journal;
    return vfio_user_test_vm_new(&config);
}

/* --- an interrupt under way --- */

/*
 * The line is up when the guest migrates. At the destination, too, its access
 * to the device ends the interrupt, and the server may raise the next one.
 */
static void test_life_migrate_intx(const void *data)
{
    MockPattern unmask = {
        .command = MOCK_DEVICE_SET_IRQS,
        .match = MOCK_MATCH_REGION | MOCK_MATCH_VALUE,
        .region = MOCK_IRQ_INTX, .value = 0x11,
    };
    g_autoptr(VFIOUserTestVM) source = start_plain("source", false, true);
    g_autoptr(VFIOUserTestVM) destination = start_plain("destination", true,
                                                        true);
    QPCIBus *bus = qpci_new_pc(source->qts, NULL);
    QPCIDevice *device = qpci_device_find(bus,
        QPCI_DEVFN(VFIO_USER_TEST_DEVICE_SLOT, 0));
    QPCIBar bar;
    unsigned from;

    qpci_config_writew(device, PCI_COMMAND, PCI_COMMAND_MEMORY);
    bar = qpci_iomap(device, 0, NULL);
    g_assert_cmpint(mock_raise_irq(source->mock, MOCK_IRQ_INTX, 0), ==, 0);
    vfio_user_test_settle(source);
    vfio_user_test_migrate_to(source, destination);
    from = mock_journal_length(destination->mock);
    g_assert_cmpuint(mock_journal_count(destination->mock, from, &unmask), ==,
                     0);
    qtest_readl(destination->qts, bar.addr + MOCK_BAR0_INTX_STATUS);
    vfio_user_test_settle(destination);
    g_assert_cmpuint(mock_journal_count(destination->mock, from, &unmask), ==,
                     1);
    g_free(device);
    qpci_free_pc(bus);
}

/* --- migrated again and again --- */

/* The guest goes on at the source, which migrates once more, somewhere else. */
static void test_life_migrate_100_times(const void *data)
{
    g_autoptr(VFIOUserTestVM) source = start_plain("source", false, false);
    unsigned fds = 0;
    Holdings before = { };
    int i;

    for (i = 0; i < 100; i++) {
        VFIOUserTestVM *destination = start_plain("destination", true, false);
        Holdings new = holdings(destination);

        vfio_user_test_migrate_to(source, destination);
        vfio_user_test_assert_moved(source->mock, destination->mock);
        vfio_user_test_assert_status(destination, "running");
        g_assert_cmpuint(holdings(destination).threads, <=, new.threads);
        vfio_user_test_vm_free(destination);
        vfio_user_test_qmp(source, "{'execute': 'cont'}");
        vfio_user_test_settle(source);
        if (i == WARM_UP) {
            before = holdings(source);
            fds = vfio_user_test_count_fds(0);
        }
    }
    assert_holds_the_same(source, &before);
    g_assert_cmpuint(vfio_user_test_count_fds(0), ==, fds);
}

/* A guest moves to and fro between two servers, which stay. */
static void test_life_to_and_fro_100_times(const void *data)
{
    static const VFIOUserTestVMConfig arriving = {
        .incoming = true, .options = PLAIN_OPTIONS,
    };
    g_autoptr(VFIOUserTestVM) first = start_plain("first", false, false);
    g_autoptr(VFIOUserTestVM) second = start_plain("second", true, false);
    Holdings before = { };
    unsigned fds = 0;
    int i;

    qtest_writeq(first->qts, GUEST_PAGE, GUEST_VALUE);
    for (i = 0; i < 100; i++) {
        VFIOUserTestVM *from = i % 2 ? second : first;
        VFIOUserTestVM *to = i % 2 ? first : second;

        vfio_user_test_migrate_to(from, to);
        vfio_user_test_assert_moved(from->mock, to->mock);
        vfio_user_test_assert_status(to, "running");
        vfio_user_test_vm_quit(from);
        vfio_user_test_vm_restart(from, &arriving);
        if (i == WARM_UP) {
            before = holdings(to);
            fds = vfio_user_test_count_fds(0);
        } else if (i > WARM_UP) {
            assert_holds_the_same(to, &before);
        }
    }
    g_assert_cmphex(qtest_readq(first->qts, GUEST_PAGE), ==, GUEST_VALUE);
    g_assert_cmpuint(vfio_user_test_count_fds(0), ==, fds);
}

static const struct {
    const char *path;
    void (*run)(const void *data);
    unsigned number;
} life_tests[] = {
    { "plug-200-times/pc", test_life_plug_200_times, 0 },
    { "plug-200-times/q35", test_life_plug_200_times, 1 },
    { "unplug-without-server", test_life_unplug_without_server },
    { "late-version", test_life_late_version },
    { "sleep", test_life_sleep },
    { "migrate-intx", test_life_migrate_intx },
    { "migrate-100-times", test_life_migrate_100_times },
    { "to-and-fro-100-times", test_life_to_and_fro_100_times },
};

void vfio_user_test_add_life(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(life_tests); i++) {
        g_autofree char *path = g_strdup_printf("/vfio-user/life/%s",
                                                life_tests[i].path);

        vfio_user_test_add(path, life_tests[i].run,
                           GUINT_TO_POINTER(life_tests[i].number));
    }
}
