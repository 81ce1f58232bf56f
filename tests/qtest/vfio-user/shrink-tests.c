/*
 * Servers that make a file shorter while it is mapped: the guest loses its
 * device, a migration fails, and nothing else happens.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "guest.h"
#include "hostile.h"
#include "standard-headers/linux/pci_regs.h"

#define PAGE 0x1000
#define BUFFER 0x00300000

#define TOO_SHORT(region) \
    "region " #region ": file is shorter than what is mapped of it"

/* --- registers --- */

/* BAR2 is mapped, but for its first page. */
static Guest *start_mapped(QPCIBar *bar2, const char *machine)
{
    VFIOUserTestVMConfig config = {
        .name = "guest", .machine = machine, .keep_errors = true,
    };
    MockConfig mock;
    Guest *guest;

    hostile_mappable_device(&mock);
    config.mock = &mock;
    guest = guest_start_vm(&config);
    *bar2 = qpci_iomap(guest->device, 2, NULL);
    return guest;
}

static void test_shrink(const void *data)
{
    QPCIBar bar2;
    g_autoptr(Guest) guest = start_mapped(&bar2, NULL);
    QPCIDevice *device = guest->device;
    Mock *mock = guest->vm->mock;

    qpci_io_writel(device, bar2, PAGE, 0x11111111);
    qpci_io_writel(device, bar2, 2 * PAGE, 0x22222222);
    g_assert_cmpint(mock_shrink_region(mock, 2, 2 * PAGE), ==, 0);
    g_assert_cmphex(qpci_io_readl(device, bar2, PAGE), ==, 0x11111111);
    vfio_user_test_settle(guest->vm);
    g_assert_true(mock_wait_connected(mock, true, 0));

    g_assert_cmphex(qpci_io_readl(device, bar2, 2 * PAGE), ==, UINT32_MAX);
    hostile_assert_lost(guest->vm, TOO_SHORT(2));
    g_assert_cmphex(qpci_io_readl(device, bar2, 3 * PAGE), ==, UINT32_MAX);
    g_assert_cmphex(guest_readl(guest, MOCK_BAR0_ID), ==, UINT32_MAX);
    qpci_io_writel(device, bar2, 3 * PAGE, 0);
}

/* The first access is a write, and the file is gone altogether. */
static void test_shrink_write(const void *data)
{
    QPCIBar bar2;
    g_autoptr(Guest) guest = start_mapped(&bar2, NULL);

    g_assert_cmpint(mock_shrink_region(guest->vm->mock, 2, 0), ==, 0);
    qpci_io_writel(guest->device, bar2, HOSTILE_BAR2_SIZE - 4, 1);
    hostile_assert_lost(guest->vm, TOO_SHORT(2));
}

/* Plug a device, perhaps shrink its BAR2, and unplug it. */
static void plug_and_shrink(VFIOUserTestVM *vm, QPCIBus *bus, bool shrink)
{
    g_autoptr(GError) error = NULL;
    g_autofree QPCIDevice *device = NULL;
    MockConfig mock;
    QPCIBar bar2;

    hostile_mappable_device(&mock);
    mock_free(vm->mock);
    vm->mock = mock_new(&mock, &error);
    g_assert_true(mock_start(vm->mock, vm->socket_path, &error));
    qtest_qmp_device_add(vm->qts, "vfio-user-pci", "dev0",
                         "{'socket': %s, 'addr': '5.0'}", vm->socket_path);
    device = qpci_device_find(bus, QPCI_DEVFN(5, 0));
    qpci_config_writew(device, PCI_COMMAND, PCI_COMMAND_MEMORY);
    bar2 = qpci_iomap(device, 2, NULL);
    qpci_io_writel(device, bar2, PAGE, 77);
    g_assert_cmphex(qpci_io_readl(device, bar2, PAGE), ==, 77);
    if (shrink) {
        g_assert_cmpint(mock_shrink_region(vm->mock, 2, 0), ==, 0);
        g_assert_cmphex(qpci_io_readl(device, bar2, PAGE), ==, UINT32_MAX);
        qtest_qmp_eventwait(vm->qts, "VFIO_USER_DISCONNECTED");
    }
    qpci_unplug_acpi_device_test(vm->qts, "dev0", 5);
}

