/*
 * Hostile servers: files that are none, requests that make no sense, and floods
 * of them. The guest keeps all but its device.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "guest.h"
#include "hostile.h"
#include "qemu/bswap.h"
#include "qapi/qmp/qdict.h"
#include "standard-headers/linux/pci_regs.h"

#define PAGE 0x1000
#define BUFFER 0x00300000
#define MIB (1024 * 1024)

/* --- what is common --- */

void hostile_mappable_device(MockConfig *mock)
{
    mock_config_init(mock);
    mock->bar2_size = HOSTILE_BAR2_SIZE;
    mock->bar2_areas = 1;
}

void hostile_assert_lost(VFIOUserTestVM *vm, const char *reason)
{
    g_autofree char *line = g_strdup_printf("dev0: lost: vfio-user:%s: %s\n",
                                            vm->socket_path, reason);
    g_autofree char *errors = NULL;
    const char *found;
    QDict *event = qtest_qmp_eventwait_ref(vm->qts, "VFIO_USER_DISCONNECTED");

    qobject_unref(event);
    errors = vfio_user_test_errors(vm);
    g_test_message("%s", errors);
    found = strstr(errors, line);
    if (!found || strstr(errors, "lost: ") != found + strlen("dev0: ") ||
        strstr(found + strlen(line), "lost: ")) {
        vfio_user_test_fail("not once \"%s\": %s", line, errors);
    }
    vfio_user_test_settle(vm);
    vfio_user_test_assert_status(vm, "running");
    vfio_user_test_qmp_error(vm, reason, "{'execute': 'migrate',"
                             " 'arguments': {'uri': 'exec:cat'}}");
}

/* --- files that are none --- */

typedef struct FileTest {
    const char *path;
    int (*open)(void);
} FileTest;

static int open_pipe(void)
{
    int fds[2];

    g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
    close(fds[1]);
    return fds[0];
}

