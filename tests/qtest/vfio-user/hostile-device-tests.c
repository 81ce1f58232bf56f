/*
 * Hostile servers whose device cannot be, or is not what it was a moment ago:
 * descriptions of regions, config space, device_state.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "guest.h"
#include "hostile.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/pci_regs.h"

#define PAGE 0x1000
#define BAR4_SIZE 0x1000

/* --- descriptions of regions that cannot be --- */

/* An answer to DEVICE_GET_REGION_INFO with two sparse areas */
typedef struct QEMU_PACKED RegionAnswer {
    uint32_t argsz, flags, index, cap_offset;
    uint64_t size, offset;
    uint16_t id, version;
    uint32_t next, number, reserved;
    struct QEMU_PACKED {
        uint64_t offset, size;
    } areas[2];
} RegionAnswer;

#define REGION_ANSWER(index_, size_, number_, ...) \
    { .argsz = sizeof(RegionAnswer), .flags = 15, .index = (index_), \
      .cap_offset = 32, .size = (size_), .id = 1, .version = 1, \
      .number = (number_), .areas = { __VA_ARGS__ } }

static const struct {
    RegionAnswer answer;
    const char *error;
} regions[] = {
    { REGION_ANSWER(4, BAR4_SIZE, 2, { 0, PAGE }, { 0, PAGE }),
      "sparse areas 0 and 1 overlap" },
    { REGION_ANSWER(4, BAR4_SIZE, 2, { 0, PAGE }, { PAGE, PAGE }),
      "sparse area size is too large" },
    { REGION_ANSWER(4, BAR4_SIZE, 1, { 0, 2 * PAGE }),
      "sparse area size is too large" },
    { REGION_ANSWER(4, BAR4_SIZE, 1, { -(uint64_t)PAGE, 2 * PAGE }),
      "sparse area offset is too large" },
    { REGION_ANSWER(4, BAR4_SIZE, 1, { 0, -(uint64_t)PAGE }),
      "sparse area size is too large" },
    { REGION_ANSWER(4, BAR4_SIZE, 1, { 16, 16 }),
      "sparse area is not page aligned" },
    { REGION_ANSWER(4, BAR4_SIZE, UINT32_MAX, { 0, PAGE }),
      "sparse nr_areas is too large" },
    { REGION_ANSWER(5, BAR4_SIZE, 1, { 0, PAGE }), "index" },
    { REGION_ANSWER(4, 1ull << 63, 1, { 0, PAGE }), "size" },
};

/* A file that BAR4 could be mapped from, of no use to a test that fails */
static int bar4_file(uint8_t content)
{
    uint8_t bytes[2 * BAR4_SIZE];
    int fd = memfd_create("bar4", MFD_CLOEXEC);

    memset(bytes, content, sizeof(bytes));
    g_assert_cmpint(write(fd, bytes, sizeof(bytes)), ==, sizeof(bytes));
    return fd;
}

/* At first the client has room for nothing but the fixed part. */
static void add_region(MockRule *rules, const RegionAnswer *answer, int fd)
{
    const MockRule rule = {
        .where = { .command = MOCK_DEVICE_GET_REGION_INFO,
                   .match = MOCK_MATCH_REGION, .region = 4 },
        .action = MOCK_ACTION_OTHER_FDS, .fd = fd, .data = answer,
    };

    rules[0] = rules[1] = rule;
    rules[0].nth = 1;
    rules[0].data_size = offsetof(RegionAnswer, id);
    rules[1].nth = 2;
    rules[1].data_size = sizeof(*answer);
}

static void plug_badly(VFIOUserTestVM *vm, const char *error)
{
    vfio_user_test_qmp_error(vm, error, "{'execute': 'device_add',"
                             " 'arguments': {'driver': 'vfio-user-pci',"
                             " 'id': 'dev0', 'socket': %s}}", vm->socket_path);
}

