/*
 * Unit tests of what a vfio-user server may do to guest memory by message.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/thread.h"
#include "exec/address-spaces.h"
#include "hw/vfio-user/incoming.h"

#define READ VFIO_USER_DMA_MAP_READ
#define WRITE VFIO_USER_DMA_MAP_WRITE
#define PAGE 0x1000u
#define PATIENCE_MS 10000

/*
 * Guest memory: two regions, which QEMU's memory API is asked about.
 */

static uint8_t ram[2][2 * PAGE];
static MemoryRegion regions[2];
static int refs[2];

/* What was said to be dirty, in order */
static struct {
    uint8_t *host;
    hwaddr size;
} dirty[4];
static unsigned int num_dirty;

/* Set to stop a write after its data was copied */
static QemuSemaphore *copied, *go_on;

AddressSpace address_space_memory;

void *memory_region_get_ram_ptr(MemoryRegion *mr)
{
    return ram[mr - regions];
}

void memory_region_ref(MemoryRegion *mr)
{
    refs[mr - regions]++;
    if (copied) {
        qemu_sem_post(copied);
        g_assert_cmpint(qemu_sem_timedwait(go_on, PATIENCE_MS), ==, 0);
    }
}

void address_space_unmap(AddressSpace *as, void *buffer, hwaddr len,
                         bool is_write, hwaddr access_len)
{
    int nr = (uint8_t *)buffer >= ram[1];

    g_assert_true(is_write);
    g_assert_cmpuint(access_len, ==, len);
    g_assert_cmpuint(num_dirty, <, ARRAY_SIZE(dirty));
    dirty[num_dirty].host = buffer;
    dirty[num_dirty++].size = len;
    refs[nr]--;
}

/* The second page of region 0 at 0x10000, region 1 behind it */
static VFIOUserDMATable *make_table(uint32_t flags0, uint32_t flags1)
{
    VFIOUserDMATable *table = vfio_user_dma_table_new();
    size_t i;

    for (i = 0; i < 2 * PAGE; i++) {
        ram[0][i] = i % 251;
        ram[1][i] = i % 241;
    }
    num_dirty = 0;
    g_assert_true(vfio_user_dma_table_add(table, 0x10000, PAGE, flags0,
                                          &regions[0], PAGE));
    g_assert_true(vfio_user_dma_table_add(table, 0x10000 + PAGE, 2 * PAGE,
                                          flags1, &regions[1], 0));
    return table;
}

/* Send a command. Returns the answer's errno, and its payload in @reply. */
static int request(VFIOUserDMATable *table, uint16_t command, uint64_t addr,
                   uint64_t count, const void *data, size_t size,
                   GByteArray *reply)
{
    VFIOUserHeaderDesc header = { .command = command, .size = 16 + size };
    g_autofree uint8_t *bytes = g_malloc0(32 + size);
    VFIOUserMsg msg = { .data = bytes, .size = 32 + size };

    stq_le_p(bytes + 16, addr);
    stq_le_p(bytes + 24, count);
    if (size) {
        memcpy(bytes + 32, data, size);
    }
    g_byte_array_set_size(reply, 0);
    return vfio_user_incoming_request(table, &header, &msg, reply);
}

static void assert_reply_head(GByteArray *reply, uint64_t addr, uint64_t count)
{
    g_assert_cmpuint(reply->len, >=, 16);
    g_assert_cmphex(ldq_le_p(reply->data), ==, addr);
    g_assert_cmphex(ldq_le_p(reply->data + 8), ==, count);
}

static void test_incoming_read(void)
{
    g_autoptr(GByteArray) reply = g_byte_array_new();
    VFIOUserDMATable *table = make_table(READ, READ | WRITE);

    g_assert_cmpint(request(table, VFIO_USER_DMA_READ, 0x10004, 8, NULL, 0,
                            reply), ==, 0);
    assert_reply_head(reply, 0x10004, 8);
    g_assert_cmpmem(reply->data + 16, reply->len - 16, ram[0] + PAGE + 4, 8);
    g_assert_cmpuint(num_dirty, ==, 0);
    vfio_user_dma_table_unref(table);
}

static void test_incoming_write(void)
{
    g_autoptr(GByteArray) reply = g_byte_array_new();
    VFIOUserDMATable *table = make_table(READ, WRITE);
    uint64_t addr = 0x10000 + 3 * PAGE - 4;

    g_assert_cmpint(request(table, VFIO_USER_DMA_WRITE, addr, 4, "four", 4,
                            reply), ==, 0);
    assert_reply_head(reply, addr, 4);
    g_assert_cmpuint(reply->len, ==, 16);
    g_assert_cmpmem(ram[1] + 2 * PAGE - 4, 4, "four", 4);
    g_assert_cmpuint(num_dirty, ==, 1);
    g_assert_true(dirty[0].host == ram[1] + 2 * PAGE - 4);
    g_assert_cmpuint(dirty[0].size, ==, 4);
    g_assert_cmpint(refs[1], ==, 0);
    vfio_user_dma_table_unref(table);
}

