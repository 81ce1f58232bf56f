/*
 * vfio-user wire layer: requests to bytes and replies to values, with every
 * length, count and index that a peer sent checked on the way.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_USER_WIRE_H
#define HW_VFIO_USER_WIRE_H

#include <linux/vfio.h>
#include "qapi/error.h"
#include "hw/vfio-user/protocol.h"

/*
 * What holds for every function here:
 *
 * - Pure: no lock, no thread, no socket, no state.  Any thread may call.
 * - put functions take host values, fill the caller's structure in wire
 *   order and cannot fail.  What follows the structure on the wire (data,
 *   JSON) is the caller's to append.
 * - get functions take the payload of a message that was not an error reply:
 *   the @size bytes after the 16 byte header.  @payload may be NULL when
 *   @size is 0, and needs no alignment.  They return true and fill in their
 *   results, or return false with @errp set and the results untouched.
 * - An error's text starts with the field that is wrong and has no prefix:
 *   whoever knows the connection and the command adds them.
 * - Pointers handed out point into @payload and live as long as it does.
 *
 * The specification's section for each function is that of the command named
 * first in its comment.
 */

/*
 * Name of @command as the specification has it, without the VFIO_USER_
 * prefix, or "UNKNOWN".  A static string.
 */
const char *vfio_user_command_name(uint16_t command);

/* A message header in host terms. */
typedef struct VFIOUserHeaderDesc {
    uint16_t id;
    uint16_t command;
    uint32_t size;          /* of the payload, without the header */
    bool reply;             /* else a command */
    bool no_reply;          /* the sender of this command wants no answer */
    int error;              /* in a reply: 0, or a positive errno to 4095 */
} VFIOUserHeaderDesc;

/*
 * Header ("Header").  @flags are VFIO_USER_FLAG_*; @error is a positive errno
 * when VFIO_USER_FLAG_ERROR is among them, else 0.  @payload_size is the
 * number of bytes that follow the header, at most UINT32_MAX - 16.
 */
void vfio_user_wire_put_header(VFIOUserHeader *header, uint16_t id,
                               uint16_t command, uint32_t flags,
                               uint32_t error, uint32_t payload_size);

/*
 * Header ("Header") in the first 16 of the @size bytes at @data.  @limit is
 * the largest message to accept, header included.  An error reply whose errno
 * is 0 or not an errno comes out as EIO.  Fails when @size is less than 16,
 * or the message is smaller than its header, larger than @limit, or neither
 * command nor reply: the stream can not be trusted any further then.
 */
bool vfio_user_wire_get_header(const uint8_t *data, size_t size, size_t limit,
                               VFIOUserHeaderDesc *header, Error **errp);

/*
 * A reply without payload: DMA_MAP, DEVICE_SET_IRQS, DEVICE_RESET, and
 * DIRTY_PAGES start and stop.  Fails unless @size is 0.
 */
bool vfio_user_wire_get_empty(size_t size, Error **errp);

/*
 * VERSION request.  @json is NUL-terminated, or NULL to send none.  Returns
 * the whole payload, JSON and NUL included, to be freed with g_free(), and
 * its length in @size.
 */
uint8_t *vfio_user_wire_put_version(uint16_t major, uint16_t minor,
                                    const char *json, size_t *size);

/* A VERSION reply. */
typedef struct VFIOUserVersionDesc {
    uint16_t major;
    uint16_t minor;
    const char *json;       /* NUL-terminated; NULL when there is none */
    size_t json_len;        /* without the NUL */
} VFIOUserVersionDesc;

/*
 * VERSION reply to a request for @major and @minor.  Fails on another major,
 * a higher minor, a payload shorter than its fixed part, and JSON that is
 * longer than VFIO_USER_MAX_JSON_SIZE, lacks its NUL or has one too early.
 */
bool vfio_user_wire_get_version(const uint8_t *payload, size_t size,
                                uint16_t major, uint16_t minor,
                                VFIOUserVersionDesc *version, Error **errp);

/* A DEVICE_GET_INFO reply; flags are VFIO_DEVICE_FLAGS_*. */
typedef struct VFIOUserDeviceDesc {
    uint32_t flags;
    uint32_t num_regions;
    uint32_t num_irqs;
} VFIOUserDeviceDesc;

/* DEVICE_GET_INFO request. */
void vfio_user_wire_put_device_info(VFIOUserDeviceInfo *info);

/*
 * DEVICE_GET_INFO reply.  Fails on a wrong length, and on fewer regions or
 * interrupt types than PCI needs (through config space and MSI-X) or more
 * than VFIO_USER_MAX_REGIONS and VFIO_USER_MAX_IRQS.
 */
bool vfio_user_wire_get_device_info(const uint8_t *payload, size_t size,
                                    VFIOUserDeviceDesc *device, Error **errp);