static void test_hostile_regions(const void *data)
{
    VFIOUserTestVMConfig config = {
        .name = "guest", .machine = "pc", .no_device = true,
    };
    g_autoptr(VFIOUserTestVM) vm = vfio_user_test_vm_new(&config);
    unsigned fds = vfio_user_test_count_fds(vm->pid);
    int fd = bar4_file(0);
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(regions); i++) {
        MockRule rules[2];

        add_region(rules, &regions[i].answer, fd);
        mock_clear_rules(vm->mock);
        mock_add_rules(vm->mock, rules, G_N_ELEMENTS(rules));
        plug_badly(vm, regions[i].error);
        g_assert_true(vfio_user_test_wait_fds(vm, fds));
    }
    close(fd);
}

/* What is mapped over the MSI-X table is QEMU's table all the same. */
static void test_hostile_msix_mapped(const void *data)
{
    /* all of it would be cut to size by hw/vfio */
    static const RegionAnswer answer =
        REGION_ANSWER(4, 2 * BAR4_SIZE, 1, { 0, PAGE });
    int fd = bar4_file(0x66);
    VFIOUserTestVMConfig config = { .name = "guest" };
    g_autoptr(Guest) guest = NULL;
    uint8_t file[16];
    MockRule rules[2];
    MockConfig mock;
    QPCIBar bar4;

    add_region(rules, &answer, fd);
    mock_config_init(&mock);
    mock.rules = rules;
    mock.num_rules = G_N_ELEMENTS(rules);
    config.mock = &mock;
    guest = guest_start_vm(&config);
    bar4 = qpci_iomap(guest->device, 4, NULL);
    /* behind table and PBA it is the server's */
    g_assert_cmphex(qpci_io_readl(guest->device, bar4, 0xc00), ==, 0x66666666);
    g_assert_cmphex(qpci_io_readl(guest->device, bar4, 0), ==, 0);
    g_assert_cmphex(qpci_io_readl(guest->device, bar4,
                                  PCI_MSIX_ENTRY_VECTOR_CTRL), ==,
                    PCI_MSIX_ENTRY_CTRL_MASKBIT);
    qpci_io_writel(guest->device, bar4, 0, 0xfee00000);
    g_assert_cmphex(qpci_io_readl(guest->device, bar4, 0), ==, 0xfee00000);
    g_assert_cmpint(pread(fd, file, sizeof(file), 0), ==, sizeof(file));
    g_assert_cmphex(ldl_le_p(file), ==, 0x66666666);
    close(fd);
}

/* --- config space that QEMU would not survive --- */

/* The device as it is when it is checked, and each time in one piece */
typedef struct QEMU_PACKED WholeAnswer {
    uint64_t offset;
    uint32_t region, count;
    uint8_t config[PCI_CFG_SPACE_EXP_SIZE];
} WholeAnswer;

/* For config space of @size bytes */
#define WHOLE_ANSWER(size) { .region = MOCK_REGION_CONFIG, .count = (size) }
#define WHOLE_RULE(number, answer, size) \
    { .where = { .command = MOCK_REGION_READ, \
                 .match = MOCK_MATCH_REGION | MOCK_MATCH_COUNT, \
                 .region = MOCK_REGION_CONFIG, .count = (size) }, \
      .nth = (number), .action = MOCK_ACTION_REPLY, .data = &(answer), \
      .data_size = offsetof(WholeAnswer, config) + (size) }

/* The first word is where the list starts, if that can be. */
static const struct {
    struct {
        uint16_t at;
        uint32_t value;
    } words[2];
    const char *error;
} spaces[] = {
    { { { 0x40, 0x000c0005 } }, "MSI: too many vectors" },
    { { { 0xf8, 0x00000005 } }, "capability 0x5 at 0xf8 does not fit" },
    { { { 0xf4, 0x00800005 } }, "capability 0x5 at 0xf4 does not fit" },
    { { { 0xf0, 0x01000005 } }, "capability 0x5 at 0xf0 does not fit" },
    { { { 0xfc, 0x00000001 } }, "capability 0x1 at 0xfc does not fit" },
    { { { 0xf0, 0x00020010 } }, "capability 0x10 at 0xf0 does not fit" },
    { { { PCI_VENDOR_ID, 0x816810ec } },
      "device 0x10ec:0x8168 cannot be without BAR 2" },
    { { { PCI_VENDOR_ID, 0x123410de }, { PCI_CLASS_REVISION, 0x03000000 } },
      "device 0x10de:0x1234 cannot be without BAR 0" },
    { { { PCI_VENDOR_ID, 0x201d8086 } },
      "device 0x8086:0x201d cannot be without the host's driver" },
    { { { 0x100, 0x10410003 }, { 0x104, 0x0001000b } },
      "extended capability at 0x100 does not fit" },
    { { { 0x100, 0xffc10003 }, { 0xffc, 0x0001000b } },
      "extended capability at 0xffc does not fit" },
};

