/*
 * Guest memory as the server reaches it: what is mapped for it, and what it
 * reads and writes by message.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "guest.h"
#include "qemu/bswap.h"

#define MIB (1024 * 1024)
#define PAGE 0x1000
#define BUFFER 0x00300000

/* q35's host bridge: PAM0 to PAM6 say what is at 0xc0000 to 0xfffff */
#define PAM1 0x91

static const MockPattern map = MOCK_PATTERN_COMMAND(MOCK_DMA_MAP);
static const MockPattern map_reply = {
    .direction = MOCK_S2C, .type = MOCK_TYPE_REPLY, .command = MOCK_DMA_MAP,
};
static const MockPattern unmap = MOCK_PATTERN_COMMAND(MOCK_DMA_UNMAP);
static const MockPattern unmap_reply = {
    .direction = MOCK_S2C, .type = MOCK_TYPE_REPLY, .command = MOCK_DMA_UNMAP,
};

static int message_read(Mock *mock, uint64_t address, void *buffer,
                        size_t size)
{
    return mock_dma_read_by_message(mock, address, buffer, size,
                                    VFIO_USER_TEST_DEADLINE_MS);
}

static int message_write(Mock *mock, uint64_t address, const void *buffer,
                         size_t size)
{
    return mock_dma_write_by_message(mock, address, buffer, size,
                                     VFIO_USER_TEST_DEADLINE_MS);
}

/* What the guest writes the server reads, and the other way */
static void assert_reaches(VFIOUserTestVM *vm, uint64_t address)
{
    uint64_t value = 0x1000000000000000ull | address, seen = 0;

    qtest_writeq(vm->qts, address, value);
    g_assert_cmpint(message_read(vm->mock, address, &seen, sizeof(seen)), ==,
                    0);
    g_assert_cmphex(le64_to_cpu(seen), ==, value);
    seen = cpu_to_le64(~value);
    g_assert_cmpint(message_write(vm->mock, address, &seen, sizeof(seen)), ==,
                    0);
    g_assert_cmphex(qtest_readq(vm->qts, address), ==, ~value);
}

static void assert_all_reached(VFIOUserTestVM *vm)
{
    uint64_t address;

    assert_reaches(vm, 0);
    assert_reaches(vm, 0xa0000 - PAGE);
    for (address = 0x100000; address < VFIO_USER_TEST_RAM_SIZE;
         address += 8 * MIB) {
        assert_reaches(vm, address);
    }
    assert_reaches(vm, VFIO_USER_TEST_RAM_SIZE - 8);
}

/* --- by message --- */

static void test_dma_message(const void *data)
{
    VFIOUserTestVMConfig config = { .name = "guest" };
    g_autoptr(VFIOUserTestVM) vm = vfio_user_test_vm_new(&config);

    assert_all_reached(vm);
}

/* No file descriptor leaves QEMU, and the device does not miss any */
static void test_dma_secure(const void *data)
{
    static const MockPattern with_fd = {
        .command = MOCK_DMA_MAP, .match = MOCK_MATCH_FDS, .fds = 1,
    };
    VFIOUserTestVMConfig config = {
        .name = "guest", .device = "secure-dma=on",
    };
    g_autoptr(VFIOUserTestVM) vm = vfio_user_test_vm_new(&config);
    uint64_t value;

    g_assert_cmpuint(mock_dma_region_count(vm->mock), >, 0);
    g_assert_cmpuint(mock_journal_count(vm->mock, 0, &with_fd), ==, 0);
    g_assert_cmpint(mock_dma_read(vm->mock, BUFFER, &value, 8), ==, -ENODEV);
    assert_all_reached(vm);
}

/* Memory as it is without an option, private to QEMU */
static void test_dma_private_ram(const void *data)
{
    VFIOUserTestVMConfig config = { .name = "guest", .private_ram = true };
    g_autoptr(VFIOUserTestVM) vm = vfio_user_test_vm_new(&config);
    uint64_t value;

    g_assert_cmpint(mock_dma_read(vm->mock, BUFFER, &value, 8), ==, -ENODEV);
    assert_all_reached(vm);
}

