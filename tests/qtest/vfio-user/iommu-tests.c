/*
 * Guest memory as an IOMMU of the guest's shows it to the device: what is
 * mapped for the server is what the guest's tables say.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "reach.h"
#include "reconnect.h"
#include "standard-headers/linux/pci_regs.h"
#include "steps.h"
#include "vtd.h"

#define MIB (1024 * 1024)
#define PAGE 0x1000
#define RAM_SIZE (32 * MIB)
#define DEVFN (VFIO_USER_TEST_DEVICE_SLOT << 3)

/* Of a device behind the root port, on bus 1 */
#define PLUGGED_DEVFN 0
#define ROOT_PORT_SLOT 7

#define TABLES 0x00400000

/* In the guest's memory, and where the device has it */
#define DATA 0x00801000
#define DATA_IOVA 0x00200000
#define TEXT 0x00900000
#define TEXT_IOVA 0x00201000
#define LARGE 0x01000000
#define LARGE_IOVA 0x00400000
#define HIGH 0x00a02000
#define HIGH_IOVA 0x100000000ull
#define OTHER 0x00b03000

#define MAPPED \
    "map 200000+1000 rw, map 201000+1000 r, map 400000+200000 rw, " \
    "map 100000000+1000 rw"

#define IOMMU "-device intel-iommu,caching-mode=on"

typedef struct IOMMUGuest {
    VTD vtd;
    VTDDomain domain;
} IOMMUGuest;

/* Translation, with a page that is read only, a large one and one far up. */
static void translate(IOMMUGuest *guest, VFIOUserTestVM *vm)
{
    const VTDDomain *domain = &guest->domain;
    VTD *vtd = &guest->vtd;

    vtd_init(vtd, vm->qts, TABLES);
    vtd_domain_init(vtd, &guest->domain, 1);
    vtd_set_page(vtd, domain, DATA_IOVA, DATA, VTD_READ | VTD_WRITE);
    vtd_set_page(vtd, domain, TEXT_IOVA, TEXT, VTD_READ);
    vtd_set_page(vtd, domain, LARGE_IOVA, LARGE,
                 VTD_READ | VTD_WRITE | VTD_LARGE);
    vtd_set_page(vtd, domain, HIGH_IOVA, HIGH, VTD_READ | VTD_WRITE);
    vtd_attach(vtd, DEVFN, domain);
    vtd_attach(vtd, PLUGGED_DEVFN, domain);
    vtd_enable(vtd, true);
}

/* Change the entry for one page, and say so. */
static void change_page(IOMMUGuest *guest, uint64_t iova, uint64_t address,
                        uint64_t flags)
{
    vtd_set_page(&guest->vtd, &guest->domain, iova, address, flags);
    vtd_invalidate(&guest->vtd, &guest->domain, iova, 0);
}

static VFIOUserTestVM *start_vm_with(const char *device)
{
    VFIOUserTestVMConfig config = {
        .name = "guest", .early_options = IOMMU, .ram_size = RAM_SIZE,
        .device = device,
    };
    VFIOUserTestVM *vm = vfio_user_test_vm_new(&config);

    vm->mark = mock_journal_length(vm->mock);
    return vm;
}

static VFIOUserTestVM *start_vm(void)
{
    return start_vm_with(NULL);
}

static void assert_translated(VFIOUserTestVM *vm)
{
    reach_assert(vm, DATA_IOVA, DATA);
    reach_assert_read_only(vm, TEXT_IOVA, TEXT);
    reach_assert(vm, LARGE_IOVA, LARGE);
    reach_assert(vm, LARGE_IOVA + 2 * MIB - 8, LARGE + 2 * MIB - 8);
    reach_assert(vm, HIGH_IOVA, HIGH);
    reach_assert_nothing(vm, DATA_IOVA - 8);
    reach_assert_nothing(vm, LARGE_IOVA + 2 * MIB);
    reach_assert_nothing(vm, DATA);
    g_assert_cmpuint(mock_dma_region_count(vm->mock), ==, 4);
}

