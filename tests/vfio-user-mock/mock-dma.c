/*
 * The mock's view of the client's memory: DMA_MAP and DMA_UNMAP, access
 * through the mapped file descriptors, the dirty log.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "mock-internal.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAP_READ 1u
#define MAP_WRITE 2u
#define UNMAP_BITMAP 1u
#define UNMAP_ALL 2u
#define DIRTY_START 1u
#define DIRTY_STOP 2u
#define DIRTY_GET 4u

#define MAX_REGION_SIZE (8ull << 40)

static void region_free(void *opaque)
{
    MockDmaRegion *region = opaque;

    if (region->base) {
        munmap(region->base, region->base_size);
    }
    if (region->fd >= 0) {
        close(region->fd);
    }
    g_free(region->dirty);
    g_free(region);
}

void mock_dma_init(Mock *mock)
{
    mock->dma.regions = g_ptr_array_new_with_free_func(region_free);
}

void mock_dma_destroy(Mock *mock)
{
    g_ptr_array_unref(mock->dma.regions);
}

void mock_dma_drop_all(Mock *mock)
{
    g_ptr_array_set_size(mock->dma.regions, 0);
}

static MockDmaRegion *region_at(Mock *mock, unsigned index)
{
    return g_ptr_array_index(mock->dma.regions, index);
}

/* Index of exactly this range, or -1 */
static int find_exact(Mock *mock, uint64_t iova, uint64_t size)
{
    unsigned i;

    for (i = 0; i < mock->dma.regions->len; i++) {
        if (region_at(mock, i)->iova == iova &&
            region_at(mock, i)->size == size) {
            return i;
        }
    }
    return -1;
}

static bool overlaps(Mock *mock, uint64_t iova, uint64_t size)
{
    unsigned i;

    for (i = 0; i < mock->dma.regions->len; i++) {
        const MockDmaRegion *region = region_at(mock, i);

        if (iova <= region->iova + (region->size - 1) &&
            region->iova <= iova + (size - 1)) {
            return true;
        }
    }
    return false;
}

static uint64_t bitmap_bytes(const Mock *mock, uint64_t size)
{
    uint64_t pages = size / mock->config.pgsize +
                     (size % mock->config.pgsize != 0);

    return (pages + 63) / 64 * 8;
}

static void region_start_log(Mock *mock, MockDmaRegion *region)
{
    if (region->fd >= 0 && !region->dirty) {
        region->dirty = g_malloc0(bitmap_bytes(mock, region->size));
    }
}

/* Map the region's file; 0 or -errno. Never past its end: that is SIGBUS. */
static int region_mmap(MockDmaRegion *region)
{
    uint64_t page = sysconf(_SC_PAGE_SIZE);
    uint64_t skip = region->offset % page;
    struct stat info;
    int prot = 0;
    void *base;

    if (fstat(region->fd, &info)) {
        return -errno;
    }
    if (region->offset + region->size < region->offset ||
        (S_ISREG(info.st_mode) &&
         region->offset + region->size > (uint64_t)info.st_size)) {
        return -EINVAL;
    }
    prot |= region->flags & MAP_READ ? PROT_READ : 0;
    prot |= region->flags & MAP_WRITE ? PROT_WRITE : 0;
    base = mmap(NULL, region->size + skip, prot, MAP_SHARED, region->fd,
                region->offset - skip);
    if (base == MAP_FAILED) {
        return -errno;
    }
    region->base = base;
    region->base_size = region->size + skip;
    region->memory = region->base + skip;
    return 0;
}