/* The end of the memory below 1 MiB is a ROM; what is read goes on into it */
static void test_dma_adjacent(const void *data)
{
    VFIOUserTestVMConfig config = { .name = "guest" };
    g_autoptr(VFIOUserTestVM) vm = vfio_user_test_vm_new(&config);
    uint8_t here[32], there[32];

    qtest_writeq(vm->qts, 0x100000, 0x1122334455667788ull);
    qtest_memread(vm->qts, 0x100000 - 16, here, sizeof(here));
    g_assert_cmpint(mock_dma_read(vm->mock, 0x100000 - 16, there, 32), ==,
                    -ENOENT);
    g_assert_cmpint(message_read(vm->mock, 0x100000 - 16, there, 32), ==, 0);
    g_assert_cmpmem(here, sizeof(here), there, sizeof(there));

    /* not to be written, then, nor the half that might be */
    g_assert_cmpint(message_write(vm->mock, 0x100000 - 16, there, 32), ==,
                    -EACCES);
    memset(there, 0, sizeof(there));
    g_assert_cmpint(message_write(vm->mock, 0x100000 - 16, there, 32), ==,
                    -EACCES);
    g_assert_cmphex(qtest_readq(vm->qts, 0x100000), ==, 0x1122334455667788ull);
}

static void test_dma_refused(const void *data)
{
    VFIOUserTestVMConfig config = { .name = "guest" };
    g_autoptr(VFIOUserTestVM) vm = vfio_user_test_vm_new(&config);
    g_autofree uint8_t *bytes = g_malloc0(MIB + 1);
    const uint64_t end = VFIO_USER_TEST_RAM_SIZE;
    Mock *mock = vm->mock;

    g_assert_cmpint(message_read(mock, end, bytes, 8), ==, -EFAULT);
    g_assert_cmpint(message_write(mock, end, bytes, 8), ==, -EFAULT);
    g_assert_cmpint(message_read(mock, end - 4, bytes, 8), ==, -EFAULT);
    g_assert_cmpint(message_write(mock, end - 4, bytes, 8), ==, -EFAULT);
    /* firmware; and the interrupt controller, which is no memory */
    g_assert_cmpint(message_read(mock, 0xfffffff0, bytes, 8), ==, 0);
    g_assert_cmpint(message_write(mock, 0xfffffff0, bytes, 8), ==, -EACCES);
    g_assert_cmpint(message_read(mock, 0xfec00000, bytes, 4), ==, -EFAULT);
    g_assert_cmpint(message_write(mock, 0xfee00000, bytes, 4), ==, -EFAULT);

    g_assert_cmpint(message_read(mock, BUFFER, bytes, 0), ==, -EINVAL);
    g_assert_cmpint(message_write(mock, BUFFER, bytes, 0), ==, -EINVAL);
    g_assert_cmpint(message_read(mock, BUFFER, bytes, MIB), ==, 0);
    g_assert_cmpint(message_write(mock, BUFFER, bytes, MIB), ==, 0);
    g_assert_cmpint(message_read(mock, BUFFER, bytes, MIB + 1), ==, -EINVAL);
    g_assert_cmpint(message_read(mock, UINT64_MAX - 3, bytes, 8), ==,
                    -EINVAL);
    /* none of this has hurt the connection */
    assert_reaches(vm, BUFFER);
}

/*
 * The server asks for memory before it answers the guest's access, which waits
 * with QEMU's big lock: it must get its answer meanwhile.
 */
