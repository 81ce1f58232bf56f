/*
 * vfio-user protocol: the messages as they lie on the wire, their numbers,
 * and the limits this client puts on what a peer may claim.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_USER_PROTOCOL_H
#define HW_VFIO_USER_PROTOCOL_H

#include "qemu/units.h"

/*
 * Every integer below is little-endian.  Only wire.c reads or writes the
 * fields of these structures; everybody else passes them on as bytes.
 *
 * Flags of devices, regions and interrupts, capability ids and the type and
 * subtype of a region are those of linux/vfio.h.
 */

#define VFIO_USER_MAJOR 0
#define VFIO_USER_MINOR 0

/* Commands 1 to 14 are migration v1's; 15 to 18 came with v2. */
typedef enum VFIOUserCommand {
    VFIO_USER_VERSION = 1,
    VFIO_USER_DMA_MAP = 2,
    VFIO_USER_DMA_UNMAP = 3,
    VFIO_USER_DEVICE_GET_INFO = 4,
    VFIO_USER_DEVICE_GET_REGION_INFO = 5,
    VFIO_USER_DEVICE_GET_REGION_IO_FDS = 6,
    VFIO_USER_DEVICE_GET_IRQ_INFO = 7,
    VFIO_USER_DEVICE_SET_IRQS = 8,
    VFIO_USER_REGION_READ = 9,
    VFIO_USER_REGION_WRITE = 10,
    VFIO_USER_DMA_READ = 11,            /* server to client */
    VFIO_USER_DMA_WRITE = 12,           /* server to client */
    VFIO_USER_DEVICE_RESET = 13,
    VFIO_USER_DIRTY_PAGES = 14,
    VFIO_USER_REGION_WRITE_MULTI = 15,
    VFIO_USER_DEVICE_FEATURE = 16,
    VFIO_USER_MIG_DATA_READ = 17,
    VFIO_USER_MIG_DATA_WRITE = 18,
    VFIO_USER_COMMAND_MAX = 19,
} VFIOUserCommand;

/* VFIOUserHeader.flags */
#define VFIO_USER_FLAG_TYPE_MASK    0xfu
#define VFIO_USER_FLAG_COMMAND      0x0u
#define VFIO_USER_FLAG_REPLY        0x1u
#define VFIO_USER_FLAG_NO_REPLY     (1u << 4)
#define VFIO_USER_FLAG_ERROR        (1u << 5)

/* VFIOUserDMAMap.flags */
#define VFIO_USER_DMA_MAP_READ      (1u << 0)
#define VFIO_USER_DMA_MAP_WRITE     (1u << 1)

/* VFIOUserDMAUnmap.flags; the two do not combine */
#define VFIO_USER_DMA_UNMAP_BITMAP  (1u << 0)
#define VFIO_USER_DMA_UNMAP_ALL     (1u << 1)

/* VFIOUserDirtyPages.flags, one of */
#define VFIO_USER_DIRTY_PAGES_START (1u << 0)
#define VFIO_USER_DIRTY_PAGES_STOP  (1u << 1)
#define VFIO_USER_DIRTY_PAGES_GET   (1u << 2)

/* Precedes every message; size counts these 16 bytes too. */
typedef struct VFIOUserHeader {
    uint16_t id;
    uint16_t command;
    uint32_t size;
    uint32_t flags;
    uint32_t error;
} QEMU_PACKED VFIOUserHeader;
QEMU_BUILD_BUG_ON(sizeof(VFIOUserHeader) != 16);

/* VERSION, both ways; JSON text and its NUL may follow */
typedef struct VFIOUserVersion {
    uint16_t major;
    uint16_t minor;
} QEMU_PACKED VFIOUserVersion;
QEMU_BUILD_BUG_ON(sizeof(VFIOUserVersion) != 4);

/* DMA_MAP request; the reply is empty */
typedef struct VFIOUserDMAMap {
    uint32_t argsz;
    uint32_t flags;
    uint64_t fd_offset;
    uint64_t iova;
    uint64_t size;
} QEMU_PACKED VFIOUserDMAMap;
QEMU_BUILD_BUG_ON(sizeof(VFIOUserDMAMap) != 32);

/* DMA_UNMAP request and reply without a bitmap */
typedef struct VFIOUserDMAUnmap {
    uint32_t argsz;
    uint32_t flags;
    uint64_t iova;
    uint64_t size;
} QEMU_PACKED VFIOUserDMAUnmap;
QEMU_BUILD_BUG_ON(sizeof(VFIOUserDMAUnmap) != 24);

/* What a dirty bitmap covers; in replies the bitmap follows */
typedef struct VFIOUserBitmap {
    uint64_t pgsize;
    uint64_t size;
} QEMU_PACKED VFIOUserBitmap;
QEMU_BUILD_BUG_ON(sizeof(VFIOUserBitmap) != 16);

/* DMA_UNMAP with VFIO_USER_DMA_UNMAP_BITMAP; the reply's bitmap follows */
typedef struct VFIOUserDMAUnmapBitmap {
    VFIOUserDMAUnmap unmap;
    VFIOUserBitmap bitmap;
} QEMU_PACKED VFIOUserDMAUnmapBitmap;
QEMU_BUILD_BUG_ON(sizeof(VFIOUserDMAUnmapBitmap) != 40);

/* DEVICE_GET_INFO, both ways */
typedef struct VFIOUserDeviceInfo {
    uint32_t argsz;
    uint32_t flags;
    uint32_t num_regions;
    uint32_t num_irqs;
} QEMU_PACKED VFIOUserDeviceInfo;
QEMU_BUILD_BUG_ON(sizeof(VFIOUserDeviceInfo) != 16);

