/*
 * Guest memory for a vfio-user server: DMA mappings and dirty pages.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_USER_CONTAINER_H
#define HW_VFIO_USER_CONTAINER_H

#include "hw/vfio/vfio-common.h"
#include "hw/vfio-user/device.h"
#include "hw/vfio-user/incoming.h"

typedef struct VFIOUserContainer VFIOUserContainer;

/*
 * Make a container and a group of one for @vbasedev, and put the group where
 * hw/vfio looks for groups.  The server of @device is to reach @as with it, but
 * is told of no memory yet.  Memory will go along as fds unless @secure, or
 * where it has none that shows what QEMU writes; all of it will be kept in
 * @table, for the server to reach by message.  @device and @table must outlive
 * the container.  BQL held, main thread.
 *
 * Returns NULL with @errp set when QEMU discards RAM, or the server maps only
 * pages that are larger than the host's; nothing remains then.
 */
VFIOUserContainer *vfio_user_container_connect(VFIOUserDevice *device,
                                               VFIODevice *vbasedev,
                                               AddressSpace *as,
                                               VFIOUserDMATable *table,
                                               bool secure, Error **errp);

/*
 * Map for the server what RAM there is, and from now on what comes and goes.
 * Its answers are not waited for, so that other devices can start meanwhile;
 * call end_memory before the guest runs.  BQL held, main thread.
 * (Specification: DMA_MAP.)
 */
void vfio_user_container_begin_memory(VFIOUserContainer *container);

/*
 * Wait for the answers.  Returns false with @errp set when a mapping has
 * failed; what may fail later is only reported.  BQL held, main thread.
 */
bool vfio_user_container_end_memory(VFIOUserContainer *container,
                                    Error **errp);

/*
 * The server is lost, and another one is to take its place: forget what was
 * mapped, without a word to it, and use @table for what will be.  No request is
 * under way any more on return.  Until restore QEMU's memory may not change.
 * BQL held, main thread.
 */
void vfio_user_container_forget(VFIOUserContainer *container,
                                VFIOUserDMATable *table);

/*
 * Tell the new server of all memory that is there now; for a stopped device,
 * when it runs again.  What it refuses is reported.  As above.
 */
void vfio_user_container_restore(VFIOUserContainer *container);

/*
 * If QEMU tracks dirty pages just now, have the new server do so, too, and
 * take all memory that any server could write for dirty: nobody knows what the
 * lost one has done.  As above.
 */
void vfio_user_container_restore_log(VFIOUserContainer *container);

/*
 * Take the memory and @vbasedev's group away again; the session may be dead.
 * @container may be NULL.  BQL held, main thread.
 */
void vfio_user_container_disconnect(VFIOUserContainer *container,
                                    VFIODevice *vbasedev);

#endif /* HW_VFIO_USER_CONTAINER_H */