static void test_dma_in_access(const void *data)
{
    const char *properties = data;
    g_autoptr(Guest) guest = guest_start(NULL, properties);
    QTestState *qts = guest->vm->qts;
    uint32_t size = 3 * MIB + 5;

    qtest_writeb(qts, BUFFER + size, 0xff);
    guest_dma(guest, BUFFER, size, 0x5a, MOCK_DMA_FILL | MOCK_DMA_BY_MESSAGE);
    g_assert_cmphex(guest_readl(guest, MOCK_BAR0_DMA_STATUS), ==, 0);
    g_assert_cmphex(qtest_readl(qts, BUFFER), ==, 0x5a5a5a5a);
    g_assert_cmphex(qtest_readl(qts, BUFFER + size - 3), ==, 0xff5a5a5a);

    qtest_writeb(qts, BUFFER + 7, 0x5b);
    guest_dma(guest, BUFFER, size, 0, MOCK_DMA_SUM | MOCK_DMA_BY_MESSAGE);
    g_assert_cmphex(guest_readl(guest, MOCK_BAR0_DMA_STATUS), ==, 0);
    g_assert_cmphex(guest_readl(guest, MOCK_BAR0_DMA_RESULT), ==,
                    0x5a * size + 1);

    guest_dma(guest, VFIO_USER_TEST_RAM_SIZE - PAGE, 2 * PAGE, 0x5a,
              MOCK_DMA_FILL | MOCK_DMA_BY_MESSAGE);
    g_assert_cmphex(guest_readl(guest, MOCK_BAR0_DMA_STATUS), ==, EFAULT);
}

/* Commands of the server and their answers, and nothing else, on the twin */
static void test_dma_twin(const void *data)
{
    VFIOUserTestVMConfig config = {
        .name = "guest", .device = "x-no-posted-writes=on",
    };
    g_autoptr(Guest) guest = NULL;
    MockConfig mock;
    MockEntry entry;
    unsigned i;

    mock_config_init(&mock);
    mock.twin_socket = true;
    config.mock = &mock;
    guest = guest_start_vm(&config);
    assert_all_reached(guest->vm);
    guest_dma(guest, BUFFER, 3 * MIB, 0x5a,
              MOCK_DMA_FILL | MOCK_DMA_BY_MESSAGE);
    g_assert_cmphex(guest_readl(guest, MOCK_BAR0_DMA_STATUS), ==, 0);
    g_assert_cmphex(qtest_readl(guest->vm->qts, BUFFER), ==, 0x5a5a5a5a);
    for (i = 0; mock_journal_get(guest->vm->mock, i, &entry); i++) {
        g_assert_cmpint(entry.twin, ==, entry.command == MOCK_DMA_READ ||
                                        entry.command == MOCK_DMA_WRITE);
    }
}

/* --- maps in one go --- */

/* The first @commands of these came before the first of the replies went. */
static void assert_pipelined(Mock *mock, unsigned from,
                             const MockPattern *command, unsigned commands,
                             const MockPattern *reply)
{
    int last, first;

    last = mock_journal_wait(mock, from, command, commands, 0);
    first = mock_journal_wait(mock, from, reply, 1, 0);
    g_assert_cmpint(last, >=, 0);
    g_assert_cmpint(first, >, last);
}

static void test_dma_pipelined_realize(const void *data)
{
    static const MockRule slow = {
        .where = MOCK_PATTERN_COMMAND(MOCK_DMA_MAP), .nth = 1,
        .action = MOCK_ACTION_DELAY, .delay_ms = 500,
    };
    g_autoptr(VFIOUserTestVM) vm = NULL;
    VFIOUserTestVMConfig config = { .name = "guest" };
    MockConfig mock;

    mock_config_init(&mock);
    mock.rules = &slow;
    mock.num_rules = 1;
    config.mock = &mock;
    vm = vfio_user_test_vm_new(&config);
    /* RAM and firmware; the rest comes with the machine's reset */
    assert_pipelined(vm->mock, 0, &map, 2, &map_reply);
}

/* --- changes at run time --- */

static QPCIDevice *find_bridge(Guest *guest)
{
    QPCIDevice *bridge = qpci_device_find(guest->bus, QPCI_DEVFN(0, 0));

    g_assert_nonnull(bridge);
    return bridge;
}

/*
 * Have RAM at 0xc0000 to 0xc7fff, where a ROM was: the memory from 0 on has
 * another size then, so it is unmapped and mapped anew.
 */