/* As without IOMMU */
static void assert_plain(VFIOUserTestVM *vm, unsigned mappings)
{
    bool has_fd = false;

    g_assert_cmpuint(mock_dma_region_count(vm->mock), ==, mappings);
    g_assert_true(mock_dma_is_mapped(vm->mock, MIB, RAM_SIZE - MIB, &has_fd));
    g_assert_true(has_fd);
    reach_assert(vm, DATA, DATA);
    reach_assert(vm, RAM_SIZE - 8, RAM_SIZE - 8);
    reach_assert_nothing(vm, HIGH_IOVA);
}

static void test_iommu_translate(const void *data)
{
    static const MockPattern unmap = MOCK_PATTERN_COMMAND(MOCK_DMA_UNMAP);
    g_autoptr(VFIOUserTestVM) vm = start_vm();
    unsigned plain = mock_dma_region_count(vm->mock), mark = vm->mark;
    IOMMUGuest guest;

    assert_plain(vm, plain);
    translate(&guest, vm);
    g_assert_cmpuint(mock_journal_count(vm->mock, mark, &unmap), ==, plain);
    reach_assert_maps(vm, MAPPED);
    assert_translated(vm);

    vtd_enable(&guest.vtd, false);
    assert_plain(vm, plain);
    vm->mark = mock_journal_length(vm->mock);
    vtd_enable(&guest.vtd, true);
    reach_assert_maps(vm, MAPPED);
    assert_translated(vm);
    vfio_user_test_qmp(vm, "{'execute': 'system_reset'}");
    qtest_qmp_eventwait(vm->qts, "RESET");
    vfio_user_test_settle(vm);
    assert_plain(vm, plain);
    g_assert_cmpuint(vfio_user_test_count_refusals(vm, mark), ==, 0);
}

/* What the guest does not invalidate may stay, and only what it does goes. */
static void test_iommu_invalidate(const void *data)
{
    g_autoptr(VFIOUserTestVM) vm = start_vm();
    IOMMUGuest guest;
    unsigned mark;

    translate(&guest, vm);
    mark = vm->mark = mock_journal_length(vm->mock);

    vtd_set_page(&guest.vtd, &guest.domain, DATA_IOVA, 0, 0);
    vtd_invalidate(&guest.vtd, &guest.domain, TEXT_IOVA, 0);
    reach_assert_changes(vm, "");
    assert_translated(vm);
    vtd_invalidate(&guest.vtd, &guest.domain, DATA_IOVA, 0);
    reach_assert_changes(vm, "unmap 200000+1000");
    reach_assert_nothing(vm, DATA_IOVA);
    reach_assert_read_only(vm, TEXT_IOVA, TEXT);

    change_page(&guest, DATA_IOVA, OTHER, VTD_READ | VTD_WRITE);
    reach_assert_changes(vm, "map 200000+1000 rw");
    reach_assert(vm, DATA_IOVA, OTHER);
    change_page(&guest, DATA_IOVA, DATA, VTD_READ | VTD_WRITE);
    reach_assert_changes(vm, "unmap 200000+1000, map 200000+1000 rw");
    reach_assert(vm, DATA_IOVA, DATA);
    change_page(&guest, TEXT_IOVA, TEXT, VTD_READ | VTD_WRITE);
    reach_assert_changes(vm, "unmap 201000+1000, map 201000+1000 rw");
    reach_assert(vm, TEXT_IOVA, TEXT);

    /* several at once, and a large one */
    vtd_set_page(&guest.vtd, &guest.domain, DATA_IOVA, 0, 0);
    vtd_set_page(&guest.vtd, &guest.domain, TEXT_IOVA, 0, 0);
    vtd_invalidate(&guest.vtd, &guest.domain, DATA_IOVA, 1);
    reach_assert_changes(vm, "unmap 200000+1000, unmap 201000+1000");
    vtd_set_page(&guest.vtd, &guest.domain, LARGE_IOVA, 0, VTD_LARGE);
    vtd_invalidate(&guest.vtd, &guest.domain, LARGE_IOVA, 9);
    reach_assert_changes(vm, "unmap 400000+200000");
    reach_assert_nothing(vm, LARGE_IOVA);
    reach_assert(vm, HIGH_IOVA, HIGH);
    g_assert_cmpuint(vfio_user_test_count_refusals(vm, mark), ==, 0);
}

