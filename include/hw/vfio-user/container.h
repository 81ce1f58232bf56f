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
 * Give the server of @device access to @as: make a container and a group of
 * one for @vbasedev, put the group where hw/vfio looks for groups, and map
 * what RAM there is.  Memory goes along as fds unless @secure, or where it
 * has none that shows what QEMU writes; all of it is kept in @table, for the
 * server to reach by message.  @device and @table must outlive the container.
 * BQL held, main thread.
 *
 * Returns NULL with @errp set when a mapping fails, or the server maps only
 * pages that are larger than the host's; nothing remains then.
 * (Specification: DMA_MAP.)
 */
VFIOUserContainer *vfio_user_container_connect(VFIOUserDevice *device,
                                               VFIODevice *vbasedev,
                                               AddressSpace *as,
                                               VFIOUserDMATable *table,
                                               bool secure, Error **errp);

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