static int open_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int open_folder(void)
{
    return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int open_null(void)
{
    return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int open_zero(void)
{
    return open("/dev/zero", O_RDWR | O_CLOEXEC);
}

/* As long as BAR2 and what comes before it in the mock's file */
static int open_file(size_t size)
{
    int fd = memfd_create("hostile", MFD_CLOEXEC);

    g_assert_cmpint(ftruncate(fd, size), ==, 0);
    return fd;
}

static int open_short(void)
{
    return open_file(0x10000 + HOSTILE_BAR2_SIZE - 1);
}

static int open_read_only(void)
{
    int fd = open_file(0x10000 + HOSTILE_BAR2_SIZE);
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    int other = open(path, O_RDONLY | O_CLOEXEC);

    close(fd);
    return other;
}

/* open() would block without a writer, and so would read(). */
static int open_fifo(void)
{
    g_autofree char *dir = g_dir_make_tmp("vfio-user-test-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "fifo", NULL);
    int fd;

    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
    fd = open(path, O_RDWR | O_CLOEXEC);
    unlink(path);
    rmdir(dir);
    return fd;
}

static const FileTest file_tests[] = {
    { "pipe", open_pipe },
    { "fifo", open_fifo },
    { "socket", open_socket },
    { "folder", open_folder },
    { "null", open_null },
    { "zero", open_zero },
    { "short", open_short },
    { "read-only", open_read_only },
};

/* The region is reached by message then, and QEMU keeps no fd. */
static void test_hostile_file(const void *data)
{
    const FileTest *test = data;
    VFIOUserTestVMConfig config = {
        .name = "guest", .machine = "pc", .no_device = true,
        .keep_errors = true,
    };
    MockRule rule = {
        .where = MOCK_PATTERN_REGION(MOCK_DEVICE_GET_REGION_INFO, 2, 0),
        .action = MOCK_ACTION_OTHER_FDS, .fd = test->open(),
    };
    const MockPattern read = MOCK_PATTERN_REGION(MOCK_REGION_READ, 2, PAGE);
    g_autoptr(VFIOUserTestVM) vm = NULL;
    g_autofree QPCIDevice *device = NULL;
    g_autofree char *errors = NULL;
    QPCIBus *bus;
    MockConfig mock;
    QPCIBar bar2;
    unsigned fds;

    g_assert_cmpint(rule.fd, >=, 0);
    rule.where.match = MOCK_MATCH_REGION;
    hostile_mappable_device(&mock);
    mock.rules = &rule;
    mock.num_rules = 1;
    config.mock = &mock;
    vm = vfio_user_test_vm_new(&config);
    fds = vfio_user_test_count_fds(vm->pid);
    bus = qpci_new_pc(vm->qts, NULL);
    qtest_qmp_device_add(vm->qts, "vfio-user-pci", "dev0",
                         "{'socket': %s, 'addr': '5.0'}", vm->socket_path);
    device = qpci_device_find(bus, QPCI_DEVFN(5, 0));
    qpci_config_writew(device, PCI_COMMAND, PCI_COMMAND_MEMORY);
    bar2 = qpci_iomap(device, 2, NULL);
    qpci_io_writel(device, bar2, PAGE, 0x12345678);
    g_assert_cmphex(qpci_io_readl(device, bar2, PAGE), ==, 0x12345678);
    g_assert_cmpuint(mock_journal_count(vm->mock, 0, &read), ==, 1);
    errors = vfio_user_test_errors(vm);
    g_assert_nonnull(strstr(errors, "Failed to mmap dev0 BAR 2. Performance "
                                    "may be slow"));
    qpci_unplug_acpi_device_test(vm->qts, "dev0", 5);
    g_assert_true(vfio_user_test_wait_fds(vm, fds));
    qpci_free_pc(bus);
    close(rule.fd);
}

/* The second socket that a server offers is none. */
static void test_hostile_twin(const void *data)
{
    const FileTest *test = data;
    VFIOUserTestVMConfig config = {
        .name = "guest", .machine = "pc", .no_device = true,
    };
    MockRule rule = {
        .where = MOCK_PATTERN_COMMAND(MOCK_VERSION),
        .action = MOCK_ACTION_OTHER_FDS, .fd = test->open(),
    };
    g_autoptr(VFIOUserTestVM) vm = NULL;
    MockConfig mock;
    unsigned fds;

    mock_config_init(&mock);
    mock.twin_socket = true;
    mock.rules = &rule;
    mock.num_rules = 1;
    config.mock = &mock;
    vm = vfio_user_test_vm_new(&config);
    fds = vfio_user_test_count_fds(vm->pid);
    vfio_user_test_qmp_error(vm, "VERSION: twin_socket.fd_index names no UNIX "
                             "stream socket", "{'execute': 'device_add',"
                             " 'arguments': {'driver': 'vfio-user-pci',"
                             " 'id': 'dev0', 'socket': %s}}", vm->socket_path);
    g_assert_true(vfio_user_test_wait_fds(vm, fds));
    close(rule.fd);
}

/* --- requests that make no sense --- */

static int message_read(Mock *mock, uint64_t address, size_t size)
{
    g_autofree uint8_t *bytes = g_malloc0(size);

    return mock_dma_read_by_message(mock, address, bytes, size,
                                    VFIO_USER_TEST_DEADLINE_MS);
}

static int message_write(Mock *mock, uint64_t address)
{
    return mock_dma_write_by_message(mock, address, "x", 1,
                                     VFIO_USER_TEST_DEADLINE_MS);
}

static void assert_well(Guest *guest)
{
    qtest_writeb(guest->vm->qts, BUFFER, 'x');
    g_assert_cmpint(message_write(guest->vm->mock, BUFFER), ==, 0);
    g_assert_cmphex(guest_readl(guest, MOCK_BAR0_ID), ==, MOCK_BAR0_ID_VALUE);
    vfio_user_test_assert_status(guest->vm, "running");
}

/* Registers, its own and another's, mapped from a file or not, are no memory */
static void test_hostile_dma_into_bar(const void *data)
{
    VFIOUserTestVMConfig config = {
        .name = "guest", .options = "-device edu,addr=6.0",
    };
    g_autofree QPCIDevice *edu = NULL;
    g_autoptr(Guest) guest = NULL;
    uint64_t bars[4];
    MockConfig mock;
    size_t i;

    hostile_mappable_device(&mock);
    config.mock = &mock;
    guest = guest_start_vm(&config);
    edu = qpci_device_find(guest->bus, QPCI_DEVFN(6, 0));
    qpci_device_enable(edu);
    bars[0] = guest->bar0.addr;
    bars[1] = qpci_iomap(guest->device, 2, NULL).addr + PAGE;
    bars[2] = qpci_iomap(guest->device, 4, NULL).addr;
    bars[3] = qpci_iomap(edu, 0, NULL).addr;
    for (i = 0; i < G_N_ELEMENTS(bars); i++) {
        g_assert_cmpint(message_read(guest->vm->mock, bars[i], 4), ==,
                        -EFAULT);
        g_assert_cmpint(message_write(guest->vm->mock, bars[i]), ==, -EFAULT);
        g_assert_cmpint(mock_dma_read(guest->vm->mock, bars[i], &bars[i], 1),
                        ==, -ENOENT);
    }
    assert_well(guest);
}

/* The payload of DMA_READ and DMA_WRITE: address, count, data */
typedef struct Malformed {
    uint16_t command;
    uint64_t address;
    uint64_t count;
    size_t size;                /* of the payload, count or not */
    int error;
} Malformed;

static const Malformed malformed[] = {
    { MOCK_DMA_READ, BUFFER, 8, 0, EINVAL },
    { MOCK_DMA_READ, BUFFER, 8, 8, EINVAL },
    { MOCK_DMA_READ, BUFFER, 8, 15, EINVAL },
    { MOCK_DMA_READ, BUFFER, 8, 17, EINVAL },
    { MOCK_DMA_READ, BUFFER, 0, 16, EINVAL },
    { MOCK_DMA_READ, BUFFER, MIB + 1, 16, EINVAL },
    { MOCK_DMA_READ, BUFFER, UINT32_MAX, 16, EINVAL },
    { MOCK_DMA_READ, BUFFER, UINT64_MAX, 16, EINVAL },
    { MOCK_DMA_READ, UINT64_MAX, 2, 16, EINVAL },
    { MOCK_DMA_READ, UINT64_MAX, 1, 16, EINVAL },
    { MOCK_DMA_READ, UINT64_MAX - 1, 1, 16, EFAULT },
    { MOCK_DMA_READ, VFIO_USER_TEST_RAM_SIZE - 1, 2, 16, EFAULT },
    { MOCK_DMA_WRITE, BUFFER, 8, 0, EINVAL },
    { MOCK_DMA_WRITE, BUFFER, 8, 16, EINVAL },
    { MOCK_DMA_WRITE, BUFFER, 8, 16 + 7, EINVAL },
    { MOCK_DMA_WRITE, BUFFER, 8, 16 + 9, EINVAL },
    { MOCK_DMA_WRITE, BUFFER, 0, 16, EINVAL },
    { MOCK_DMA_WRITE, BUFFER, UINT64_MAX, 16 + 8, EINVAL },
    { MOCK_DMA_WRITE, UINT64_MAX - 3, 8, 16 + 8, EINVAL },
    { MOCK_DMA_WRITE, VFIO_USER_TEST_RAM_SIZE - 4, 8, 16 + 8, EFAULT },
    { MOCK_VERSION, 0, 0, 16, ENOTSUP },
    { MOCK_DMA_MAP, 0, 0, 32, ENOTSUP },
    { MOCK_DEVICE_RESET, 0, 0, 0, ENOTSUP },
    { 0, 0, 0, 16, ENOTSUP },
    { 999, 0, 0, 16, ENOTSUP },
};

static void test_hostile_malformed(const void *data)
{
    g_autoptr(Guest) guest = guest_start(NULL, NULL);
    size_t i;

    qtest_writeq(guest->vm->qts, BUFFER, 0x7777777777777777);
    for (i = 0; i < G_N_ELEMENTS(malformed); i++) {
        const Malformed *row = &malformed[i];
        uint64_t body[8] = { cpu_to_le64(row->address),
                             cpu_to_le64(row->count) };
        int ret = mock_ask(guest->vm->mock, row->command, body, row->size,
                           VFIO_USER_TEST_DEADLINE_MS);

        if (ret != -row->error) {
            vfio_user_test_fail("row %zu, command %u: %d, not %d", i,
                                row->command, ret, -row->error);
        }
    }
    g_assert_cmphex(qtest_readq(guest->vm->qts, BUFFER), ==,
                    0x7777777777777777);
    assert_well(guest);
}

/* Longer than any message: nothing behind it can be made out. */
static void test_hostile_too_long(const void *data)
{
    VFIOUserTestVMConfig config = { .name = "guest", .keep_errors = true };
    g_autoptr(VFIOUserTestVM) vm = vfio_user_test_vm_new(&config);
    g_autofree uint8_t *body = g_malloc0(MIB + 17);

    g_assert_cmpint(mock_ask(vm->mock, MOCK_DMA_WRITE, body, MIB + 17,
                             VFIO_USER_TEST_DEADLINE_MS), ==, -ENOTCONN);
    hostile_assert_lost(vm, "DMA_WRITE: command from the server is too long "
                        "(got 1048593 bytes, limit 1048592)");
}

/* --- floods --- */

#define FLOOD 10000
#define FLOOD_PART 1000
#define FLOOD_ROUNDS 20

typedef struct Flood {
    Mock *mock;
    unsigned sent;
    unsigned good;
    int rounds;                 /* of the test's, meanwhile; atomic */
} Flood;

/* Goes on for as long as the test needs, which is what is to be seen. */
static gpointer flood_run(gpointer opaque)
{
    Flood *flood = opaque;

    while (flood->sent == flood->good &&
           (flood->sent < FLOOD ||
            g_atomic_int_get(&flood->rounds) < FLOOD_ROUNDS)) {
        flood->good += mock_flood(flood->mock, BUFFER, PAGE, FLOOD_PART, 64,
                                  VFIO_USER_TEST_DEADLINE_MS);
        flood->sent += FLOOD_PART;
    }
    return NULL;
}

/* QMP and the guest's accesses are answered meanwhile. */
static void test_hostile_flood(const void *data)
{
    g_autoptr(Guest) guest = guest_start(NULL, NULL);
    Flood flood = { .mock = guest->vm->mock };
    GThread *thread = g_thread_new("flood", flood_run, &flood);
    int i;

    for (i = 0; i < FLOOD_ROUNDS; i++) {
        vfio_user_test_assert_status(guest->vm, "running");
        g_assert_cmphex(guest_readl(guest, MOCK_BAR0_ID), ==,
                        MOCK_BAR0_ID_VALUE);
        g_atomic_int_inc(&flood.rounds);
    }
    g_thread_join(thread);
    g_test_message("%u requests", flood.sent);
    g_assert_cmpuint(flood.sent, >=, FLOOD);
    g_assert_cmpuint(flood.good, ==, flood.sent);
    assert_well(guest);
}

static gpointer flood_all(gpointer opaque)
{
    Flood *flood = opaque;

    flood->good = mock_flood(flood->mock, BUFFER, PAGE, FLOOD, FLOOD,
                             VFIO_USER_TEST_DEADLINE_MS);
    return NULL;
}

/* Who asks and does not take the answers is not waited for for ever. */
static void test_hostile_flood_unread(const void *data)
{
    VFIOUserTestVMConfig config = {
        .name = "guest", .device = "x-msg-timeout=300", .keep_errors = true,
    };
    g_autoptr(VFIOUserTestVM) vm = vfio_user_test_vm_new(&config);
    Flood flood = { .mock = vm->mock };
    GThread *thread = g_thread_new("flood", flood_all, &flood);

    hostile_assert_lost(vm, data);
    g_thread_join(thread);
    g_assert_cmpuint(flood.good, <, FLOOD);
}

/* --- registration --- */

static const struct {
    const char *path;
    void (*run)(const void *data);
    const void *data;
} hostile_tests[] = {
    { "dma/into-bar", test_hostile_dma_into_bar },
    { "dma/malformed", test_hostile_malformed },
    { "dma/too-long", test_hostile_too_long },
    { "flood/read", test_hostile_flood },
    { "flood/unread", test_hostile_flood_unread,
      "DMA_READ: server took no more data for 300 ms" },
};

void vfio_user_test_add_hostile(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(hostile_tests); i++) {
        g_autofree char *path = g_strdup_printf("/vfio-user/hostile/%s",
                                                hostile_tests[i].path);

        vfio_user_test_add(path, hostile_tests[i].run, hostile_tests[i].data);
    }
    for (i = 0; i < G_N_ELEMENTS(file_tests); i++) {
        g_autofree char *path = g_strdup_printf("/vfio-user/hostile/file/%s",
                                                file_tests[i].path);

        vfio_user_test_add(path, test_hostile_file, &file_tests[i]);
    }
    vfio_user_test_add("/vfio-user/hostile/twin-file", test_hostile_twin,
                       &file_tests[0]);
}
