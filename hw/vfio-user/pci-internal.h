/*
 * What the files of vfio-user-pci share: the device, its connection, and how
 * it comes back when that was lost.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_USER_PCI_INTERNAL_H
#define HW_VFIO_USER_PCI_INTERNAL_H

#include "hw/vfio/pci.h"
#include "hw/vfio-user/container.h"
#include "hw/vfio-user/device.h"
#include "hw/vfio-user/incoming.h"

#define TYPE_VFIO_USER_PCI "vfio-user-pci"
OBJECT_DECLARE_SIMPLE_TYPE(VFIOUserPCIDevice, VFIO_USER_PCI)

typedef struct VFIOUserReconnect VFIOUserReconnect;

/* All fields are used with the BQL held. */
struct VFIOUserPCIDevice {
    VFIOPCIDevice device;
    VFIOUserDevice user;
    VFIOUserContainer *container;
    VFIOUserDMATable *table;    /* the session has a reference too */
    char *session_name;
    Notifier machine_done;      /* registered while notify is set */
    Notifier migration_end;     /* the same */
    bool lost;                  /* the user was told, and not of its return */
    bool blocked;               /* the migration blocker says so */
    VFIOUserReconnect *retry;   /* NULL until a connection was lost */

    /* properties */
    SocketAddress *socket;
    bool secure_dma;
    bool no_posted_writes;
    bool send_queued;
    OnOffAuto enable_migration;
    uint32_t class_code;
    uint32_t max_write_size;
    uint32_t msg_timeout;
    uint32_t map_timeout;
    uint32_t state_timeout;
    uint32_t bulk_timeout;
    uint32_t reconnect;         /* seconds between two tries; 0: none */
};

/* Another server of @udev's, as far as it has been looked at; BQL */
typedef struct VFIOUserCandidate {
    VFIOUserSession *session;   /* owned, not started */
    VFIOUserDMATable *table;    /* the same; a reference */
    VFIOUserDevice device;      /* asked and checked; owned */
    VFIODevice vbasedev;        /* for device's io_ops; no migration */
} VFIOUserCandidate;

/*
 * connection.c: a session's config from @udev's properties.  With @table, to
 * which it takes a reference, the server's requests are served.
 */
VFIOUserSessionConfig vfio_user_pci_session_config(VFIOUserPCIDevice *udev,
                                                   VFIOUserDMATable *table);

/*
 * connection.c: connect @udev for the first time.  Main thread, BQL held.
 * Returns false with @errp set; nothing remains then.
 */
bool vfio_user_pci_connect(VFIOUserPCIDevice *udev, Error **errp);

/*
 * connection.c: undo connect, and all tries to connect again; idempotent.  BQL
 * held.
 */
void vfio_user_pci_disconnect(VFIOUserPCIDevice *udev);

/*
 * connection.c: @candidate is there for @udev, which is lost: take from it what
 * @udev needs, and make the device what it is for a guest after a reset.  Main
 * loop, BQL held, no migration under way.  Returns false with @errp set when it
 * is another device, or fails; the user has not been told.
 */
bool vfio_user_pci_bring_back(VFIOUserPCIDevice *udev,
                              VFIOUserCandidate *candidate, Error **errp);

/*
 * reconnect.c: @udev's connection was lost.  Try to connect again, every
 * @udev->reconnect seconds until vfio_user_pci_bring_back() succeeds.  BQL
 * held.
 */
void vfio_user_reconnect_begin(VFIOUserPCIDevice *udev);

/*
 * reconnect.c: give up, also in the middle of a try, without waiting for a
 * server; frees @udev->retry.  BQL held.
 */
void vfio_user_reconnect_end(VFIOUserPCIDevice *udev);

#endif /* HW_VFIO_USER_PCI_INTERNAL_H */
