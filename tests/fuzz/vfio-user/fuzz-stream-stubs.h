/*
 * What hw/vfio's migration calls elsewhere in QEMU, and loading does not need
 * or only reports to.  Included by the one target that links hw/vfio's files.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_FUZZ_VFIO_USER_FUZZ_STREAM_STUBS_H
#define TESTS_FUZZ_VFIO_USER_FUZZ_STREAM_STUBS_H

#include "hw/vfio/vfio-common.h"
#include "hw/vfio-user/session.h"
#include "migration/migration.h"
#include "migration/misc.h"
#include "migration/register.h"
#include "sysemu/runstate.h"

/* Told of failures: kept quiet here */

MigrationState *migrate_get_current(void)
{
    static MigrationState state;

    return &state;
}

void migrate_set_error(MigrationState *s, const Error *error)
{
}

bool migration_is_setup_or_active(int state)
{
    return false;
}

int error_vprintf(const char *fmt, va_list ap)
{
    return 0;
}

/* Only called to save, to set up or to follow the VM, which is not done */

bool migrate_postcopy(void)
{
    g_assert_not_reached();
}

bool migrate_background_snapshot(void)
{
    g_assert_not_reached();
}

bool migrate_colo_enabled(void)
{
    g_assert_not_reached();
}

void add_migration_state_change_notifier(Notifier *notify)
{
    g_assert_not_reached();
}

void remove_migration_state_change_notifier(Notifier *notify)
{
    g_assert_not_reached();
}

VMChangeStateEntry *
qdev_add_vm_change_state_handler(DeviceState *dev, VMChangeStateHandler *cb,
                                 void *opaque)
{
    g_assert_not_reached();
}

VMChangeStateEntry *
qemu_add_vm_change_state_handler_prio(VMChangeStateHandler *cb, void *opaque,
                                      int priority)
{
    g_assert_not_reached();
}

int register_savevm_live(const char *idstr, uint32_t instance_id,
                         int version_id, const SaveVMHandlers *handlers,
                         void *opaque)
{
    g_assert_not_reached();
}

void unregister_savevm(VMStateIf *obj, const char *idstr, void *opaque)
{
    g_assert_not_reached();
}

bool runstate_is_running(void)
{
    g_assert_not_reached();
}

int vm_stop(RunState state)
{
    g_assert_not_reached();
}

int vfio_get_dev_region_info(VFIODevice *vbasedev, uint32_t type,
                             uint32_t subtype, struct vfio_region_info **info)
{
    g_assert_not_reached();
}

int vfio_migration_event_together(VFIODevice *vbasedev,
                                  VFIOMigrationEvent event)
{
    g_assert_not_reached();
}

void qemu_system_hold_reset(bool hold)
{
}

int vfio_region_setup(Object *obj, VFIODevice *vbasedev, VFIORegion *region,
                      int index, const char *name)
{
    g_assert_not_reached();
}

int vfio_region_mmap(VFIORegion *region)
{
    g_assert_not_reached();
}

void vfio_region_unmap(VFIORegion *region)
{
    g_assert_not_reached();
}

void vfio_region_exit(VFIORegion *region)
{
    g_assert_not_reached();
}

void vfio_region_finalize(VFIORegion *region)
{
    g_assert_not_reached();
}

#endif /* TESTS_FUZZ_VFIO_USER_FUZZ_STREAM_STUBS_H */