static void test_iommu_domain(const void *data)
{
    g_autoptr(VFIOUserTestVM) vm = start_vm();
    unsigned plain = mock_dma_region_count(vm->mock);
    VTDDomain other;
    IOMMUGuest guest;
    unsigned mark;

    translate(&guest, vm);
    mark = vm->mark = mock_journal_length(vm->mock);
    vtd_domain_init(&guest.vtd, &other, 2);
    vtd_set_page(&guest.vtd, &other, DATA_IOVA, OTHER, VTD_READ | VTD_WRITE);
    vtd_attach(&guest.vtd, DEVFN, &other);
    reach_assert_maps(vm, "map 200000+1000 rw");
    reach_assert(vm, DATA_IOVA, OTHER);
    reach_assert_nothing(vm, TEXT_IOVA);
    reach_assert_nothing(vm, LARGE_IOVA);
    reach_assert_nothing(vm, HIGH_IOVA);

    vtd_attach(&guest.vtd, DEVFN, NULL);
    reach_assert_changes(vm, "unmap 200000+1000");
    g_assert_cmpuint(mock_dma_region_count(vm->mock), ==, 0);
    vtd_pass_through(&guest.vtd, DEVFN);
    assert_plain(vm, plain);
    vm->mark = mock_journal_length(vm->mock);
    vtd_attach(&guest.vtd, DEVFN, &guest.domain);
    reach_assert_maps(vm, MAPPED);
    assert_translated(vm);
    g_assert_cmpuint(vfio_user_test_count_refusals(vm, mark), ==, 0);
}

/* A stopped device is told later, but can do no more than it may. */
static void test_iommu_stopped(const void *data)
{
    g_autoptr(VFIOUserTestVM) vm = start_vm();
    IOMMUGuest guest;

    translate(&guest, vm);
    vfio_user_test_qmp(vm, "{'execute': 'stop'}");
    vm->mark = mock_journal_length(vm->mock);
    change_page(&guest, DATA_IOVA, OTHER, VTD_READ | VTD_WRITE);
    change_page(&guest, HIGH_IOVA, 0, 0);
    reach_assert_changes(vm, "");
    reach_assert_no_message(vm, DATA_IOVA);
    reach_assert_no_message(vm, HIGH_IOVA);
    vfio_user_test_qmp(vm, "{'execute': 'cont'}");
    vfio_user_test_settle(vm);
    reach_assert_changes(vm, "unmap 200000+1000, unmap 100000000+1000, "
                         "map 200000+1000 rw");
    reach_assert(vm, DATA_IOVA, OTHER);
    reach_assert_nothing(vm, HIGH_IOVA);
}

/* One page is refused: the guest runs on without it, and may try again. */
static void test_iommu_refused_map(const void *data)
{
    static const MockRule refuse = {
        .where = MOCK_PATTERN_COMMAND(MOCK_DMA_MAP), .nth = 1,
        .action = MOCK_ACTION_ERROR, .error = EBUSY,
    };
    VFIOUserTestVMConfig config = {
        .name = "guest", .early_options = IOMMU, .ram_size = RAM_SIZE,
        .keep_errors = true,
    };
    g_autoptr(VFIOUserTestVM) vm = vfio_user_test_vm_new(&config);
    g_autofree char *errors = NULL;
    IOMMUGuest guest;

    translate(&guest, vm);
    vm->mark = mock_journal_length(vm->mock);
    mock_add_rules(vm->mock, &refuse, 1);
    change_page(&guest, OTHER, OTHER, VTD_READ);
    reach_assert_changes(vm, "map b03000+1000 r");
    reach_assert_nothing(vm, OTHER);
    errors = vfio_user_test_errors(vm);
    g_assert_nonnull(strstr(errors, "memory at 0xb03000, size 0x1000, is out "
                            "of the device's reach as mapping 5: "));
    vfio_user_test_assert_status(vm, "running");
    /* it was no mapping, so it is not unmapped */
    change_page(&guest, OTHER, 0, 0);
    reach_assert_changes(vm, "");
    change_page(&guest, OTHER, OTHER, VTD_READ);
    reach_assert_changes(vm, "map b03000+1000 r");
    reach_assert_read_only(vm, OTHER, OTHER);
}