/* Again and again: nothing is left of it, and no address is taken for old. */
static void test_shrink_plugged(const void *data)
{
    VFIOUserTestVMConfig config = {
        .name = "guest", .machine = "pc", .no_device = true,
    };
    g_autoptr(VFIOUserTestVM) vm = vfio_user_test_vm_new(&config);
    unsigned fds = vfio_user_test_count_fds(vm->pid);
    QPCIBus *bus = qpci_new_pc(vm->qts, NULL);
    int i;

    for (i = 0; i < 4; i++) {
        plug_and_shrink(vm, bus, i % 2);
        /* one pipe for all, made by the first */
        g_assert_true(vfio_user_test_wait_fds(vm, fds + 2));
    }
    qpci_free_pc(bus);
}

/* The first that was mapped is device data, and by another thread. */
static void test_shrink_after_migration(const void *data)
{
    VFIOUserTestVMConfig config = { .name = "guest", .machine = "pc" };
    g_autoptr(VFIOUserTestVM) vm = NULL;
    MockConfig mock;
    QPCIBus *bus;

    mock_config_init(&mock);
    mock.window_mmap = true;
    config.mock = &mock;
    vm = vfio_user_test_vm_new(&config);
    vfio_user_test_qmp(vm, "{'execute': 'migrate',"
                       " 'arguments': {'uri': 'exec:cat >/dev/null'}}");
    qobject_unref(vfio_user_test_wait_migration(vm, "completed"));
    vfio_user_test_qmp(vm, "{'execute': 'cont'}");
    bus = qpci_new_pc(vm->qts, NULL);
    qpci_unplug_acpi_device_test(vm->qts, "dev0", 5);
    plug_and_shrink(vm, bus, true);
    qpci_free_pc(bus);
}

/* Threads of QEMU's that let SIGBUS through */
static unsigned count_unblocked(pid_t pid)
{
    g_autofree char *tasks = g_strdup_printf("/proc/%d/task", pid);
    g_autoptr(GDir) dir = g_dir_open(tasks, 0, NULL);
    unsigned count = 0;
    const char *name;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(tasks, name, "status", NULL);
        g_autofree char *status = NULL;
        const char *blocked;

        if (g_file_get_contents(path, &status, NULL, NULL)) {
            blocked = strstr(status, "SigBlk:") + strlen("SigBlk:");
            count += !(g_ascii_strtoull(blocked, NULL, 16) &
                       (1ull << (SIGBUS - 1)));
        }
    }
    return count;
}

/* A vCPU that comes later does, too. */
static void test_shrink_cpu_plugged(const void *data)
{
    VFIOUserTestVMConfig config = {
        .name = "guest",
        .options = "-smp 1,maxcpus=2,sockets=2,cores=1,threads=1",
    };
    gint64 deadline = g_get_monotonic_time() +
                      VFIO_USER_TEST_DEADLINE_MS * G_TIME_SPAN_MILLISECOND;
    g_autoptr(VFIOUserTestVM) vm = NULL;
    unsigned threads;
    MockConfig mock;

    hostile_mappable_device(&mock);
    config.mock = &mock;
    vm = vfio_user_test_vm_new(&config);
    threads = count_unblocked(vm->pid);
    qtest_qmp_device_add(vm->qts, "qemu64-x86_64-cpu", "cpu1",
                         "{'socket-id': 1, 'core-id': 0, 'thread-id': 0}");
    while (count_unblocked(vm->pid) != threads + 1) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        vfio_user_test_settle(vm);
    }
}

/*
 * A vCPU that reads the BAR by itself. It counts rounds at 0x508, and begins
 * when there is a 1 at 0x500; what it reads goes to 0x504. In real mode the
 * BAR must be below 1 MiB, where option ROMs would be.
 */
#define TCG_BAR 0xd0000
#define TCG_GO 0x500
#define TCG_VALUE 0x504
#define TCG_ROUNDS 0x508
#define BIOS_SIZE 0x10000