/* A range that lies in two mappings, which lie in two regions */
static void test_incoming_adjacent(void)
{
    g_autoptr(GByteArray) reply = g_byte_array_new();
    VFIOUserDMATable *table = make_table(READ | WRITE, READ | WRITE);
    uint64_t addr = 0x10000 + PAGE - 3;

    g_assert_cmpint(request(table, VFIO_USER_DMA_WRITE, addr, 8, "123-5678",
                            8, reply), ==, 0);
    g_assert_cmpmem(ram[0] + 2 * PAGE - 3, 3, "123", 3);
    g_assert_cmpmem(ram[1], 5, "-5678", 5);
    g_assert_cmpuint(num_dirty, ==, 2);
    g_assert_true(dirty[0].host == ram[0] + 2 * PAGE - 3);
    g_assert_cmpuint(dirty[0].size, ==, 3);
    g_assert_true(dirty[1].host == ram[1]);
    g_assert_cmpuint(dirty[1].size, ==, 5);

    g_assert_cmpint(request(table, VFIO_USER_DMA_READ, addr, 8, NULL, 0,
                            reply), ==, 0);
    g_assert_cmpmem(reply->data + 16, reply->len - 16, "123-5678", 8);
    vfio_user_dma_table_unref(table);
}

typedef struct Refusal {
    const char *what;
    uint32_t flags[2];
    uint16_t command;
    uint64_t addr;
    uint64_t count;
    size_t size;                /* bytes of data that come along */
    int error;
} Refusal;

#define BOTH { READ | WRITE, READ | WRITE }
#define LARGEST (1024 * 1024)

static const Refusal refusals[] = {
    { "nothing to read", BOTH, 11, 0x10000, 0, 0, EINVAL },
    { "nothing to write", BOTH, 12, 0x10000, 0, 0, EINVAL },
    { "more than was offered", BOTH, 11, 0x10000, LARGEST + 1, 0, EINVAL },
    { "far too much", BOTH, 11, 0x10000, UINT64_MAX, 0, EINVAL },
    { "wraps", BOTH, 11, UINT64_MAX - 3, 8, 0, EINVAL },
    { "a read with data", BOTH, 11, 0x10000, 4, 4, EINVAL },
    { "a write with too little", BOTH, 12, 0x10000, 8, 7, EINVAL },
    { "a write with too much", BOTH, 12, 0x10000, 8, 9, EINVAL },
    { "below", BOTH, 11, 0x10000 - 1, 2, 0, EFAULT },
    { "above", BOTH, 12, 0x10000 + 3 * PAGE - 1, 2, 2, EFAULT },
    { "largest", BOTH, 11, 0x10000, LARGEST, 0, EFAULT },
    { "elsewhere", BOTH, 11, 0, 1, 0, EFAULT },
    { "the end of all", BOTH, 11, UINT64_MAX - 1, 1, 0, EFAULT },
    { "read-only", { READ, WRITE }, 12, 0x10000, 1, 1, EACCES },
    { "write-only", { READ, WRITE }, 11, 0x10000 + PAGE, 1, 0, EACCES },
    { "into read-only", { WRITE, READ }, 12, 0x10000 + PAGE - 4, 8, 8,
      EACCES },
    { "another command", BOTH, 9, 0x10000, 1, 0, ENOTSUP },
    { "no command", BOTH, 0, 0x10000, 1, 0, ENOTSUP },
};

/* What is refused is not done in part, either */
static void test_incoming_refused(void)
{
    static const uint8_t data[16] = "0123456789abcde";
    g_autoptr(GByteArray) reply = g_byte_array_new();
    g_autofree uint8_t *before = g_malloc(sizeof(ram));
    size_t i;

    for (i = 0; i < ARRAY_SIZE(refusals); i++) {
        const Refusal *refusal = &refusals[i];
        VFIOUserDMATable *table = make_table(refusal->flags[0],
                                             refusal->flags[1]);

        g_test_message("%s", refusal->what);
        memcpy(before, ram, sizeof(ram));
        g_assert_cmpint(request(table, refusal->command, refusal->addr,
                                refusal->count, data, refusal->size, reply),
                        ==, refusal->error);
        g_assert_cmpmem(before, sizeof(ram), ram, sizeof(ram));
        g_assert_cmpuint(num_dirty, ==, 0);
        vfio_user_dma_table_unref(table);
    }
}