static void number_root_port(VFIOUserTestVM *vm)
{
    QPCIBus *bus = qpci_new_pc(vm->qts, NULL);
    QPCIDevice *port = qpci_device_find(bus, QPCI_DEVFN(ROOT_PORT_SLOT, 0));

    g_assert_nonnull(port);
    qpci_config_writeb(port, PCI_SECONDARY_BUS, 1);
    qpci_config_writeb(port, PCI_SUBORDINATE_BUS, 1);
    g_free(port);
    qpci_free_pc(bus);
}

#define DEVICE_ADD \
    "{'execute': 'device_add', 'arguments': {'driver': 'vfio-user-pci', " \
    "'id': 'dev0', 'bus': 'port0', 'socket': %s}}"

/*
 * A device that is plugged in while translation is on has its domain's memory,
 * and is not there if that cannot be.
 */
static void test_iommu_plug(const void *data)
{
    static const MockRule refuse = {
        .where = MOCK_PATTERN_COMMAND(MOCK_DMA_MAP), .nth = 3,
        .action = MOCK_ACTION_ERROR, .error = ENOMEM,
    };
    VFIOUserTestVMConfig config = {
        .name = "guest", .ram_size = RAM_SIZE, .no_device = true,
        .early_options = IOMMU " -device pcie-root-port,id=port0,addr=7.0",
    };
    g_autoptr(VFIOUserTestVM) vm = vfio_user_test_vm_new(&config);
    IOMMUGuest guest;

    number_root_port(vm);
    translate(&guest, vm);
    mock_add_rules(vm->mock, &refuse, 1);
    vfio_user_test_qmp_error(vm, "memory at 0x400000, size 0x200000, is out of "
                             "the device's reach as mapping 3: ", DEVICE_ADD,
                             vm->socket_path);
    g_assert_true(mock_wait_connected(vm->mock, false,
                                      VFIO_USER_TEST_DEADLINE_MS));
    change_page(&guest, OTHER, OTHER, VTD_READ);
    change_page(&guest, OTHER, 0, 0);

    vm->mark = mock_journal_length(vm->mock);
    vfio_user_test_qmp(vm, DEVICE_ADD, vm->socket_path);
    reach_assert_changes(vm, MAPPED);
    assert_translated(vm);
    change_page(&guest, HIGH_IOVA, 0, 0);
    reach_assert_changes(vm, "unmap 100000000+1000");
}

/* --- migrations --- */

typedef struct IOMMUMigration {
    Migration migration;
    IOMMUGuest guest;
    VFIOUserTestVM *source;
} IOMMUMigration;

/* Translation is on, and the source in pre-copy. */
static void migrate_translated(IOMMUMigration *test, bool keep_errors)
{
    VFIOUserTestVMConfig config = {
        .early_options = IOMMU, .ram_size = RAM_SIZE,
        .keep_errors = keep_errors,
    };
    MockConfig mock;

    migration_slow_device(&mock);
    config.mock = &mock;
    migration_start_vms(&test->migration, &config);
    test->source = test->migration.source->vm;
    translate(&test->guest, test->source);
    migration_run_slowly(&test->migration);
    test->source->mark = mock_journal_length(test->source->mock);
}