static const uint8_t reader_code[] = {
    0x31, 0xc0, 0x8e, 0xc0,             /* xor ax, ax; mov es, ax */
    0x26, 0xa0, 0x00, 0x05,             /* 1: mov al, es:[0x500] */
    0x3c, 0x01, 0x75, 0xf8,             /* cmp al, 1; jne 1b */
    0xb8, 0x00, 0xd0, 0x8e, 0xd8,       /* mov ax, 0xd000; mov ds, ax */
    0x66, 0xa1, 0x00, 0x10,             /* mov eax, [0x1000] */
    0x26, 0x66, 0xa3, 0x04, 0x05,       /* mov es:[0x504], eax */
    0x26, 0xff, 0x06, 0x08, 0x05,       /* inc word es:[0x508] */
    0xeb, 0xe3,                         /* jmp 1b */
};

static char *write_bios(void)
{
    static const uint8_t start[] = { 0xea, 0x00, 0x00, 0x00, 0xf0 };
    g_autofree char *bios = g_malloc0(BIOS_SIZE);
    char *path;
    int fd = g_file_open_tmp("vfio-user-test-XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    memcpy(bios, reader_code, sizeof(reader_code));
    memcpy(bios + BIOS_SIZE - 16, start, sizeof(start));
    g_assert_true(g_file_set_contents(path, bios, BIOS_SIZE, NULL));
    return path;
}

/* Wait until the vCPU has read @value. */
static void wait_read(QTestState *qts, uint32_t value)
{
    gint64 deadline = g_get_monotonic_time() +
                      VFIO_USER_TEST_DEADLINE_MS * G_TIME_SPAN_MILLISECOND;

    while (qtest_readl(qts, TCG_VALUE) != value) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
    }
}

/* Wait until it has come round: it goes on. */
static void wait_round(QTestState *qts)
{
    uint16_t rounds = qtest_readw(qts, TCG_ROUNDS);
    gint64 deadline = g_get_monotonic_time() +
                      VFIO_USER_TEST_DEADLINE_MS * G_TIME_SPAN_MILLISECOND;

    while (qtest_readw(qts, TCG_ROUNDS) == rounds) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
    }
}

static void test_shrink_vcpu(const void *data)
{
    g_autofree char *bios = write_bios();
    g_autofree char *options = g_strdup_printf("-accel tcg,thread=%s -bios %s",
                                               (const char *)data, bios);
    VFIOUserTestVMConfig config = {
        .name = "guest", .keep_errors = true, .options = options,
    };
    g_autoptr(Guest) guest = NULL;
    QTestState *qts;
    MockConfig mock;

    hostile_mappable_device(&mock);
    config.mock = &mock;
    guest = guest_start_vm(&config);
    unlink(bios);
    qts = guest->vm->qts;
    qpci_config_writel(guest->device, PCI_BASE_ADDRESS_2, TCG_BAR);
    qtest_writel(qts, TCG_BAR + PAGE, 0x600df00d);
    qtest_writeb(qts, TCG_GO, 1);
    wait_read(qts, 0x600df00d);
    g_assert_cmpint(mock_shrink_region(guest->vm->mock, 2, 0), ==, 0);
    wait_read(qts, UINT32_MAX);
    hostile_assert_lost(guest->vm, TOO_SHORT(2));
    wait_round(qts);
}

/* Guest memory: what QEMU seals, which is the default, cannot shrink. */
static void test_shrink_memory(const void *data)
{
    g_autoptr(Guest) guest = guest_start(NULL, NULL);
    QTestState *qts = guest->vm->qts;

    qtest_writeq(qts, BUFFER, 0x5ea1ed);
    g_assert_cmpint(mock_shrink_memory(guest->vm->mock, BUFFER), ==, -EPERM);
    g_assert_cmphex(qtest_readq(qts, BUFFER), ==, 0x5ea1ed);
    g_assert_cmphex(guest_readl(guest, MOCK_BAR0_ID), ==, MOCK_BAR0_ID_VALUE);
}

/* --- device data that is taken away --- */

/* @end stops where it is about to say how much there is. */
static void hold_chunk(VFIOUserTestVM *end, unsigned number)
{
    const MockRule hold = {
        .where = MOCK_PATTERN_REGION(MOCK_REGION_READ, MOCK_REGION_MIGRATION,
                                     MOCK_MIG_DATA_SIZE),
        .nth = number, .action = MOCK_ACTION_HOLD,
    };

    mock_add_rules(end->mock, &hold, 1);
}