/* Part of a region that may be mapped, in bytes from the region's start */
typedef struct VFIOUserSparseArea {
    uint64_t offset;
    uint64_t size;
} VFIOUserSparseArea;

/* A DEVICE_GET_REGION_INFO reply. */
typedef struct VFIOUserRegionDesc {
    uint32_t index;
    uint32_t flags;         /* VFIO_REGION_INFO_FLAG_READ, _WRITE, _MMAP */
    uint64_t size;
    uint64_t offset;        /* of the region in the server's fd */
    uint32_t argsz;         /* bytes the whole description takes */
    bool complete;          /* false: ask again, with argsz */
    bool has_sparse;        /* only the areas may be mapped */
    uint32_t nr_areas;      /* one fd each may have come, in this order */
    VFIOUserSparseArea areas[VFIO_USER_MAX_SPARSE_AREAS];
    bool has_type;
    uint32_t type;
    uint32_t subtype;
    bool msix_mappable;
} VFIOUserRegionDesc;

/*
 * DEVICE_GET_REGION_INFO request for region @index.  @argsz is the size of
 * the description to accept, from 32 to VFIO_USER_MAX_REGION_INFO_SIZE.
 */
void vfio_user_wire_put_region_info(VFIOUserRegionInfo *info, uint32_t index,
                                    uint32_t argsz);

/*
 * DEVICE_GET_REGION_INFO reply to a request with @index and @argsz.
 * @page_size is the host's, a power of two.
 *
 * When the description does not fit @argsz, the result has @complete false,
 * only its fixed fields hold, and the caller asks once more with the result's
 * argsz.  It never exceeds VFIO_USER_MAX_REGION_INFO_SIZE.
 *
 * Fails on another index, a size above VFIO_USER_MAX_REGION_SIZE, a mappable
 * region beyond what off_t can address, lengths that contradict each other, a
 * capability chain that leaves the reply, is not 8 byte aligned, goes
 * backwards or has a known capability twice, and areas that are too many,
 * outside the region, not page aligned or overlapping.  An area of size 0 is
 * kept, since the order of areas is that of the fds.  Unknown flags and
 * capabilities are left out.
 */
bool vfio_user_wire_get_region_info(const uint8_t *payload, size_t size,
                                    uint32_t index, uint32_t argsz,
                                    uint64_t page_size,
                                    VFIOUserRegionDesc *region, Error **errp);

/*
 * The kernel's description of @region, with the capability chain made anew
 * from what was checked (users of the chain walk it without bounds) and
 * @offset in place of the server's.  Areas of size 0 are left out.  argsz is
 * the size of the whole.  Free with g_free().
 */
struct vfio_region_info *
vfio_user_wire_build_region_info(const VFIOUserRegionDesc *region,
                                 uint64_t offset);

/* A DEVICE_GET_IRQ_INFO reply; flags are VFIO_IRQ_INFO_*. */
typedef struct VFIOUserIRQDesc {
    uint32_t flags;
    uint32_t count;
} VFIOUserIRQDesc;

/* DEVICE_GET_IRQ_INFO request for interrupt type @index. */
void vfio_user_wire_put_irq_info(VFIOUserIRQInfo *info, uint32_t index);

/*
 * DEVICE_GET_IRQ_INFO reply to a request for @index.  Fails on a wrong length
 * or index, and on more than VFIO_USER_MAX_IRQ_COUNT vectors.
 */
bool vfio_user_wire_get_irq_info(const uint8_t *payload, size_t size,
                                 uint32_t index, VFIOUserIRQDesc *irq,
                                 Error **errp);

/*
 * DEVICE_SET_IRQS request.  @flags are VFIO_IRQ_SET_*; @data_size is how many
 * bytes the caller appends: @count with DATA_BOOL, else 0 (eventfds travel
 * beside the message).  The reply is empty.
 */
void vfio_user_wire_put_set_irqs(VFIOUserIRQSet *set, uint32_t flags,
                                 uint32_t index, uint32_t start,
                                 uint32_t count, uint32_t data_size);

/*
 * REGION_READ request, and the fixed part of a REGION_WRITE request, for
 * @count bytes at @offset of region @region.
 */
void vfio_user_wire_put_region_rw(VFIOUserRegionRW *rw, uint32_t region,
                                  uint64_t offset, uint32_t count);

/*
 * REGION_READ reply to a request with the same @region, @offset and @count.
 * Points @data at the @count bytes read.  Fails when the reply is about
 * something else, or has not exactly @count bytes.
 */
bool vfio_user_wire_get_region_read(const uint8_t *payload, size_t size,
                                    uint32_t region, uint64_t offset,
                                    uint32_t count, const uint8_t **data,
                                    Error **errp);

/*
 * REGION_WRITE reply to a request with the same @region, @offset and @count.
 * Fails when the reply is about something else, or not all was written.
 */
bool vfio_user_wire_get_region_write(const uint8_t *payload, size_t size,
                                     uint32_t region, uint64_t offset,
                                     uint32_t count, Error **errp);

