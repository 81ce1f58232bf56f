/*
 * Changes of device_state that all devices of a VM make at the same moment:
 * each may take its time, and the guest stands still for the longest only.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "hw/vfio/vfio-common.h"
#include "trace.h"

typedef struct Member {
    VFIODevice *vbasedev;
    VFIOMigrationEvent event;
    QemuThread thread;
} Member;

/* As QEMU does without this: one after the other, for comparison */
static bool goes_alone(const VFIODevice *vbasedev)
{
    return !vbasedev->migration || !vbasedev->cache_device_state;
}

static void member_tell(Member *member)
{
    VFIOMigrationControl *control = &member->vbasedev->migration->control;

    control->result = vfio_migration_device_event(member->vbasedev,
                                                  member->event);
    control->told = true;
    control->told_what = member->event;
}

static void *member_run(void *opaque)
{
    rcu_register_thread();
    member_tell(opaque);
    rcu_unregister_thread();
    return NULL;
}

/*
 * A thread for all but one, since an event may take several accesses, and
 * with a device of the kernel's even one blocks.
 */
static void tell_all(VFIOMigrationEvent event)
{
    g_autoptr(GArray) members = g_array_new(false, false, sizeof(Member));
    VFIODevice *vbasedev;
    VFIOGroup *group;
    guint i;

    QLIST_FOREACH(group, &vfio_group_list, next) {
        QLIST_FOREACH(vbasedev, &group->device_list, next) {
            Member member = { .vbasedev = vbasedev, .event = event };

            if (!goes_alone(vbasedev)) {
                g_array_append_val(members, member);
            }
        }
    }
    trace_vfio_migration_tell_all(event, members->len);
    for (i = 1; i < members->len; i++) {
        Member *member = &g_array_index(members, Member, i);

        qemu_thread_create(&member->thread, "vfio-state", member_run, member,
                           QEMU_THREAD_JOINABLE);
    }
    member_tell(&g_array_index(members, Member, 0));
    for (i = 1; i < members->len; i++) {
        qemu_thread_join(&g_array_index(members, Member, i).thread);
    }
}

int vfio_migration_event_together(VFIODevice *vbasedev,
                                  VFIOMigrationEvent event)
{
    VFIOMigrationControl *control = &vbasedev->migration->control;

    if (goes_alone(vbasedev)) {
        return vfio_migration_device_event(vbasedev, event);
    }
    if (!control->told || control->told_what != event) {
        tell_all(event);
    }
    control->told = false;
    return control->result;
}
