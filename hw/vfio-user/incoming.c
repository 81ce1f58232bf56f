/*
 * What a vfio-user server asks of the client: to read and write guest memory
 * for it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "exec/address-spaces.h"
#include "hw/vfio-user/incoming.h"
#include "trace.h"

typedef struct DMARange {
    uint64_t first;
    uint64_t last;
    uint32_t flags;         /* VFIO_USER_DMA_MAP_* */
    MemoryRegion *mr;
    uint8_t *host;          /* of first */
} DMARange;

/*
 * Held for as long as memory is copied, which is what makes removal wait.  It
 * comes after all other locks: the thread that serves the server may hold any
 * of them, or be waited for by one that does.
 */
struct VFIOUserDMATable {
    int refs;               /* atomic */
    QemuMutex lock;
    GTree *ranges;          /* of DMARange, which are the keys; lock */
};

/* Ranges that overlap are equal, so those in the tree do not. */
static gint range_compare(gconstpointer a, gconstpointer b, gpointer unused)
{
    const DMARange *one = a, *other = b;

    return one->last < other->first ? -1 : one->first > other->last;
}

VFIOUserDMATable *vfio_user_dma_table_new(void)
{
    VFIOUserDMATable *table = g_new0(VFIOUserDMATable, 1);

    table->refs = 1;
    qemu_mutex_init(&table->lock);
    table->ranges = g_tree_new_full(range_compare, NULL, g_free, NULL);
    return table;
}

VFIOUserDMATable *vfio_user_dma_table_ref(VFIOUserDMATable *table)
{
    qatomic_inc(&table->refs);
    return table;
}

void vfio_user_dma_table_unref(void *opaque)
{
    VFIOUserDMATable *table = opaque;

    if (table && qatomic_fetch_dec(&table->refs) == 1) {
        g_tree_unref(table->ranges);
        qemu_mutex_destroy(&table->lock);
        g_free(table);
    }
}

bool vfio_user_dma_table_add(VFIOUserDMATable *table, uint64_t iova,
                             uint64_t size, uint32_t flags, MemoryRegion *mr,
                             uint64_t offset)
{
    DMARange *range = g_new(DMARange, 1);

    *range = (DMARange) {
        .first = iova,
        .last = iova + (size - 1),
        .flags = flags,
        .mr = mr,
        .host = (uint8_t *)memory_region_get_ram_ptr(mr) + offset,
    };

    QEMU_LOCK_GUARD(&table->lock);

    if (g_tree_lookup(table->ranges, range)) {
        g_free(range);
        return false;
    }
    g_tree_insert(table->ranges, range, range);
    return true;
}

void vfio_user_dma_table_remove(VFIOUserDMATable *table, uint64_t iova,
                                uint64_t size)
{
    const DMARange key = { .first = iova, .last = iova + (size - 1) };
    const DMARange *range;

    QEMU_LOCK_GUARD(&table->lock);

    range = g_tree_lookup(table->ranges, &key);
    if (range && range->first == key.first && range->last == key.last) {
        g_tree_remove(table->ranges, &key);
    }
}

/*
 * Copy one piece.  A write is made known by address_space_unmap(), as one by a
 * device of QEMU's is that maps memory: it marks the pages dirty and
 * invalidates what TCG has translated of them, which only marking them would
 * not do.  It needs no BQL, and drops a reference to the region.
 */
static void range_copy(const DMARange *range, uint64_t addr, uint64_t count,
                       uint8_t *to, const uint8_t *from)
{
    uint8_t *host = range->host + (addr - range->first);

    if (to) {
        memcpy(to, host, count);
    } else {
        memcpy(host, from, count);
        memory_region_ref(range->mr);
        address_space_unmap(&address_space_memory, host, count, true, count);
    }
}

/*
 * Go through the ranges that @count bytes at @addr lie in.  With @to or @from
 * copy, with neither only check.  Returns 0 or -errno.  lock held.
 */
static int table_walk(VFIOUserDMATable *table, uint32_t need, uint64_t addr,
                      uint64_t count, uint8_t *to, const uint8_t *from)
{
    uint64_t done = 0;

    while (done < count) {
        const DMARange key = { .first = addr + done, .last = addr + done };
        const DMARange *range = g_tree_lookup(table->ranges, &key);
        uint64_t piece;

        if (!range) {
            return -EFAULT;
        }
        if (!(range->flags & need)) {
            return -EACCES;
        }
        piece = MIN(count - done - 1, range->last - key.first) + 1;
        if (to || from) {
            range_copy(range, key.first, piece, to ? to + done : NULL,
                       from ? from + done : NULL);
        }
        done += piece;
    }
    return 0;
}

static int incoming_dma(VFIOUserDMATable *table, const VFIOUserDMADesc *dma,
                        GByteArray *reply)
{
    uint32_t need = dma->data ? VFIO_USER_DMA_MAP_WRITE :
                                VFIO_USER_DMA_MAP_READ;
    VFIOUserDMARW rw;
    uint8_t *to = NULL;
    int ret;

    QEMU_LOCK_GUARD(&table->lock);

    ret = table_walk(table, need, dma->addr, dma->count, NULL, NULL);
    if (ret) {
        return ret;
    }
    vfio_user_wire_put_dma_reply(&rw, dma->addr, dma->count);
    g_byte_array_append(reply, (const uint8_t *)&rw, sizeof(rw));
    if (!dma->data) {
        g_byte_array_set_size(reply, sizeof(rw) + dma->count);
        to = reply->data + sizeof(rw);
    }
    return table_walk(table, need, dma->addr, dma->count, to, dma->data);
}

int vfio_user_incoming_request(void *opaque, const VFIOUserHeaderDesc *header,
                               VFIOUserMsg *msg, GByteArray *reply)
{
    const uint8_t *payload = msg->data + sizeof(VFIOUserHeader);
    VFIOUserDMADesc dma = { 0 };
    bool good = false;
    int ret = -EINVAL;

    if (header->command == VFIO_USER_DMA_READ) {
        good = vfio_user_wire_get_dma_read(payload, header->size,
                                           VFIO_USER_MAX_DATA_XFER_SIZE, &dma,
                                           NULL);
    } else if (header->command == VFIO_USER_DMA_WRITE) {
        good = vfio_user_wire_get_dma_write(payload, header->size,
                                            VFIO_USER_MAX_DATA_XFER_SIZE,
                                            &dma, NULL);
    } else {
        ret = -ENOTSUP;
    }
    if (good && dma.count) {
        ret = incoming_dma(opaque, &dma, reply);
    }
    trace_vfio_user_incoming_dma(vfio_user_command_name(header->command),
                                 dma.addr, dma.count, ret);
    return -ret;
}
