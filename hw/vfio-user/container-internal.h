/*
 * What the files of the vfio-user container share: its mappings, and how they
 * are told to the server.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_USER_CONTAINER_INTERNAL_H
#define HW_VFIO_USER_CONTAINER_INTERNAL_H

#include "hw/vfio-user/container.h"
#include "hw/vfio-user/incoming.h"

/* A mapping, exactly as the server was told of it, or is to be */
typedef struct VFIOUserMapping {
    hwaddr iova;
    hwaddr size;
    uint32_t flags;         /* of DMA_MAP */
    MemoryRegion *mr;       /* the RAM it shows; a reference */
    uint64_t offset;        /* in mr and, if there is one, in fd */
    int fd;                 /* QEMU's; -1: the server cannot reach it itself */
    unsigned int number;    /* how many there were with it, from 1 */
    bool told;              /* else the device is stopped, and is told later */
    QTAILQ_ENTRY(VFIOUserMapping) next;
} VFIOUserMapping;

typedef QTAILQ_HEAD(, VFIOUserMapping) VFIOUserMappings;

/* A DMA_MAP or DMA_UNMAP that was sent, and not waited for */
typedef struct VFIOUserDMARequest {
    VFIOUserCall call;
    union {
        VFIOUserDMAMap map;
        VFIOUserDMAUnmapBitmap unmap;
    } head;
    VFIOUserMapping *mapping;   /* of DMA_UNMAP: owned, and on no list */
    bool bitmap;                /* the reply has one */
    QTAILQ_ENTRY(VFIOUserDMARequest) next;
} VFIOUserDMARequest;

/* dirty.c: a question for a mapping's dirty pages */
typedef struct VFIOUserDirtyQuery VFIOUserDirtyQuery;

/*
 * The lists, their counts and all of logging are guarded by the lock of
 * vfio_migration_lock_stopped(); a thread that resumes the device changes them
 * with that lock alone.  A device without migration has no such lock, and
 * none but the BQL is needed.  Everything else is used with the BQL held.
 *
 * The lock is held from the look at whether the device is stopped until the
 * request is sent, which keeps a change of device_state behind it.
 */
struct VFIOUserContainer {
    VFIOContainer container;
    VFIOAddressSpace space;
    VFIOGroup group;
    VFIOHostDMAWindow window;
    VFIOUserDevice *device;
    VFIODevice *vbasedev;
    VFIOUserDMATable *table;        /* what the server may reach by message */
    bool secure;
    bool batching;                  /* in a memory transaction: answers wait */
    bool batched;                   /* some may */
    bool restoring;                 /* the log is for restore_log() */
    VFIOUserMappings mappings;      /* what QEMU wants mapped */
    unsigned int num_mappings;
    VFIOUserMappings late_unmaps;   /* no mapping any more, but not told so */
    QTAILQ_HEAD(, VFIOUserDMARequest) requests; /* in order of sending */
    unsigned int num_requests;
    unsigned int num_map_requests;
    bool logging;                   /* the server logs dirty pages */
    VFIOUserDirtyQuery *queries;    /* a ring; NULL: none is under way */
    unsigned int queries_sent;
    unsigned int queries_ended;
    bool asked_stopped;             /* for the next sync, since it stopped */
};

static inline VFIOUserContainer *vfio_user_container(VFIOContainer *container)
{
    return container_of(container, VFIOUserContainer, container);
}

static inline VFIOUserContainer *
vfio_user_container_of_listener(MemoryListener *listener)
{
    return container_of(listener, VFIOUserContainer, container.listener);
}

/* dma.c: slots of VFIOContainerIOOps */
int vfio_user_container_dma_map(VFIOContainer *container,
                                struct vfio_iommu_type1_dma_map *map);
int vfio_user_container_dma_unmap(VFIOContainer *container,
                                  struct vfio_iommu_type1_dma_unmap *unmap);

/* dma.c: slots of MemoryListener */
void vfio_user_container_begin(MemoryListener *listener);
void vfio_user_container_commit(MemoryListener *listener);

/* dirty.c: VFIOUserDevice.ask_dirty */
void vfio_user_container_ask_stopped(VFIODevice *vbasedev);

/* dirty.c: wait for what dirty pages were asked for.  Lock held. */
void vfio_user_container_end_queries(VFIOUserContainer *user);

/* dma.c: VFIOUserDevice.resume_dma and settle_dma */
void vfio_user_container_resumed(VFIODevice *vbasedev);
void vfio_user_container_settled(VFIODevice *vbasedev);

/* dma.c: Forget all mappings without telling the server.  BQL held. */
void vfio_user_container_drop_mappings(VFIOUserContainer *user);

/*
 * dma.c: @mapping, which is on the list, was refused for @ret (-errno) and
 * @err, which is taken over: report it or, while the container is set up, keep
 * it for that one's error.  Takes @mapping away and frees it.  Lock held.
 */
void vfio_user_container_refused(VFIOUserContainer *user,
                                 VFIOUserMapping *mapping, int ret,
                                 Error *err);

/* dma.c: free @mapping, which is on no list.  Any thread. */
void vfio_user_mapping_free(VFIOUserMapping *mapping);

/*
 * dma-requests.c: tell the server of @mapping, which is on the list; the answer
 * is for vfio_user_container_settle(), but the first answers are waited for
 * when many are due.  Returns 0, or -errno when it could not be sent or was
 * answered already; it was dealt with as refused then, and is no more.  Lock
 * held.
 */
int vfio_user_container_send_map(VFIOUserContainer *user,
                                 VFIOUserMapping *mapping);

/*
 * dma-requests.c: the same to say that @mapping is no more.  It is on no list,
 * and is taken over.  Lock held.
 */
void vfio_user_container_send_unmap(VFIOUserContainer *user,
                                    VFIOUserMapping *mapping);

/*
 * dma-requests.c: wait for the answers to all that was sent, and do what they
 * entail.  Returns 0, or the -errno of the first mapping that was refused.
 * Lock held.
 */
int vfio_user_container_settle(VFIOUserContainer *user);

/* dirty.c: slots of MemoryListener */
void vfio_user_container_log_global_start(MemoryListener *listener);
void vfio_user_container_log_global_stop(MemoryListener *listener);
void vfio_user_container_log_sync_global(MemoryListener *listener);

/*
 * dirty.c: Does the server's log say what it has written to @mapping?  Not to
 * what it cannot reach: DMA_WRITE marks pages itself.  Lock held.
 */
bool vfio_user_container_is_logged(VFIOUserContainer *user,
                                   const VFIOUserMapping *mapping);

/*
 * dirty.c: Fail the migration under way, if any, if the bitmap of @mapping is
 * more than the server can send.  Returns whether it is not.  Any lock.
 */
bool vfio_user_container_check_bitmap(VFIOUserContainer *user,
                                      const VFIOUserMapping *mapping);

/*
 * dirty.c: mark pages of @mapping dirty in QEMU: those set in @bitmap, which
 * is in wire order and padded to whole words, or all if it is NULL.  Any
 * thread.
 */
void vfio_user_mapping_mark_dirty(const VFIOUserMapping *mapping,
                                  const uint8_t *bitmap);

#endif /* HW_VFIO_USER_CONTAINER_INTERNAL_H */
