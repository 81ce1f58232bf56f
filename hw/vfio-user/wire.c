/*
 * vfio-user wire layer: requests to bytes and replies to values, with every
 * length, count and index that a peer sent checked on the way.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "hw/vfio-user/wire.h"
#include "wire-check.h"

/* Linux's largest errno; beyond it a reply's error field is no errno. */
#define MAX_ERRNO 4095

static const char *const command_names[VFIO_USER_COMMAND_MAX] = {
    [VFIO_USER_VERSION] = "VERSION",
    [VFIO_USER_DMA_MAP] = "DMA_MAP",
    [VFIO_USER_DMA_UNMAP] = "DMA_UNMAP",
    [VFIO_USER_DEVICE_GET_INFO] = "DEVICE_GET_INFO",
    [VFIO_USER_DEVICE_GET_REGION_INFO] = "DEVICE_GET_REGION_INFO",
    [VFIO_USER_DEVICE_GET_REGION_IO_FDS] = "DEVICE_GET_REGION_IO_FDS",
    [VFIO_USER_DEVICE_GET_IRQ_INFO] = "DEVICE_GET_IRQ_INFO",
    [VFIO_USER_DEVICE_SET_IRQS] = "DEVICE_SET_IRQS",
    [VFIO_USER_REGION_READ] = "REGION_READ",
    [VFIO_USER_REGION_WRITE] = "REGION_WRITE",
    [VFIO_USER_DMA_READ] = "DMA_READ",
    [VFIO_USER_DMA_WRITE] = "DMA_WRITE",
    [VFIO_USER_DEVICE_RESET] = "DEVICE_RESET",
    [VFIO_USER_DIRTY_PAGES] = "DIRTY_PAGES",
    [VFIO_USER_REGION_WRITE_MULTI] = "REGION_WRITE_MULTI",
    [VFIO_USER_DEVICE_FEATURE] = "DEVICE_FEATURE",
    [VFIO_USER_MIG_DATA_READ] = "MIG_DATA_READ",
    [VFIO_USER_MIG_DATA_WRITE] = "MIG_DATA_WRITE",
};

const char *vfio_user_command_name(uint16_t command)
{
    if (command >= ARRAY_SIZE(command_names) || !command_names[command]) {
        return "UNKNOWN";
    }
    return command_names[command];
}

void vfio_user_wire_put_header(VFIOUserHeader *header, uint16_t id,
                               uint16_t command, uint32_t flags,
                               uint32_t error, uint32_t payload_size)
{
    header->id = cpu_to_le16(id);
    header->command = cpu_to_le16(command);
    header->size = cpu_to_le32(sizeof(*header) + payload_size);
    header->flags = cpu_to_le32(flags);
    header->error = cpu_to_le32(error);
}

bool vfio_user_wire_get_header(const uint8_t *data, size_t size, size_t limit,
                               VFIOUserHeaderDesc *header, Error **errp)
{
    VFIOUserHeader wire;
    uint32_t type, flags, error, message_size;

    if (!check_least("header length", size, sizeof(wire), errp)) {
        return false;
    }
    memcpy(&wire, data, sizeof(wire));
    message_size = le32_to_cpu(wire.size);
    flags = le32_to_cpu(wire.flags);
    error = le32_to_cpu(wire.error);
    type = flags & VFIO_USER_FLAG_TYPE_MASK;

    if (!check_least("message size", message_size, sizeof(wire), errp) ||
        !check_most("message size", message_size, limit, errp)) {
        return false;
    }
    if (type != VFIO_USER_FLAG_COMMAND && type != VFIO_USER_FLAG_REPLY) {
        error_setg(errp, "message type is neither command nor reply (got %"
                   PRIu32 ", limit %u)", type, VFIO_USER_FLAG_REPLY);
        return false;
    }
    *header = (VFIOUserHeaderDesc) {
        .id = le16_to_cpu(wire.id),
        .command = le16_to_cpu(wire.command),
        .size = message_size - sizeof(wire),
        .reply = type == VFIO_USER_FLAG_REPLY,
        .no_reply = type == VFIO_USER_FLAG_COMMAND &&
                    (flags & VFIO_USER_FLAG_NO_REPLY),
    };
    /* An error without an errno must not pass for success. */
    if (header->reply && (flags & VFIO_USER_FLAG_ERROR)) {
        header->error = error >= 1 && error <= MAX_ERRNO ? error : EIO;
    }
    return true;
}