static void test_iommu_migration(const void *data)
{
    IOMMUMigration test;
    VFIOUserTestVM *destination;

    migrate_translated(&test, false);
    destination = test.migration.destination;
    migration_device_writes(&test.migration, DATA_IOVA, 0xd1);
    migration_device_writes(&test.migration, LARGE_IOVA + MIB, 0xd2);
    migration_device_writes(&test.migration, HIGH_IOVA, 0xd3);
    migration_finish(&test.migration);
    migration_assert_arrived(&test.migration, DATA, 0xd1);
    migration_assert_arrived(&test.migration, LARGE + MIB, 0xd2);
    migration_assert_arrived(&test.migration, HIGH, 0xd3);
    migration_assert_queries(&test.migration);
    vfio_user_test_assert_status(destination, "running");
    reach_assert_maps(destination, MAPPED);
    assert_translated(destination);

    /* and the guest goes on there */
    test.guest.vtd.qts = destination->qts;
    change_page(&test.guest, HIGH_IOVA, 0, 0);
    reach_assert_changes(destination, "unmap 100000000+1000");
    migration_end(&test.migration);
}

static gpointer take_data_away(gpointer opaque)
{
    change_page(opaque, DATA_IOVA, 0, 0);
    return NULL;
}

static const MockPattern unmap_with_bitmap = {
    .command = MOCK_DMA_UNMAP, .match = MOCK_MATCH_VALUE, .value = 1,
};

/*
 * The device writes the page when the unmap has arrived, so that nothing but
 * the unmap can bring its bit.
 */
static void test_iommu_unmap(const void *data)
{
    static const MockRule hold = {
        .where = MOCK_PATTERN_COMMAND(MOCK_DMA_UNMAP), .nth = 1,
        .action = MOCK_ACTION_HOLD,
    };
    IOMMUMigration test;
    GThread *thread;
    Mock *mock;

    migrate_translated(&test, false);
    mock = test.source->mock;
    mock_add_rules(mock, &hold, 1);
    thread = g_thread_new("guest", take_data_away, &test.guest);
    g_assert_true(mock_wait_held(mock, 1, VFIO_USER_TEST_DEADLINE_MS));
    migration_device_writes(&test.migration, DATA_IOVA, 0xd4);
    g_assert_cmpuint(mock_release(mock), ==, 1);
    g_thread_join(thread);
    g_assert_cmpuint(mock_journal_count(mock, test.source->mark,
                                        &unmap_with_bitmap), ==, 1);
    reach_assert_changes(test.source, "unmap 200000+1000");
    migration_finish(&test.migration);
    migration_assert_arrived(&test.migration, DATA, 0xd4);
    migration_assert_queries(&test.migration);
    migration_end(&test.migration);
}

/*
 * The server forgets what it knew, and does not say it.  Meanwhile QEMU waits
 * for device data, so as not to ask for the bitmap.
 */
static void test_iommu_unmap_refused(const void *data)
{
    static const MockRule rules[] = {
        {
            .where = MOCK_PATTERN_REGION(MOCK_REGION_READ,
                                         MOCK_REGION_MIGRATION,
                                         MOCK_MIG_DATA_SIZE),
            .nth = 1, .action = MOCK_ACTION_DEFER,
        }, {
            .where = MOCK_PATTERN_COMMAND(MOCK_DMA_UNMAP),
            .nth = 1, .action = MOCK_ACTION_ERROR_AFTER, .error = EIO,
        },
    };
    IOMMUMigration test;
    Mock *mock;

    migrate_translated(&test, false);
    mock = test.source->mock;
    mock_add_rules(mock, rules, G_N_ELEMENTS(rules));
    g_assert_true(mock_wait_held(mock, 1, VFIO_USER_TEST_DEADLINE_MS));
    migration_device_writes(&test.migration, DATA_IOVA, 0xd5);
    take_data_away(&test.guest);
    g_assert_cmpuint(mock_release(mock), ==, 1);
    reach_assert_changes(test.source, "unmap 200000+1000");
    migration_finish(&test.migration);
    migration_assert_arrived(&test.migration, DATA, 0xd5);
    migration_end(&test.migration);
}