/* DEVICE_GET_REGION_INFO, both ways; a reply's capabilities follow */
typedef struct VFIOUserRegionInfo {
    uint32_t argsz;
    uint32_t flags;
    uint32_t index;
    uint32_t cap_offset;
    uint64_t size;
    uint64_t offset;
} QEMU_PACKED VFIOUserRegionInfo;
QEMU_BUILD_BUG_ON(sizeof(VFIOUserRegionInfo) != 32);

/* Starts every capability; next is an offset from the start of the info. */
typedef struct VFIOUserCapHeader {
    uint16_t id;
    uint16_t version;
    uint32_t next;
} QEMU_PACKED VFIOUserCapHeader;
QEMU_BUILD_BUG_ON(sizeof(VFIOUserCapHeader) != 8);

/* Capability VFIO_REGION_INFO_CAP_SPARSE_MMAP; nr_areas areas follow */
typedef struct VFIOUserCapSparse {
    VFIOUserCapHeader header;
    uint32_t nr_areas;
    uint32_t reserved;
} QEMU_PACKED VFIOUserCapSparse;
QEMU_BUILD_BUG_ON(sizeof(VFIOUserCapSparse) != 16);

typedef struct VFIOUserCapSparseArea {
    uint64_t offset;
    uint64_t size;
} QEMU_PACKED VFIOUserCapSparseArea;
QEMU_BUILD_BUG_ON(sizeof(VFIOUserCapSparseArea) != 16);

/* Capability VFIO_REGION_INFO_CAP_TYPE */
typedef struct VFIOUserCapType {
    VFIOUserCapHeader header;
    uint32_t type;
    uint32_t subtype;
} QEMU_PACKED VFIOUserCapType;
QEMU_BUILD_BUG_ON(sizeof(VFIOUserCapType) != 16);

/* DEVICE_GET_IRQ_INFO, both ways */
typedef struct VFIOUserIRQInfo {
    uint32_t argsz;
    uint32_t flags;
    uint32_t index;
    uint32_t count;
} QEMU_PACKED VFIOUserIRQInfo;
QEMU_BUILD_BUG_ON(sizeof(VFIOUserIRQInfo) != 16);

/* DEVICE_SET_IRQS request; count bytes follow with DATA_BOOL */
typedef struct VFIOUserIRQSet {
    uint32_t argsz;
    uint32_t flags;
    uint32_t index;
    uint32_t start;
    uint32_t count;
} QEMU_PACKED VFIOUserIRQSet;
QEMU_BUILD_BUG_ON(sizeof(VFIOUserIRQSet) != 20);

/* REGION_READ and REGION_WRITE, both ways; data follows where there is any */
typedef struct VFIOUserRegionRW {
    uint64_t offset;
    uint32_t region;
    uint32_t count;
} QEMU_PACKED VFIOUserRegionRW;
QEMU_BUILD_BUG_ON(sizeof(VFIOUserRegionRW) != 16);

/* DMA_READ and DMA_WRITE, both ways; data follows where there is any */
typedef struct VFIOUserDMARW {
    uint64_t addr;
    uint64_t count;
} QEMU_PACKED VFIOUserDMARW;
QEMU_BUILD_BUG_ON(sizeof(VFIOUserDMARW) != 16);

/* DIRTY_PAGES start and stop request; the reply is empty */
typedef struct VFIOUserDirtyPages {
    uint32_t argsz;
    uint32_t flags;
} QEMU_PACKED VFIOUserDirtyPages;
QEMU_BUILD_BUG_ON(sizeof(VFIOUserDirtyPages) != 8);

/* DIRTY_PAGES get, both ways; the reply's bitmap follows */
typedef struct VFIOUserDirtyPagesGet {
    VFIOUserDirtyPages dirty;
    uint64_t iova;
    uint64_t size;
    VFIOUserBitmap bitmap;
} QEMU_PACKED VFIOUserDirtyPagesGet;
QEMU_BUILD_BUG_ON(sizeof(VFIOUserDirtyPagesGet) != 40);

/*
 * Limits.  Those that a server also states in its capabilities are the
 * ceiling to which its number is clamped.
 */

/* Bytes of data in one region or DMA access */
#define VFIO_USER_MAX_DATA_XFER_SIZE    (1 * MiB)

/*
 * Any message other than the reply that carries a dirty bitmap: the data of
 * one access behind its header and the 16 bytes that describe it.
 */
#define VFIO_USER_MAX_MESSAGE_SIZE \
    (sizeof(VFIOUserHeader) + 16 + VFIO_USER_MAX_DATA_XFER_SIZE)

/* Fds in one message: what QIOChannelSocket passes in one go */
#define VFIO_USER_MAX_FDS               16

/* Version JSON including its NUL */
#define VFIO_USER_MAX_JSON_SIZE         (64 * KiB)

/* Dirty bitmap in one reply, in bytes */
#define VFIO_USER_MAX_BITMAP_SIZE       (256 * MiB)

/* Region description including its capabilities, in bytes */
#define VFIO_USER_MAX_REGION_INFO_SIZE  (64 * KiB)

/* hw/vfio sees region n at offset n << 40, so that no region is larger */
#define VFIO_USER_MAX_REGION_SIZE       (1 * TiB)

#define VFIO_USER_MAX_REGIONS           100
#define VFIO_USER_MAX_SPARSE_AREAS      128
#define VFIO_USER_MAX_IRQS              50

/* Vectors of one interrupt type: as many as MSI-X can have */
#define VFIO_USER_MAX_IRQ_COUNT         2048

#endif /* HW_VFIO_USER_PROTOCOL_H */
