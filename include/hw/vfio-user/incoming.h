/*
 * What a vfio-user server asks of the client: to read and write guest memory
 * for it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_USER_INCOMING_H
#define HW_VFIO_USER_INCOMING_H

#include "exec/memory.h"
#include "hw/vfio-user/session.h"

/*
 * The memory that a server may reach by message: which range of addresses is
 * which RAM.  It has a lock of its own, so that it may be used by any thread,
 * with or without the BQL and whatever other lock; nothing is waited for with
 * this lock held, but for memory to be copied.
 */
typedef struct VFIOUserDMATable VFIOUserDMATable;

/* An empty table with one reference.  Any thread. */
VFIOUserDMATable *vfio_user_dma_table_new(void);

/* Take a reference.  Any thread. */
VFIOUserDMATable *vfio_user_dma_table_ref(VFIOUserDMATable *table);

/* Drop one; the last one frees @table, which may be NULL.  Any thread. */
void vfio_user_dma_table_unref(void *table);

/*
 * Let the server reach @size bytes from @iova on, which are those at @offset
 * of @mr: RAM, which the caller keeps alive until it has removed the range.
 * @flags are VFIO_USER_DMA_MAP_*.  @size is not 0 and @iova + @size does not
 * wrap, except to 0.  Any thread.
 *
 * Returns false when the range overlaps one that is there; it is not added
 * then.
 */
bool vfio_user_dma_table_add(VFIOUserDMATable *table, uint64_t iova,
                             uint64_t size, uint32_t flags, MemoryRegion *mr,
                             uint64_t offset);

/*
 * Take back exactly what was added; without effect if that is not there.  On
 * return no access to it is under way, nor will there be one.  Any thread.
 */
void vfio_user_dma_table_remove(VFIOUserDMATable *table, uint64_t iova,
                                uint64_t size);

/*
 * The session's VFIOUserRequestHandler; @opaque is a VFIOUserDMATable.
 *
 * DMA_READ and DMA_WRITE of a range that is in the table from end to end, in
 * one or several adjacent pieces, are done as a whole; otherwise nothing is,
 * and the answer is
 *     EINVAL   the message makes no sense, or asks for nothing, or for more
 *              than the client has offered;
 *     EFAULT   a part of the range is not in the table;
 *     EACCES   a part of it must not be read, or not be written;
 *     ENOTSUP  another command.
 * What was written is dirty for migration and display, and what TCG has
 * translated of it is invalid.  (Specification: DMA_READ, DMA_WRITE.)
 */
int vfio_user_incoming_request(void *opaque, const VFIOUserHeaderDesc *header,
                               VFIOUserMsg *msg, GByteArray *reply);

#endif /* HW_VFIO_USER_INCOMING_H */
