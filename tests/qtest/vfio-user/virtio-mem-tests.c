/*
 * Guest memory that comes and goes in blocks, at the guest's own request: the
 * server has what is plugged, and nothing else.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "libqos/malloc-pc.h"
#include "libqos/virtio-pci.h"
#include "reach.h"
#include "reconnect.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_mem.h"
#include "steps.h"

#define MIB (1024 * 1024)
#define PAGE 0x1000
#define BLOCK (2 * MIB)
#define RAM_SIZE (32 * MIB)
#define SLOT 6

/* Where q35 has memory that is plugged */
#define BASE 0x100000000ull

#define MEMORY \
    "-m maxmem=64M " \
    "-object memory-backend-memfd,id=blocks,size=16M,share=on " \
    "-device virtio-mem-pci,addr=6.0,memdev=blocks,block-size=2M," \
    "requested-size=8M,memaddr=0x100000000"

/* A guest's driver */
typedef struct Blocks {
    QTestState *qts;
    QGuestAllocator alloc;
    QVirtioPCIDevice *device;
    QVirtQueue *queue;
    uint64_t buffer;
} Blocks;

static void blocks_init(Blocks *blocks, Guest *guest)
{
    QPCIAddress address = { .devfn = QPCI_DEVFN(SLOT, 0) };
    QVirtioDevice *vdev;

    blocks->qts = guest->vm->qts;
    blocks->device = virtio_pci_new(guest->bus, &address);
    g_assert_nonnull(blocks->device);
    vdev = &blocks->device->vdev;
    pc_alloc_init(&blocks->alloc, blocks->qts, ALLOC_NO_FLAGS);
    qvirtio_pci_device_enable(blocks->device);
    qvirtio_start_device(vdev);
    qvirtio_set_features(vdev, (1ull << VIRTIO_F_VERSION_1) |
                               (1ull << VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE));
    blocks->queue = qvirtqueue_setup(vdev, &blocks->alloc, 0);
    qvirtio_set_driver_ok(vdev);
    blocks->buffer = guest_alloc(&blocks->alloc, PAGE);
    g_assert_cmphex(qvirtio_config_readq(vdev,
                        offsetof(struct virtio_mem_config, addr)), ==, BASE);
}

static void blocks_destroy(Blocks *blocks)
{
    qvirtqueue_cleanup(blocks->device->vdev.bus, blocks->queue,
                       &blocks->alloc);
    guest_free(&blocks->alloc, blocks->buffer);
    alloc_destroy(&blocks->alloc);
    qvirtio_pci_device_disable(blocks->device);
    g_free(blocks->device->pdev);
    g_free(blocks->device);
}

/* Ask for blocks from number @first on. Returns VIRTIO_MEM_RESP_... */
static uint16_t blocks_request(Blocks *blocks, uint16_t type, unsigned first,
                               unsigned number)
{
    struct virtio_mem_req request = {
        .type = cpu_to_le16(type),
        .u.plug.addr = cpu_to_le64(BASE + first * BLOCK),
        .u.plug.nb_blocks = cpu_to_le16(number),
    };
    uint64_t answer = blocks->buffer + sizeof(request);
    QTestState *qts = blocks->qts;
    uint32_t head;

    qtest_memwrite(qts, blocks->buffer, &request, sizeof(request));
    head = qvirtqueue_add(qts, blocks->queue, blocks->buffer, sizeof(request),
                          false, true);
    qvirtqueue_add(qts, blocks->queue, answer, sizeof(struct virtio_mem_resp),
                   true, false);
    qvirtqueue_kick(qts, &blocks->device->vdev, blocks->queue, head);
    qvirtio_wait_used_elem(qts, &blocks->device->vdev, blocks->queue, head,
                           NULL, VFIO_USER_TEST_DEADLINE_MS * 1000);
    return qtest_readw(qts, answer);
}

static void plug(Blocks *blocks, unsigned first, unsigned number)
{
    g_assert_cmpuint(blocks_request(blocks, VIRTIO_MEM_REQ_PLUG, first,
                                    number), ==, VIRTIO_MEM_RESP_ACK);
}

static void unplug(Blocks *blocks, unsigned first, unsigned number)
{
    g_assert_cmpuint(blocks_request(blocks, VIRTIO_MEM_REQ_UNPLUG, first,
                                    number), ==, VIRTIO_MEM_RESP_ACK);
}

static void assert_block(VFIOUserTestVM *vm, unsigned number)
{
    uint64_t address = BASE + number * BLOCK;

    reach_assert(vm, address, address);
    reach_assert(vm, address + BLOCK - 8, address + BLOCK - 8);
}

static void assert_no_block(VFIOUserTestVM *vm, unsigned number)
{
    reach_assert_nothing(vm, BASE + number * BLOCK);
    reach_assert_nothing(vm, BASE + (number + 1) * BLOCK - 8);
}