bool vfio_user_wire_get_empty(size_t size, Error **errp)
{
    return check_length(size, 0, errp);
}

uint8_t *vfio_user_wire_put_version(uint16_t major, uint16_t minor,
                                    const char *json, size_t *size)
{
    VFIOUserVersion wire = {
        .major = cpu_to_le16(major),
        .minor = cpu_to_le16(minor),
    };
    size_t json_size = json ? strlen(json) + 1 : 0;
    uint8_t *payload = g_malloc(sizeof(wire) + json_size);

    memcpy(payload, &wire, sizeof(wire));
    if (json) {
        memcpy(payload + sizeof(wire), json, json_size);
    }
    *size = sizeof(wire) + json_size;
    return payload;
}

static bool check_json(const char *json, size_t size, Error **errp)
{
    const char *nul;

    if (!check_most("JSON length", size, VFIO_USER_MAX_JSON_SIZE, errp)) {
        return false;
    }
    nul = memchr(json, '\0', size);
    if (!nul) {
        error_setg(errp, "JSON does not end with NUL (got %zu bytes)", size);
        return false;
    }
    if (nul != json + size - 1) {
        error_setg(errp, "JSON has a NUL inside (got one at %zu, limit %zu)",
                   (size_t)(nul - json), size - 1);
        return false;
    }
    return true;
}

bool vfio_user_wire_get_version(const uint8_t *payload, size_t size,
                                uint16_t major, uint16_t minor,
                                VFIOUserVersionDesc *version, Error **errp)
{
    VFIOUserVersion wire;
    const char *json = NULL;
    size_t json_size;

    if (!check_least("payload length", size, sizeof(wire), errp)) {
        return false;
    }
    memcpy(&wire, payload, sizeof(wire));
    if (!check_echo("major version", le16_to_cpu(wire.major), major, errp) ||
        !check_most("minor version", le16_to_cpu(wire.minor), minor, errp)) {
        return false;
    }
    json_size = size - sizeof(wire);
    if (json_size) {
        json = (const char *)payload + sizeof(wire);
        if (!check_json(json, json_size, errp)) {
            return false;
        }
    }
    *version = (VFIOUserVersionDesc) {
        .major = le16_to_cpu(wire.major),
        .minor = le16_to_cpu(wire.minor),
        .json = json,
        .json_len = json ? json_size - 1 : 0,
    };
    return true;
}

void vfio_user_wire_put_device_info(VFIOUserDeviceInfo *info)
{
    *info = (VFIOUserDeviceInfo) { .argsz = cpu_to_le32(sizeof(*info)) };
}

bool vfio_user_wire_get_device_info(const uint8_t *payload, size_t size,
                                    VFIOUserDeviceDesc *device, Error **errp)
{
    VFIOUserDeviceInfo wire;
    uint32_t num_regions, num_irqs;

    if (!check_length(size, sizeof(wire), errp)) {
        return false;
    }
    memcpy(&wire, payload, sizeof(wire));
    num_regions = le32_to_cpu(wire.num_regions);
    num_irqs = le32_to_cpu(wire.num_irqs);
    if (!check_least("argsz", le32_to_cpu(wire.argsz), sizeof(wire), errp) ||
        !check_least("num_regions", num_regions,
                     VFIO_PCI_CONFIG_REGION_INDEX + 1, errp) ||
        !check_most("num_regions", num_regions, VFIO_USER_MAX_REGIONS, errp) ||
        !check_least("num_irqs", num_irqs, VFIO_PCI_MSIX_IRQ_INDEX + 1,
                     errp) ||
        !check_most("num_irqs", num_irqs, VFIO_USER_MAX_IRQS, errp)) {
        return false;
    }
    *device = (VFIOUserDeviceDesc) {
        .flags = le32_to_cpu(wire.flags),
        .num_regions = num_regions,
        .num_irqs = num_irqs,
    };
    return true;
}