static void test_hostile_config_space(const void *data)
{
    static WholeAnswer answer = WHOLE_ANSWER(PCI_CFG_SPACE_EXP_SIZE);
    static const MockRule rule = WHOLE_RULE(0, answer, PCI_CFG_SPACE_EXP_SIZE);
    VFIOUserTestVMConfig config = {
        .name = "guest", .machine = "pc", .no_device = true,
    };
    g_autoptr(VFIOUserTestVM) vm = NULL;
    MockConfig mock;
    size_t i, j;

    mock_config_init(&mock);
    mock.config_size = PCI_CFG_SPACE_EXP_SIZE;
    mock.bar0_size = 0;
    config.mock = &mock;
    vm = vfio_user_test_vm_new(&config);
    for (i = 0; i < G_N_ELEMENTS(spaces); i++) {
        memset(answer.config, 0, sizeof(answer.config));
        if (spaces[i].words[0].at >= PCI_STD_HEADER_SIZEOF &&
            spaces[i].words[0].at < PCI_CFG_SPACE_SIZE) {
            answer.config[PCI_STATUS] = PCI_STATUS_CAP_LIST;
            answer.config[PCI_CAPABILITY_LIST] = spaces[i].words[0].at;
        }
        for (j = 0; j < 2; j++) {
            if (spaces[i].words[j].value) {
                stl_le_p(answer.config + spaces[i].words[j].at,
                         spaces[i].words[j].value);
            }
        }
        mock_clear_rules(vm->mock);
        mock_add_rules(vm->mock, &rule, 1);
        plug_badly(vm, spaces[i].error);
    }
}

/* --- config space that changes --- */

/* An answer to REGION_READ of four bytes */
typedef struct QEMU_PACKED ConfigAnswer {
    uint64_t offset;
    uint32_t region, count, value;
} ConfigAnswer;

#define CONFIG_RULE(offset_, number, value_) \
    { .where = { .command = MOCK_REGION_READ, \
                 .match = MOCK_MATCH_REGION | MOCK_MATCH_OFFSET | \
                          MOCK_MATCH_COUNT, \
                 .region = MOCK_REGION_CONFIG, .offset = (offset_), \
                 .count = 4 }, \
      .nth = (number), .action = MOCK_ACTION_REPLY, \
      .data = &(const ConfigAnswer) { (offset_), MOCK_REGION_CONFIG, 4, \
                                      (value_) }, \
      .data_size = sizeof(ConfigAnswer) }

#define MSIX_CAPABILITY 0x40    /* as the mock's device has it */

static const MockRule changes[] = {
    CONFIG_RULE(PCI_BASE_ADDRESS_0, 0, 1),
    CONFIG_RULE(PCI_BASE_ADDRESS_4, 0, 4),
    CONFIG_RULE(PCI_BASE_ADDRESS_5, 0, 4),
    CONFIG_RULE(MSIX_CAPABILITY + PCI_MSIX_TABLE, 0, 7),
    CONFIG_RULE(MSIX_CAPABILITY + PCI_MSIX_PBA, 0, UINT32_MAX),
    CONFIG_RULE(PCI_ROM_ADDRESS, 0, 0x1801),
};

/*
 * The first look finds what the mock has. Whatever comes then is another
 * device, which QEMU would not have taken, or not survived.
 */
