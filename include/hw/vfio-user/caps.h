/*
 * vfio-user capabilities: the limits that client and server tell each other
 * as JSON in VERSION.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_USER_CAPS_H
#define HW_VFIO_USER_CAPS_H

#include "qapi/error.h"

/* One side's limits: what the other side has to keep to. */
typedef struct VFIOUserCaps {
    uint64_t max_msg_fds;           /* fds it takes in one message */
    uint64_t max_data_xfer_size;    /* bytes of data it takes in one access */
    uint64_t max_dma_maps;          /* DMA mappings it can hold */
    uint64_t pgsizes;               /* mask of page sizes for DMA mappings */
    bool migration;                 /* it can migrate */
    uint64_t migration_pgsize;      /* bytes for one bit of a dirty bitmap */
    uint64_t max_bitmap_size;       /* bytes of one dirty bitmap */
    bool max_bitmap_size_told;      /* a server stated the one before */
    bool twin_socket;               /* commands of servers have a socket */
    uint64_t twin_fd_index;         /* which fd of a server's VERSION it is */
} VFIOUserCaps;

/*
 * Fill in the specification's values for a side that says nothing ("VERSION",
 * capabilities): no migration, and migration_pgsize the host's page size.
 * Any thread.
 */
void vfio_user_caps_init_default(VFIOUserCaps *caps);

/*
 * Fill in what this client offers: 16 fds, 1 MiB, a socket for the server's
 * commands, and migration with dirty bitmaps of host pages.  Any thread.
 */
void vfio_user_caps_init_client(VFIOUserCaps *caps);

/*
 * The JSON text that announces @ours in VERSION: max_msg_fds,
 * max_data_xfer_size, twin_socket.supported if so and, if it can migrate,
 * migration.pgsize.  The other fields describe servers.  NUL-terminated; free
 * with g_free().  Any thread.
 */
char *vfio_user_caps_to_json(const VFIOUserCaps *ours);

/*
 * Read the server's capabilities from the @len bytes of JSON at @json (no
 * NUL needed or counted).  @json NULL or @len 0 means that the server sent
 * none.  What is absent gets its default, unknown keys are ignored, and a
 * number above what this client can use is clamped: fds to 16, the size of
 * an access to 1 MiB, of a bitmap to 256 MiB.  Any thread.
 *
 * The values are the server's own: whether a migration_pgsize other than the
 * host's will do is for the caller to decide.  A server may take less than
 * max_bitmap_size when it states none (libvfio-user: 1 MiB with what precedes
 * the bitmap).
 *
 * Returns true and fills in @caps; or false with @errp set, naming the key,
 * and @caps untouched: not JSON, or more of it than VFIO_USER_MAX_JSON_SIZE;
 * a value of the wrong type, negative, or too small to work with (an access
 * of less than the 8 bytes of a register); a page size that is not a power
 * of two; a twin_socket that is supported and has no fd_index.
 */
bool vfio_user_caps_parse(const char *json, size_t len, VFIOUserCaps *caps,
                          Error **errp);

#endif /* HW_VFIO_USER_CAPS_H */