static VFIOUserTestVM *start_end(const char *name, bool incoming)
{
    VFIOUserTestVMConfig config = {
        .name = name, .incoming = incoming, .keep_errors = true,
    };
    MockConfig mock;

    mock_config_init(&mock);
    mock.window_mmap = true;
    mock.seed = incoming ? 2 : 1;
    config.mock = &mock;
    return vfio_user_test_vm_new(&config);
}

static void take_away(VFIOUserTestVM *end)
{
    g_assert_true(mock_wait_held(end->mock, 1, VFIO_USER_TEST_DEADLINE_MS));
    g_assert_cmpint(mock_shrink_region(end->mock, MOCK_REGION_MIGRATION, 0),
                    ==, 0);
    mock_release(end->mock);
}

static void start_migration(VFIOUserTestVM *source,
                            VFIOUserTestVM *destination)
{
    g_autofree char *uri = g_strdup_printf("unix:%s",
                                           destination->migration_path);

    vfio_user_test_qmp(source, "{'execute': 'migrate',"
                       " 'arguments': {'uri': %s}}", uri);
}

/* In pre-copy (2) and while the guest is stopped (4) */
static void test_shrink_save(const void *data)
{
    g_autoptr(VFIOUserTestVM) source = start_end("source", false);
    g_autoptr(VFIOUserTestVM) destination = start_end("destination", true);

    hold_chunk(source, GPOINTER_TO_UINT(data));
    start_migration(source, destination);
    take_away(source);
    qobject_unref(vfio_user_test_wait_migration(source, "failed"));
    vfio_user_test_assert_error_desc(source, TOO_SHORT(9));
    hostile_assert_lost(source, TOO_SHORT(9));
    vfio_user_test_vm_wait_exit(destination, 1);
}

static void test_shrink_load(const void *data)
{
    g_autoptr(VFIOUserTestVM) source = start_end("source", false);
    g_autoptr(VFIOUserTestVM) destination = start_end("destination", true);
    const MockRule hold = {
        .where = MOCK_PATTERN_REGION(MOCK_REGION_READ, MOCK_REGION_MIGRATION,
                                     MOCK_MIG_DATA_OFFSET),
        .nth = GPOINTER_TO_UINT(data), .action = MOCK_ACTION_HOLD,
    };
    g_autofree char *errors = NULL;

    mock_add_rules(destination->mock, &hold, 1);
    vfio_user_test_set_capability(source, "return-path", true);
    start_migration(source, destination);
    take_away(destination);
    qobject_unref(vfio_user_test_wait_migration(source, "failed"));
    vfio_user_test_settle(source);
    vfio_user_test_assert_status(source, "running");
    errors = vfio_user_test_errors(destination);
    g_test_message("%s", errors);
    g_assert_nonnull(strstr(errors, TOO_SHORT(9)));
    vfio_user_test_vm_wait_exit(destination, 1);
}

/* --- registration --- */

static const struct {
    const char *path;
    void (*run)(const void *data);
    const void *data;
} shrink_tests[] = {
    { "bar", test_shrink },
    { "bar-write", test_shrink_write },
    { "plugged", test_shrink_plugged },
    { "after-migration", test_shrink_after_migration },
    { "cpu-plugged", test_shrink_cpu_plugged },
    { "vcpu", test_shrink_vcpu, "multi" },
    { "vcpu-single", test_shrink_vcpu, "single" },
    { "memory", test_shrink_memory },
    { "save-precopy", test_shrink_save, GUINT_TO_POINTER(2) },
    { "save-stopped", test_shrink_save, GUINT_TO_POINTER(4) },
    { "load", test_shrink_load, GUINT_TO_POINTER(1) },
    { "load-last", test_shrink_load, GUINT_TO_POINTER(4) },
};

void vfio_user_test_add_shrink(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(shrink_tests); i++) {
        g_autofree char *path = g_strdup_printf("/vfio-user/shrink/%s",
                                                shrink_tests[i].path);

        vfio_user_test_add(path, shrink_tests[i].run, shrink_tests[i].data);
    }
}