void vfio_user_wire_put_irq_info(VFIOUserIRQInfo *info, uint32_t index)
{
    *info = (VFIOUserIRQInfo) {
        .argsz = cpu_to_le32(sizeof(*info)),
        .index = cpu_to_le32(index),
    };
}

bool vfio_user_wire_get_irq_info(const uint8_t *payload, size_t size,
                                 uint32_t index, VFIOUserIRQDesc *irq,
                                 Error **errp)
{
    VFIOUserIRQInfo wire;
    uint32_t count;

    if (!check_length(size, sizeof(wire), errp)) {
        return false;
    }
    memcpy(&wire, payload, sizeof(wire));
    count = le32_to_cpu(wire.count);
    if (!check_least("argsz", le32_to_cpu(wire.argsz), sizeof(wire), errp) ||
        !check_echo("index", le32_to_cpu(wire.index), index, errp) ||
        !check_most("count", count, VFIO_USER_MAX_IRQ_COUNT, errp)) {
        return false;
    }
    *irq = (VFIOUserIRQDesc) {
        .flags = le32_to_cpu(wire.flags),
        .count = count,
    };
    return true;
}

void vfio_user_wire_put_set_irqs(VFIOUserIRQSet *set, uint32_t flags,
                                 uint32_t index, uint32_t start,
                                 uint32_t count, uint32_t data_size)
{
    set->argsz = cpu_to_le32(sizeof(*set) + data_size);
    set->flags = cpu_to_le32(flags);
    set->index = cpu_to_le32(index);
    set->start = cpu_to_le32(start);
    set->count = cpu_to_le32(count);
}

void vfio_user_wire_put_region_rw(VFIOUserRegionRW *rw, uint32_t region,
                                  uint64_t offset, uint32_t count)
{
    rw->offset = cpu_to_le64(offset);
    rw->region = cpu_to_le32(region);
    rw->count = cpu_to_le32(count);
}

/* The 16 bytes that replies to REGION_READ and REGION_WRITE share */
static bool check_region_rw(const uint8_t *payload, size_t size,
                            uint32_t region, uint64_t offset, uint32_t count,
                            Error **errp)
{
    VFIOUserRegionRW wire;
    uint32_t got;

    if (!check_least("payload length", size, sizeof(wire), errp)) {
        return false;
    }
    memcpy(&wire, payload, sizeof(wire));
    got = le32_to_cpu(wire.count);
    if (!check_echo("region", le32_to_cpu(wire.region), region, errp) ||
        !check_echo("offset", le64_to_cpu(wire.offset), offset, errp)) {
        return false;
    }
    if (got != count) {
        error_setg(errp, "count %s the bytes asked for (got %" PRIu32
                   ", limit %" PRIu32 ")",
                   got > count ? "exceeds" : "is short of", got, count);
        return false;
    }
    return true;
}

bool vfio_user_wire_get_region_read(const uint8_t *payload, size_t size,
                                    uint32_t region, uint64_t offset,
                                    uint32_t count, const uint8_t **data,
                                    Error **errp)
{
    if (!check_region_rw(payload, size, region, offset, count, errp) ||
        !check_length(size, sizeof(VFIOUserRegionRW) + (uint64_t)count,
                      errp)) {
        return false;
    }
    *data = payload + sizeof(VFIOUserRegionRW);
    return true;
}

bool vfio_user_wire_get_region_write(const uint8_t *payload, size_t size,
                                     uint32_t region, uint64_t offset,
                                     uint32_t count, Error **errp)
{
    return check_region_rw(payload, size, region, offset, count, errp) &&
           check_length(size, sizeof(VFIOUserRegionRW), errp);
}

void vfio_user_wire_put_dma_map(VFIOUserDMAMap *map, uint32_t flags,
                                uint64_t fd_offset, uint64_t iova,
                                uint64_t size)
{
    map->argsz = cpu_to_le32(sizeof(*map));
    map->flags = cpu_to_le32(flags);
    map->fd_offset = cpu_to_le64(fd_offset);
    map->iova = cpu_to_le64(iova);
    map->size = cpu_to_le64(size);
}