static void test_virtio_mem_plug(const void *data)
{
    VFIOUserTestVMConfig config = {
        .name = "guest", .options = MEMORY, .ram_size = RAM_SIZE,
    };
    g_autoptr(Guest) guest = guest_start_vm(&config);
    VFIOUserTestVM *vm = guest->vm;
    unsigned mark, mappings;
    Blocks blocks;

    blocks_init(&blocks, guest);
    mappings = mock_dma_region_count(vm->mock);
    mark = vm->mark = mock_journal_length(vm->mock);
    assert_no_block(vm, 0);
    plug(&blocks, 1, 2);
    reach_assert_changes(vm, "map 100200000+200000 rw, "
                         "map 100400000+200000 rw");
    assert_no_block(vm, 0);
    assert_block(vm, 1);
    assert_block(vm, 2);
    assert_no_block(vm, 3);

    unplug(&blocks, 1, 1);
    reach_assert_changes(vm, "unmap 100200000+200000");
    assert_no_block(vm, 1);
    assert_block(vm, 2);
    plug(&blocks, 0, 2);
    reach_assert_changes(vm, "map 100000000+200000 rw, "
                         "map 100200000+200000 rw");
    assert_block(vm, 0);
    assert_block(vm, 1);

    g_assert_cmpuint(blocks_request(&blocks, VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0),
                     ==, VIRTIO_MEM_RESP_ACK);
    assert_no_block(vm, 0);
    assert_no_block(vm, 1);
    assert_no_block(vm, 2);
    g_assert_cmpuint(mock_dma_region_count(vm->mock), ==, mappings);
    reach_assert(vm, RAM_SIZE - 8, RAM_SIZE - 8);
    g_assert_cmpuint(vfio_user_test_count_refusals(vm, mark), ==, 0);
    blocks_destroy(&blocks);
}

/* The guest is told that it gets nothing, and nothing is what is mapped. */
static void test_virtio_mem_refused_map(const void *data)
{
    static const MockRule refuse = {
        .where = MOCK_PATTERN_COMMAND(MOCK_DMA_MAP), .nth = 2,
        .action = MOCK_ACTION_ERROR, .error = ENOMEM,
    };
    VFIOUserTestVMConfig config = {
        .name = "guest", .options = MEMORY, .ram_size = RAM_SIZE,
    };
    g_autoptr(Guest) guest = guest_start_vm(&config);
    VFIOUserTestVM *vm = guest->vm;
    Blocks blocks;

    blocks_init(&blocks, guest);
    vm->mark = mock_journal_length(vm->mock);
    mock_add_rules(vm->mock, &refuse, 1);
    g_assert_cmpuint(blocks_request(&blocks, VIRTIO_MEM_REQ_PLUG, 0, 3), ==,
                     VIRTIO_MEM_RESP_BUSY);
    reach_assert_changes(vm, "map 100000000+200000 rw, "
                         "map 100200000+200000 rw, unmap 100000000+200000");
    assert_no_block(vm, 0);
    assert_no_block(vm, 1);
    plug(&blocks, 0, 3);
    assert_block(vm, 0);
    assert_block(vm, 2);
    blocks_destroy(&blocks);
}

/* Blocks that are plugged are logged, each by itself, and mapped there too. */
static void test_virtio_mem_migration(const void *data)
{
    VFIOUserTestVMConfig config = {
        .options = MEMORY, .ram_size = RAM_SIZE,
    };
    Migration migration;
    MockConfig mock;
    Blocks blocks;

    migration_slow_device(&mock);
    config.mock = &mock;
    migration_start_vms(&migration, &config);
    blocks_init(&blocks, migration.source);
    plug(&blocks, 1, 2);
    unplug(&blocks, 1, 1);
    plug(&blocks, 4, 1);
    migration_run_slowly(&migration);
    migration_device_writes(&migration, BASE + 2 * BLOCK + PAGE, 0xe1);
    migration_device_writes(&migration, BASE + 5 * BLOCK - PAGE, 0xe2);
    migration_finish(&migration);
    migration_assert_arrived(&migration, BASE + 2 * BLOCK + PAGE, 0xe1);
    migration_assert_arrived(&migration, BASE + 5 * BLOCK - PAGE, 0xe2);
    migration_assert_queries(&migration);
    vfio_user_test_assert_status(migration.destination, "running");
    assert_no_block(migration.destination, 1);
    assert_block(migration.destination, 2);
    assert_no_block(migration.destination, 3);
    assert_block(migration.destination, 4);
    blocks_destroy(&blocks);
    migration_end(&migration);
}

/* A server that comes back finds what is plugged now. */
static void test_virtio_mem_reconnect(const void *data)
{
    VFIOUserTestVMConfig config = {
        .name = "guest", .options = MEMORY, .ram_size = RAM_SIZE,
        .device = RECONNECT_DEVICE,
    };
    g_autoptr(Guest) guest = guest_start_vm(&config);
    VFIOUserTestVM *vm = guest->vm;
    Blocks blocks;

    blocks_init(&blocks, guest);
    plug(&blocks, 0, 2);
    reconnect_lose(vm);
    unplug(&blocks, 0, 1);
    plug(&blocks, 2, 1);
    reconnect_return(vm, NULL);
    assert_no_block(vm, 0);
    assert_block(vm, 1);
    assert_block(vm, 2);
    unplug(&blocks, 1, 1);
    plug(&blocks, 0, 1);
    assert_block(vm, 0);
    assert_no_block(vm, 1);
    g_assert_cmpuint(vfio_user_test_count_refusals(vm, 0), ==, 0);
    blocks_destroy(&blocks);
}

static const struct {
    const char *path;
    void (*run)(const void *data);
} virtio_mem_tests[] = {
    { "plug", test_virtio_mem_plug },
    { "refused-map", test_virtio_mem_refused_map },
    { "reconnect", test_virtio_mem_reconnect },
    { "migration", test_virtio_mem_migration },
};

void vfio_user_test_add_virtio_mem(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(virtio_mem_tests); i++) {
        g_autofree char *path = g_strdup_printf("/vfio-user/virtio-mem/%s",
                                                virtio_mem_tests[i].path);

        vfio_user_test_add(path, virtio_mem_tests[i].run, NULL);
    }
}