/*
 * Half of a bitmap: who knows what else the server says.  It is lost, and which
 * part of the migration notices first is open.
 */
static void test_iommu_unmap_short(const void *data)
{
    static const MockRule truncate = {
        .where = MOCK_PATTERN_COMMAND(MOCK_DMA_UNMAP), .nth = 1,
        .action = MOCK_ACTION_TRUNCATE, .bytes = 44,
    };
    g_autofree char *errors = NULL;
    IOMMUMigration test;

    migrate_translated(&test, true);
    mock_add_rules(test.source->mock, &truncate, 1);
    take_data_away(&test.guest);
    g_free(migration_wait(test.source, "failed"));
    vfio_user_test_settle(test.source);
    errors = vfio_user_test_errors(test.source);
    g_assert_nonnull(strstr(errors, "dev0: lost: "));
    g_assert_nonnull(strstr(errors, ": DMA_UNMAP: "));
    migration_end_failed(&test.migration);
}

/* All that was translated is unmapped with its bits; what comes is logged. */
static void test_iommu_migration_off(const void *data)
{
    IOMMUMigration test;

    migrate_translated(&test, false);
    migration_device_writes(&test.migration, DATA_IOVA, 0xd6);
    migration_device_writes(&test.migration, LARGE_IOVA, 0xd7);
    vtd_enable(&test.guest.vtd, false);
    g_assert_cmpuint(mock_journal_count(test.source->mock, test.source->mark,
                                        &unmap_with_bitmap), ==, 3);
    migration_device_writes(&test.migration, OTHER, 0xd8);
    migration_finish(&test.migration);
    migration_assert_arrived(&test.migration, DATA, 0xd6);
    migration_assert_arrived(&test.migration, LARGE, 0xd7);
    migration_assert_arrived(&test.migration, OTHER, 0xd8);
    migration_assert_queries(&test.migration);
    reach_assert(test.migration.destination, DATA, DATA);
    migration_end(&test.migration);
}

/* A server that comes back finds what is mapped now. */
static void test_iommu_reconnect(const void *data)
{
    g_autoptr(VFIOUserTestVM) vm = start_vm_with(RECONNECT_DEVICE);
    IOMMUGuest guest;

    translate(&guest, vm);
    change_page(&guest, DATA_IOVA, OTHER, VTD_READ | VTD_WRITE);
    reconnect_lose(vm);
    change_page(&guest, DATA_IOVA, DATA, VTD_READ | VTD_WRITE);
    reconnect_return(vm, NULL);
    assert_translated(vm);
    change_page(&guest, DATA_IOVA, OTHER, VTD_READ | VTD_WRITE);
    reach_assert(vm, DATA_IOVA, OTHER);
}

static const struct {
    const char *path;
    void (*run)(const void *data);
} iommu_tests[] = {
    { "translate", test_iommu_translate },
    { "invalidate", test_iommu_invalidate },
    { "domain", test_iommu_domain },
    { "stopped", test_iommu_stopped },
    { "refused-map", test_iommu_refused_map },
    { "plug", test_iommu_plug },
    { "reconnect", test_iommu_reconnect },
    { "migration/completes", test_iommu_migration },
    { "migration/unmap", test_iommu_unmap },
    { "migration/unmap-refused", test_iommu_unmap_refused },
    { "migration/unmap-short", test_iommu_unmap_short },
    { "migration/off", test_iommu_migration_off },
};

void vfio_user_test_add_iommu(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(iommu_tests); i++) {
        g_autofree char *path = g_strdup_printf("/vfio-user/iommu/%s",
                                                iommu_tests[i].path);

        vfio_user_test_add(path, iommu_tests[i].run, NULL);
    }
}