static void show_shadow_ram(Guest *guest, bool show)
{
    g_autofree QPCIDevice *bridge = find_bridge(guest);

    qpci_config_writeb(bridge, PAM1, show ? 0x33 : 0);
}

static void test_dma_pipelined_change(const void *data)
{
    static const MockRule slow = {
        .where = MOCK_PATTERN_COMMAND(MOCK_DMA_UNMAP), .nth = 1,
        .action = MOCK_ACTION_DELAY, .delay_ms = 500,
    };
    g_autoptr(Guest) guest = guest_start(NULL, NULL);
    VFIOUserTestVM *vm = guest->vm;
    unsigned unmaps, maps;

    vm->mark = mock_journal_length(vm->mock);
    g_assert_cmpint(message_write(vm->mock, 0xc0000, "x", 1), ==, -EACCES);
    mock_add_rules(vm->mock, &slow, 1);
    show_shadow_ram(guest, true);
    unmaps = mock_journal_count(vm->mock, vm->mark, &unmap);
    maps = mock_journal_count(vm->mock, vm->mark, &map);
    g_assert_cmpuint(unmaps, >, 0);
    g_assert_cmpuint(maps, >, 0);
    assert_pipelined(vm->mock, vm->mark, &unmap, unmaps, &unmap_reply);
    assert_pipelined(vm->mock, vm->mark, &map, maps, &unmap_reply);
    assert_reaches(vm, 0xc0000);
    assert_reaches(vm, 0);
}

/* With x-send-queued nothing is sent before there is an answer. */
static void test_dma_queued(const void *data)
{
    static const MockRule slow = {
        .where = MOCK_PATTERN_COMMAND(MOCK_DMA_UNMAP), .nth = 1,
        .action = MOCK_ACTION_DELAY, .delay_ms = 50,
    };
    g_autoptr(Guest) guest = guest_start(NULL, "x-send-queued=on");
    VFIOUserTestVM *vm = guest->vm;
    unsigned i, sent = 0, answered = 0;
    MockEntry entry;

    mock_add_rules(vm->mock, &slow, 1);
    guest_dma(guest, BUFFER, PAGE, 1, MOCK_DMA_FILL);
    show_shadow_ram(guest, true);
    assert_reaches(vm, 0xc0000);
    for (i = 0; mock_journal_get(vm->mock, i, &entry); i++) {
        if (entry.command != MOCK_DMA_READ &&
            entry.command != MOCK_DMA_WRITE) {
            sent += entry.direction == MOCK_C2S;
            answered += entry.direction == MOCK_S2C;
            g_assert_cmpuint(sent - answered, <=, 1);
        }
    }
    g_assert_cmpuint(sent, ==, answered);
}

/* One map is refused: the guest runs on without it, for messages too */
static void test_dma_refused_map(const void *data)
{
    static const MockRule refuse = {
        .where = MOCK_PATTERN_COMMAND(MOCK_DMA_MAP), .nth = 1,
        .action = MOCK_ACTION_ERROR, .error = ENOMEM,
    };
    g_autoptr(Guest) guest = guest_start(NULL, NULL);
    VFIOUserTestVM *vm = guest->vm;
    uint64_t value = 0;

    vm->mark = mock_journal_length(vm->mock);
    mock_add_rules(vm->mock, &refuse, 1);
    show_shadow_ram(guest, true);
    g_assert_cmpint(message_read(vm->mock, 0x1000, &value, 8), ==, -EFAULT);
    vfio_user_test_assert_status(vm, "running");
    assert_reaches(vm, BUFFER);
    /* it was no mapping, so the next change does not unmap it */
    show_shadow_ram(guest, false);
    assert_reaches(vm, 0x1000);
    g_assert_cmpuint(vfio_user_test_count_refusals(vm, vm->mark), ==, 0);
}

/*
 * A stopped device is told nothing. What is mapped for it meanwhile is not
 * there for it before it is told; what is unmapped is gone at once.
 */