/*
 * DMA_MAP request: @size bytes at @fd_offset of the fd that goes with it, if
 * any, appear at @iova.  @flags are VFIO_USER_DMA_MAP_*.  The reply is empty.
 */
void vfio_user_wire_put_dma_map(VFIOUserDMAMap *map, uint32_t flags,
                                uint64_t fd_offset, uint64_t iova,
                                uint64_t size);

/*
 * DMA_UNMAP request without a bitmap.  @flags is 0, or
 * VFIO_USER_DMA_UNMAP_ALL with @iova and @size 0.
 */
void vfio_user_wire_put_dma_unmap(VFIOUserDMAUnmap *unmap, uint32_t flags,
                                  uint64_t iova, uint64_t size);

/*
 * DMA_UNMAP reply to a request with the same @iova and @unmap_size.  A device
 * without DMA answers with no payload, which is accepted.
 */
bool vfio_user_wire_get_dma_unmap(const uint8_t *payload, size_t size,
                                  uint64_t iova, uint64_t unmap_size,
                                  Error **errp);

/*
 * Bytes in the dirty bitmap of @size bytes at @pgsize each: whole 64 bit
 * words.  @pgsize is not 0.
 */
uint64_t vfio_user_wire_bitmap_size(uint64_t size, uint64_t pgsize);

/*
 * DMA_UNMAP request that asks for the dirty bitmap of what it unmaps.
 * @pgsize is not 0; the bitmap of @size is at most VFIO_USER_MAX_BITMAP_SIZE.
 */
void vfio_user_wire_put_dma_unmap_bitmap(VFIOUserDMAUnmapBitmap *unmap,
                                         uint64_t iova, uint64_t size,
                                         uint64_t pgsize);

/*
 * DMA_UNMAP reply with a bitmap, to a request with the same @iova,
 * @unmap_size and @pgsize.  Copies vfio_user_wire_bitmap_size(@unmap_size,
 * @pgsize) bytes to @bitmap, in wire order (bit n of the bytes is page n),
 * with the bits after the last page cleared.  Fails unless the whole bitmap
 * of just that range is there.
 */
bool vfio_user_wire_get_dma_unmap_bitmap(const uint8_t *payload, size_t size,
                                         uint64_t iova, uint64_t unmap_size,
                                         uint64_t pgsize, uint8_t *bitmap,
                                         Error **errp);

/*
 * DIRTY_PAGES request: @flags is VFIO_USER_DIRTY_PAGES_START or _STOP.  The
 * reply is empty.
 */
void vfio_user_wire_put_dirty_pages(VFIOUserDirtyPages *dirty, uint32_t flags);

/*
 * DIRTY_PAGES request for the bitmap of @size bytes at @iova, one bit for
 * @pgsize bytes.  @pgsize is not 0; the bitmap is at most
 * VFIO_USER_MAX_BITMAP_SIZE.
 */
void vfio_user_wire_put_dirty_pages_get(VFIOUserDirtyPagesGet *get,
                                        uint64_t iova, uint64_t size,
                                        uint64_t pgsize);

/*
 * DIRTY_PAGES reply to a get request with the same @iova, @range_size and
 * @pgsize.  As vfio_user_wire_get_dma_unmap_bitmap(): a reply that is short,
 * or about another range, fails and so never reads as clean.
 */
bool vfio_user_wire_get_dirty_pages(const uint8_t *payload, size_t size,
                                    uint64_t iova, uint64_t range_size,
                                    uint64_t pgsize, uint8_t *bitmap,
                                    Error **errp);

/* A DMA_READ or DMA_WRITE request from the server. */
typedef struct VFIOUserDMADesc {
    uint64_t addr;
    uint64_t count;         /* bytes; addr + count does not wrap */
    const uint8_t *data;    /* DMA_WRITE: the count bytes; else NULL */
} VFIOUserDMADesc;

/*
 * DMA_READ request.  @limit is the count this client offered to take.  Fails
 * on a wrong length, a count above @limit, and a range that wraps.
 */
bool vfio_user_wire_get_dma_read(const uint8_t *payload, size_t size,
                                 uint64_t limit, VFIOUserDMADesc *dma,
                                 Error **errp);

/* DMA_WRITE request; as above, and the data has exactly count bytes. */
bool vfio_user_wire_get_dma_write(const uint8_t *payload, size_t size,
                                  uint64_t limit, VFIOUserDMADesc *dma,
                                  Error **errp);

/*
 * Reply to DMA_READ (the caller appends the @count bytes) and DMA_WRITE
 * (nothing follows; servers want all 16 bytes of this one).
 */
void vfio_user_wire_put_dma_reply(VFIOUserDMARW *rw, uint64_t addr,
                                  uint64_t count);

#endif /* HW_VFIO_USER_WIRE_H */