/* True if mapping this again would change nothing */
static bool is_same(const MockDmaRegion *old, const MockDmaRegion *region)
{
    struct stat one, other;

    if (old->flags != region->flags || old->offset != region->offset) {
        return false;
    }
    if (old->fd < 0 || region->fd < 0) {
        return old->fd < 0 && region->fd < 0;
    }
    return !fstat(old->fd, &one) && !fstat(region->fd, &other) &&
           one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

/* Check and add; 0 if it is in the table afterwards, *region taken over */
static int region_add(Mock *mock, MockDmaRegion **region)
{
    bool lvu1 = mock->config.behaviour == MOCK_BEHAVIOUR_LVU1;
    uint64_t iova = (*region)->iova, size = (*region)->size;
    int index, error;

    if ((*region)->flags & ~(MAP_READ | MAP_WRITE) || !size ||
        iova + (size - 1) < iova) {
        return -EINVAL;
    }
    if (size > MAX_REGION_SIZE) {
        return -ENOSPC;
    }
    index = find_exact(mock, iova, size);
    if (index >= 0 && is_same(region_at(mock, index), *region)) {
        return 0;
    }
    if (overlaps(mock, iova, size)) {
        return lvu1 ? -EINVAL : -EEXIST;
    }
    if (mock->config.max_dma_regions &&
        mock->dma.regions->len >= mock->config.max_dma_regions) {
        return -EINVAL;
    }
    error = (*region)->fd >= 0 ? region_mmap(*region) : 0;
    if (error) {
        return error;
    }
    if (mock->dma.logging) {
        region_start_log(mock, *region);
    }
    g_ptr_array_add(mock->dma.regions, g_steal_pointer(region));
    return 0;
}

int mock_dma_map(Mock *mock, MockMessage *command)
{
    MockReader reader = mock_reader(command->body->data, command->body->len);
    MockDmaRegion *region;
    uint32_t argsz;
    int error;

    region = g_new0(MockDmaRegion, 1);
    argsz = mock_get(&reader, 4);
    region->flags = mock_get(&reader, 4);
    region->offset = mock_get(&reader, 8);
    region->iova = mock_get(&reader, 8);
    region->size = mock_get(&reader, 8);
    region->fd = mock_message_take_fd(command, 0);
    if (reader.bad || argsz < 32 || command->num_fds > 1) {
        error = -EINVAL;
    } else {
        error = region_add(mock, &region);
    }
    if (region) {
        region_free(region);
    }
    g_cond_broadcast(&mock->changed);
    return error;
}

/*
 * Append the dirty bitmap of exactly this range and clear it. The bits are
 * the client's from then on.
 */
static int take_bitmap(Mock *mock, uint64_t iova, uint64_t size,
                       uint64_t pgsize, uint64_t bytes, GByteArray *body)
{
    int index = find_exact(mock, iova, size);
    MockDmaRegion *region;
    uint64_t i;

    if (index < 0) {
        return -ENOENT;
    }
    region = region_at(mock, index);
    if (!region->dirty || pgsize != mock->config.pgsize || size < pgsize ||
        bytes != bitmap_bytes(mock, size)) {
        return -EINVAL;
    }
    for (i = 0; i < bytes / 8; i++) {
        mock_put(body, region->dirty[i], 8);
    }
    memset(region->dirty, 0, bytes);
    return 0;
}

int mock_dma_unmap(Mock *mock, MockMessage *command, MockMessage *reply)
{
    MockReader reader = mock_reader(command->body->data, command->body->len);
    uint32_t argsz = mock_get(&reader, 4);
    uint32_t flags = mock_get(&reader, 4);
    uint64_t iova = mock_get(&reader, 8);
    uint64_t size = mock_get(&reader, 8);
    uint64_t pgsize, bytes;
    int index, error;

    if (reader.bad || argsz < 24 || argsz > mock->config.max_data_xfer_size ||
        (flags && flags != UNMAP_BITMAP && flags != UNMAP_ALL) ||
        (flags == UNMAP_ALL && (iova || size))) {
        return -EINVAL;
    }
    g_byte_array_append(reply->body, command->body->data, 24);
    if (flags == UNMAP_ALL) {
        mock_dma_drop_all(mock);
        g_cond_broadcast(&mock->changed);
        return 0;
    }
    if (flags == UNMAP_BITMAP) {
        pgsize = mock_get(&reader, 8);
        bytes = mock_get(&reader, 8);
        if (reader.bad || argsz < 40 || bytes > argsz - 40) {
            return -EINVAL;
        }
        mock_put(reply->body, pgsize, 8);
        mock_put(reply->body, bytes, 8);
        error = take_bitmap(mock, iova, size, pgsize, bytes, reply->body);
        if (error) {
            return error;
        }
    }
    index = find_exact(mock, iova, size);
    if (index < 0) {
        return -ENOENT;
    }
    g_ptr_array_remove_index(mock->dma.regions, index);
    g_cond_broadcast(&mock->changed);
    return 0;
}

static void set_logging(Mock *mock, bool on)
{
    unsigned i;

    mock->dma.logging = on;
    for (i = 0; i < mock->dma.regions->len; i++) {
        MockDmaRegion *region = region_at(mock, i);

        if (on) {
            region_start_log(mock, region);
        } else {
            g_clear_pointer(&region->dirty, g_free);
        }
    }
    g_cond_broadcast(&mock->changed);
}

/*
 * A buffer that is too small gets the needed argsz, in as many bytes as it
 * has, as libvfio-user answers.
 */
static int dirty_get(Mock *mock, MockReader *reader, uint32_t argsz,
                     MockMessage *reply)
{
    uint64_t iova = mock_get(reader, 8);
    uint64_t size = mock_get(reader, 8);
    uint64_t pgsize = mock_get(reader, 8);
    uint64_t bytes = mock_get(reader, 8);
    bool fits;

    if (reader->bad || argsz > mock->config.max_data_xfer_size) {
        return -EINVAL;
    }
    fits = argsz >= 40 && bytes <= argsz - 40;
    mock_put(reply->body, 40 + bytes, 4);
    mock_put(reply->body, DIRTY_GET, 4);
    if (!fits) {
        mock_put_zeros(reply->body, argsz - 8);
        return 0;
    }
    mock_put(reply->body, iova, 8);
    mock_put(reply->body, size, 8);
    mock_put(reply->body, pgsize, 8);
    mock_put(reply->body, bytes, 8);
    return take_bitmap(mock, iova, size, pgsize, bytes, reply->body);
}

int mock_dirty_pages(Mock *mock, MockMessage *command, MockMessage *reply)
{
    MockReader reader = mock_reader(command->body->data, command->body->len);
    uint32_t argsz = mock_get(&reader, 4);
    uint32_t flags = mock_get(&reader, 4);

    if (reader.bad || argsz < 8) {
        return -EINVAL;
    }
    if (mock->config.no_migration) {
        return -ENOTSUP;
    }
    switch (flags) {
    case DIRTY_START:
    case DIRTY_STOP:
        set_logging(mock, flags == DIRTY_START);
        return 0;
    case DIRTY_GET:
        return dirty_get(mock, &reader, argsz, reply);
    default:
        return -EINVAL;
    }
}

static void log_pages(Mock *mock, MockDmaRegion *region, uint64_t offset,
                      uint64_t size)
{
    uint64_t page = offset / mock->config.pgsize;
    uint64_t last = (offset + size - 1) / mock->config.pgsize;

    for (; region->dirty && page <= last; page++) {
        region->dirty[page / 64] |= 1ull << (page % 64);
    }
}

int mock_dma_translate(Mock *mock, uint64_t iova, uint64_t size, bool write,
                       uint8_t **memory)
{
    unsigned i;

    if (!size) {
        return -EINVAL;
    }
    for (i = 0; i < mock->dma.regions->len; i++) {
        MockDmaRegion *region = region_at(mock, i);
        uint64_t offset = iova - region->iova;

        if (iova < region->iova || offset >= region->size ||
            size > region->size - offset) {
            continue;
        }
        if (!(region->flags & (write ? MAP_WRITE : MAP_READ))) {
            return -EACCES;
        }
        if (region->fd < 0) {
            return -ENODEV;
        }
        if (write) {
            log_pages(mock, region, offset, size);
        }
        *memory = region->memory + offset;
        return 0;
    }
    return -ENOENT;
}

int mock_dma_write(Mock *mock, uint64_t iova, const void *buffer, size_t size)
{
    MOCK_LOCK_GUARD(mock);
    uint8_t *memory;
    int error = mock_dma_translate(mock, iova, size, true, &memory);

    if (!error) {
        memcpy(memory, buffer, size);
    }
    return error;
}

int mock_dma_read(Mock *mock, uint64_t iova, void *buffer, size_t size)
{
    MOCK_LOCK_GUARD(mock);
    uint8_t *memory;
    int error = mock_dma_translate(mock, iova, size, false, &memory);

    if (!error) {
        memcpy(buffer, memory, size);
    }
    return error;
}

unsigned mock_dma_region_count(Mock *mock)
{
    MOCK_LOCK_GUARD(mock);

    return mock->dma.regions->len;
}

bool mock_dma_is_mapped(Mock *mock, uint64_t iova, uint64_t size, bool *has_fd)
{
    MOCK_LOCK_GUARD(mock);
    int index = find_exact(mock, iova, size);

    if (index >= 0 && has_fd) {
        *has_fd = region_at(mock, index)->fd >= 0;
    }
    return index >= 0;
}

bool mock_dirty_is_logging(Mock *mock)
{
    MOCK_LOCK_GUARD(mock);

    return mock->dma.logging;
}