void vfio_user_wire_put_dma_unmap(VFIOUserDMAUnmap *unmap, uint32_t flags,
                                  uint64_t iova, uint64_t size)
{
    unmap->argsz = cpu_to_le32(sizeof(*unmap));
    unmap->flags = cpu_to_le32(flags);
    unmap->iova = cpu_to_le64(iova);
    unmap->size = cpu_to_le64(size);
}

bool vfio_user_wire_get_dma_unmap(const uint8_t *payload, size_t size,
                                  uint64_t iova, uint64_t unmap_size,
                                  Error **errp)
{
    VFIOUserDMAUnmap wire;

    if (!size) {
        return true;
    }
    if (!check_length(size, sizeof(wire), errp)) {
        return false;
    }
    memcpy(&wire, payload, sizeof(wire));
    return check_most("argsz", le32_to_cpu(wire.argsz), size, errp) &&
           check_echo("iova", le64_to_cpu(wire.iova), iova, errp) &&
           check_echo("size", le64_to_cpu(wire.size), unmap_size, errp);
}

/* Rounds up, for any @size and any @unit but 0 */
static uint64_t count_units(uint64_t size, uint64_t unit)
{
    return size / unit + (size % unit != 0);
}

uint64_t vfio_user_wire_bitmap_size(uint64_t size, uint64_t pgsize)
{
    return count_units(count_units(size, pgsize), 64) * sizeof(uint64_t);
}

void vfio_user_wire_put_dma_unmap_bitmap(VFIOUserDMAUnmapBitmap *unmap,
                                         uint64_t iova, uint64_t size,
                                         uint64_t pgsize)
{
    uint64_t bitmap_size = vfio_user_wire_bitmap_size(size, pgsize);

    vfio_user_wire_put_dma_unmap(&unmap->unmap, VFIO_USER_DMA_UNMAP_BITMAP,
                                 iova, size);
    unmap->unmap.argsz = cpu_to_le32(sizeof(*unmap) + bitmap_size);
    unmap->bitmap.pgsize = cpu_to_le64(pgsize);
    unmap->bitmap.size = cpu_to_le64(bitmap_size);
}

/*
 * The replies that carry a bitmap lay their fields out alike: argsz and flags,
 * iova and size, page size and bitmap size, the bitmap.
 */
QEMU_BUILD_BUG_ON(sizeof(VFIOUserDMAUnmapBitmap) !=
                  sizeof(VFIOUserDirtyPagesGet));
QEMU_BUILD_BUG_ON(offsetof(VFIOUserDMAUnmapBitmap, unmap.iova) !=
                  offsetof(VFIOUserDirtyPagesGet, iova));
QEMU_BUILD_BUG_ON(offsetof(VFIOUserDMAUnmapBitmap, bitmap) !=
                  offsetof(VFIOUserDirtyPagesGet, bitmap));

bool vfio_user_wire_get_dirty_pages(const uint8_t *payload, size_t size,
                                    uint64_t iova, uint64_t range_size,
                                    uint64_t pgsize, uint8_t *bitmap,
                                    Error **errp)
{
    VFIOUserDirtyPagesGet wire;
    uint64_t bitmap_size = vfio_user_wire_bitmap_size(range_size, pgsize);
    uint64_t pages = count_units(range_size, pgsize);

    if (!check_length(size, sizeof(wire) + bitmap_size, errp)) {
        return false;
    }
    memcpy(&wire, payload, sizeof(wire));
    if (!check_most("argsz", le32_to_cpu(wire.dirty.argsz), size, errp) ||
        !check_echo("iova", le64_to_cpu(wire.iova), iova, errp) ||
        !check_echo("size", le64_to_cpu(wire.size), range_size, errp) ||
        !check_echo("bitmap page size", le64_to_cpu(wire.bitmap.pgsize),
                    pgsize, errp) ||
        !check_echo("bitmap size", le64_to_cpu(wire.bitmap.size),
                    bitmap_size, errp)) {
        return false;
    }
    memcpy(bitmap, payload + sizeof(wire), bitmap_size);

    /* Readers take whole words: bits of no page would dirty other memory. */
    for (uint64_t bit = pages; bit < bitmap_size * 8; bit++) {
        bitmap[bit / 8] &= ~(1u << (bit % 8));
    }
    return true;
}