static void test_hostile_config_changes(const void *data)
{
    static WholeAnswer nonsense = WHOLE_ANSWER(PCI_CFG_SPACE_SIZE);
    const MockRule whole = WHOLE_RULE(2, nonsense, PCI_CFG_SPACE_SIZE);
    g_autoptr(GArray) rules = g_array_new(false, false, sizeof(MockRule));
    VFIOUserTestVMConfig config = { .name = "guest" };
    g_autoptr(Guest) guest = NULL;
    MockConfig mock;
    uint8_t msix;

    memset(nonsense.config, 0xff, sizeof(nonsense.config));
    nonsense.config[PCI_HEADER_TYPE] = PCI_HEADER_TYPE_BRIDGE;
    g_array_append_vals(rules, changes, G_N_ELEMENTS(changes));
    g_array_append_vals(rules, &whole, 1);
    mock_config_init(&mock);
    mock.bar2_size = 0x4000;
    mock.rules = (MockRule *)rules->data;
    mock.num_rules = rules->len;
    config.mock = &mock;
    guest = guest_start_vm(&config);
    g_assert_cmphex(guest_readl(guest, MOCK_BAR0_ID), ==, MOCK_BAR0_ID_VALUE);
    g_assert_cmphex(qpci_config_readw(guest->device, PCI_DEVICE_ID), ==,
                    MOCK_PCI_DEVICE_ID);
    g_assert_cmphex(qpci_config_readb(guest->device, PCI_HEADER_TYPE), ==, 0);
    msix = qpci_find_capability(guest->device, PCI_CAP_ID_MSIX, 0);
    g_assert_cmphex(msix, ==, MSIX_CAPABILITY);
    g_assert_cmphex(qpci_config_readl(guest->device, msix + PCI_MSIX_TABLE),
                    ==, 4);
}

/*
 * A device without an interrupt pin, which has got one after all when it is
 * reset: the next reset would take down what was not set up for it.
 */
static void test_hostile_late_pin(const void *data)
{
    static const WholeAnswer no_pin = WHOLE_ANSWER(PCI_CFG_SPACE_SIZE);
    static const MockRule rule = WHOLE_RULE(1, no_pin, PCI_CFG_SPACE_SIZE);
    MockConfig mock;
    VFIOUserTestVMConfig config = { .name = "guest", .mock = &mock };
    g_autoptr(VFIOUserTestVM) vm = NULL;
    int i;

    mock_config_init(&mock);
    mock.num_rules = 1;
    mock.rules = &rule;
    vm = vfio_user_test_vm_new(&config);
    for (i = 0; i < 2; i++) {
        vfio_user_test_qmp(vm, "{'execute': 'system_reset'}");
        qtest_qmp_eventwait(vm->qts, "RESET");
    }
}

/* --- a register that says anything --- */

static const ConfigAnswer state_nonsense = {
    MOCK_MIG_DEVICE_STATE, MOCK_REGION_MIGRATION, 4, 0x77777777,
};

/* The source refuses to stop, and has a state that there is not. */
static const VFIOUserMigrationTest nonsense_state = {
    .source_rules = {
        { .where = MOCK_PATTERN_STATE_WRITE(MOCK_STATE_STOP_COPY), .nth = 1,
          .action = MOCK_ACTION_ERROR, .error = EIO },
        { .where = MOCK_PATTERN_STATE_READ(), .nth = 1,
          .action = MOCK_ACTION_REPLY, .data = &state_nonsense,
          .data_size = sizeof(state_nonsense) },
    },
    /* higher bits are written back as they were read: 0x77777771 */
    .source_states = "W3 W2! R W2004318065! R W1",
    .destination_states = "W4",
    .result = VFIO_USER_TEST_FAILED,
    .error = "dev0: device_state",
};

/* --- registration --- */

static const struct {
    const char *path;
    void (*run)(const void *data);
    const void *data;
} hostile_device_tests[] = {
    { "regions", test_hostile_regions },
    { "msix-mapped", test_hostile_msix_mapped },
    { "config-space", test_hostile_config_space },
    { "late-pin", test_hostile_late_pin },
    { "config-changes", test_hostile_config_changes },
    { "state-nonsense", vfio_user_test_migration, &nonsense_state },
};

void vfio_user_test_add_hostile_device(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(hostile_device_tests); i++) {
        g_autofree char *path = g_strdup_printf("/vfio-user/hostile/%s",
                                                hostile_device_tests[i].path);

        vfio_user_test_add(path, hostile_device_tests[i].run,
                           hostile_device_tests[i].data);
    }
}