/* A payload that ends before address and count do */
static void test_incoming_short(void)
{
    g_autoptr(GByteArray) reply = g_byte_array_new();
    VFIOUserDMATable *table = make_table(READ | WRITE, READ | WRITE);
    uint8_t bytes[31] = { 0 };
    VFIOUserMsg msg = { .data = bytes, .size = sizeof(bytes) };
    VFIOUserHeaderDesc header = { .command = VFIO_USER_DMA_READ };

    for (header.size = 0; header.size < 16; header.size++) {
        g_assert_cmpint(vfio_user_incoming_request(table, &header, &msg,
                                                   reply), ==, EINVAL);
    }
    vfio_user_dma_table_unref(table);
}

static void test_incoming_table(void)
{
    g_autoptr(GByteArray) reply = g_byte_array_new();
    VFIOUserDMATable *table = make_table(READ, READ);

    g_assert_false(vfio_user_dma_table_add(table, 0x10000 - PAGE, 2 * PAGE,
                                           READ, &regions[1], 0));
    g_assert_false(vfio_user_dma_table_add(table, 0x10000 + PAGE, PAGE, READ,
                                           &regions[1], 0));
    /* what was not added as such is not removed */
    vfio_user_dma_table_remove(table, 0x10000 + PAGE, PAGE);
    vfio_user_dma_table_remove(table, 0x10000, 3 * PAGE);
    vfio_user_dma_table_remove(table, 0x20000, PAGE);
    g_assert_cmpint(request(table, VFIO_USER_DMA_READ, 0x10000, 3 * PAGE,
                            NULL, 0, reply), ==, 0);

    vfio_user_dma_table_remove(table, 0x10000 + PAGE, 2 * PAGE);
    g_assert_cmpint(request(table, VFIO_USER_DMA_READ, 0x10000, PAGE, NULL, 0,
                            reply), ==, 0);
    g_assert_cmpint(request(table, VFIO_USER_DMA_READ, 0x10000, PAGE + 1,
                            NULL, 0, reply), ==, EFAULT);
    g_assert_true(vfio_user_dma_table_add(table, UINT64_MAX - PAGE + 1, PAGE,
                                          READ, &regions[0], 0));
    g_assert_cmpint(request(table, VFIO_USER_DMA_READ, UINT64_MAX - 8, 8,
                            NULL, 0, reply), ==, 0);
    vfio_user_dma_table_unref(table);
}

typedef struct Race {
    VFIOUserDMATable *table;
    QemuSemaphore copied;
    QemuSemaphore go_on;
    bool removed;               /* atomic */
} Race;

static void *race_write(void *opaque)
{
    g_autoptr(GByteArray) reply = g_byte_array_new();
    Race *race = opaque;

    g_assert_cmpint(request(race->table, VFIO_USER_DMA_WRITE, 0x10000, 4,
                            "copy", 4, reply), ==, 0);
    vfio_user_dma_table_unref(race->table);
    return NULL;
}

static void *race_remove(void *opaque)
{
    Race *race = opaque;

    vfio_user_dma_table_remove(race->table, 0x10000, PAGE);
    qatomic_set(&race->removed, true);
    return NULL;
}

/* RAM may go away once its range has been removed: not under a copy. */
static void test_incoming_remove_waits(void)
{
    Race race = { .table = make_table(WRITE, WRITE) };
    QemuThread writer, remover;

    qemu_sem_init(&race.copied, 0);
    qemu_sem_init(&race.go_on, 0);
    copied = &race.copied;
    go_on = &race.go_on;
    vfio_user_dma_table_ref(race.table);
    qemu_thread_create(&writer, "writer", race_write, &race,
                       QEMU_THREAD_JOINABLE);
    g_assert_cmpint(qemu_sem_timedwait(copied, PATIENCE_MS), ==, 0);
    qemu_thread_create(&remover, "remover", race_remove, &race,
                       QEMU_THREAD_JOINABLE);
    g_usleep(50 * 1000);
    g_assert_false(qatomic_read(&race.removed));
    qemu_sem_post(go_on);
    qemu_thread_join(&remover);
    qemu_thread_join(&writer);
    g_assert_true(race.removed);
    copied = go_on = NULL;
    vfio_user_dma_table_unref(race.table);
    qemu_sem_destroy(&race.copied);
    qemu_sem_destroy(&race.go_on);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/vfio-user/incoming/read", test_incoming_read);
    g_test_add_func("/vfio-user/incoming/write", test_incoming_write);
    g_test_add_func("/vfio-user/incoming/adjacent", test_incoming_adjacent);
    g_test_add_func("/vfio-user/incoming/refused", test_incoming_refused);
    g_test_add_func("/vfio-user/incoming/short", test_incoming_short);
    g_test_add_func("/vfio-user/incoming/table", test_incoming_table);
    g_test_add_func("/vfio-user/incoming/remove-waits",
                    test_incoming_remove_waits);
    return g_test_run();
}