bool vfio_user_wire_get_dma_unmap_bitmap(const uint8_t *payload, size_t size,
                                         uint64_t iova, uint64_t unmap_size,
                                         uint64_t pgsize, uint8_t *bitmap,
                                         Error **errp)
{
    return vfio_user_wire_get_dirty_pages(payload, size, iova, unmap_size,
                                          pgsize, bitmap, errp);
}

void vfio_user_wire_put_dirty_pages(VFIOUserDirtyPages *dirty, uint32_t flags)
{
    dirty->argsz = cpu_to_le32(sizeof(*dirty));
    dirty->flags = cpu_to_le32(flags);
}

void vfio_user_wire_put_dirty_pages_get(VFIOUserDirtyPagesGet *get,
                                        uint64_t iova, uint64_t size,
                                        uint64_t pgsize)
{
    uint64_t bitmap_size = vfio_user_wire_bitmap_size(size, pgsize);

    get->dirty.argsz = cpu_to_le32(sizeof(*get) + bitmap_size);
    get->dirty.flags = cpu_to_le32(VFIO_USER_DIRTY_PAGES_GET);
    get->iova = cpu_to_le64(iova);
    get->size = cpu_to_le64(size);
    get->bitmap.pgsize = cpu_to_le64(pgsize);
    get->bitmap.size = cpu_to_le64(bitmap_size);
}

/* The 16 bytes that start DMA_READ and DMA_WRITE requests */
static bool get_dma_request(const uint8_t *payload, size_t size,
                            uint64_t limit, VFIOUserDMADesc *dma, Error **errp)
{
    VFIOUserDMARW wire;
    uint64_t addr, count;

    if (!check_least("payload length", size, sizeof(wire), errp)) {
        return false;
    }
    memcpy(&wire, payload, sizeof(wire));
    addr = le64_to_cpu(wire.addr);
    count = le64_to_cpu(wire.count);
    if (!check_most("count", count, limit, errp)) {
        return false;
    }
    if (addr + count < addr) {
        error_setg(errp, "range wraps around (got 0x%" PRIx64 " bytes, "
                   "limit 0x%" PRIx64 " at 0x%" PRIx64 ")", count,
                   UINT64_MAX - addr, addr);
        return false;
    }
    *dma = (VFIOUserDMADesc) { .addr = addr, .count = count };
    return true;
}

bool vfio_user_wire_get_dma_read(const uint8_t *payload, size_t size,
                                 uint64_t limit, VFIOUserDMADesc *dma,
                                 Error **errp)
{
    VFIOUserDMADesc request;

    if (!get_dma_request(payload, size, limit, &request, errp) ||
        !check_length(size, sizeof(VFIOUserDMARW), errp)) {
        return false;
    }
    *dma = request;
    return true;
}

bool vfio_user_wire_get_dma_write(const uint8_t *payload, size_t size,
                                  uint64_t limit, VFIOUserDMADesc *dma,
                                  Error **errp)
{
    VFIOUserDMADesc request;

    if (!get_dma_request(payload, size, limit, &request, errp)) {
        return false;
    }
    if (size - sizeof(VFIOUserDMARW) != request.count) {
        error_setg(errp, "count differs from the data (got %" PRIu64
                   ", limit %zu)", request.count,
                   size - sizeof(VFIOUserDMARW));
        return false;
    }
    request.data = payload + sizeof(VFIOUserDMARW);
    *dma = request;
    return true;
}

void vfio_user_wire_put_dma_reply(VFIOUserDMARW *rw, uint64_t addr,
                                  uint64_t count)
{
    rw->addr = cpu_to_le64(addr);
    rw->count = cpu_to_le64(count);
}