static void test_dma_stopped(const void *data)
{
    g_autoptr(Guest) guest = guest_start(NULL, NULL);
    VFIOUserTestVM *vm = guest->vm;
    uint64_t value = 0;

    vfio_user_test_qmp(vm, "{'execute': 'stop'}");
    vm->mark = mock_journal_length(vm->mock);
    g_assert_cmpint(message_read(vm->mock, 0x1000, &value, 8), ==, 0);
    show_shadow_ram(guest, true);
    g_assert_cmpuint(mock_journal_count(vm->mock, vm->mark, &map), ==, 0);
    g_assert_cmpuint(mock_journal_count(vm->mock, vm->mark, &unmap), ==, 0);
    g_assert_cmpint(message_read(vm->mock, 0x1000, &value, 8), ==, -EFAULT);
    vfio_user_test_qmp(vm, "{'execute': 'cont'}");
    vfio_user_test_settle(vm);
    assert_reaches(vm, 0x1000);
    assert_reaches(vm, 0xc0000);
    g_assert_cmpuint(mock_journal_count(vm->mock, vm->mark, &unmap), >, 0);
}

/* --- too many --- */

typedef struct TooManyTest {
    const char *path;
    const char *capabilities;
    unsigned max_dma_regions;
    const char *error;
} TooManyTest;

static const TooManyTest too_many_tests[] = {
    {
        .path = "told",
        .capabilities = "{\"capabilities\":{\"max_dma_maps\":1}}",
        .error = ", is out of the device's reach as mapping 2: server holds "
                 "no more mappings (max_dma_maps 1)\n",
    }, {
        .path = "not-told",
        .max_dma_regions = 1,
        .error = ", is out of the device's reach as mapping 2: ",
    },
};

/* QEMU says so in one line that names what does not fit, and does not start */
static void test_dma_too_many(const void *data)
{
    const TooManyTest *test = data;
    g_autoptr(Mock) mock = NULL;
    g_autofree char *dir = g_dir_make_tmp("vfio-user-test-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "device", NULL);
    g_autofree char *args = NULL, *errors = NULL;
    MockConfig config;

    mock_config_init(&config);
    config.capabilities = test->capabilities;
    config.max_dma_regions = test->max_dma_regions;
    mock = mock_new(&config, NULL);
    g_assert_true(mock_start(mock, path, NULL));
    args = g_strdup_printf("-machine q35 -nodefaults "
                           "-device vfio-user-pci,socket=%s", path);
    g_assert_cmpint(vfio_user_test_run_qemu(args, &errors), ==, 1);
    g_test_message("%s", errors);
    g_assert_nonnull(strstr(errors, test->error));
    g_assert_true(strchr(errors, '\n') == errors + strlen(errors) - 1);
    mock_stop(mock);
    rmdir(dir);
}

static const struct {
    const char *path;
    void (*run)(const void *data);
    const void *data;
} dma_tests[] = {
    { "message/shared-ram", test_dma_message },
    { "message/secure", test_dma_secure },
    { "message/private-ram", test_dma_private_ram },
    { "message/adjacent", test_dma_adjacent },
    { "message/refused", test_dma_refused },
    { "message/in-access", test_dma_in_access, "x-no-posted-writes=on" },
    { "message/after-posted-write", test_dma_in_access,
      "x-no-posted-writes=off" },
    { "message/in-access/secure", test_dma_in_access,
      "x-no-posted-writes=on,secure-dma=on" },
    { "message/twin", test_dma_twin },
    { "pipelined/realize", test_dma_pipelined_realize },
    { "pipelined/change", test_dma_pipelined_change },
    { "queued", test_dma_queued },
    { "refused-map", test_dma_refused_map },
    { "stopped", test_dma_stopped },
    { "too-many/told", test_dma_too_many, &too_many_tests[0] },
    { "too-many/not-told", test_dma_too_many, &too_many_tests[1] },
};

void vfio_user_test_add_dma(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(dma_tests); i++) {
        g_autofree char *path = g_strdup_printf("/vfio-user/dma/%s",
                                                dma_tests[i].path);

        vfio_user_test_add(path, dma_tests[i].run, dma_tests[i].data);
    }
}
