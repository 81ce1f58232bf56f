/*
 * A VFIO device's properties about migration: what a user sets, and what QOM
 * shows of its state.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qapi/visitor.h"
#include "hw/qdev-properties.h"
#include "hw/vfio/pci.h"

/* The device's state, or NULL where it takes no part in migration. */
static VFIOMigrationState *object_state(Object *obj)
{
    VFIOMigration *migration = VFIO_PCI(obj)->vbasedev.migration;

    return migration ? &migration->control.state : NULL;
}

static char *get_device_state(Object *obj, Error **errp)
{
    VFIOMigrationState *state = object_state(obj);

    if (!state) {
        return g_strdup("unknown");
    }
    QEMU_LOCK_GUARD(&state->lock);
    return g_strdup(state->known ? vfio_migration_state_name(state->value) :
                                   "unknown");
}

static void get_writes(Object *obj, Visitor *v, const char *name, void *opaque,
                       Error **errp)
{
    VFIOMigrationState *state = object_state(obj);
    uint64_t value = 0;

    if (state) {
        QEMU_LOCK_GUARD(&state->lock);
        value = state->writes;
    }
    visit_type_uint64(v, name, &value, errp);
}

static void get_writes_skipped(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    VFIOMigrationState *state = object_state(obj);
    uint64_t value = 0;

    if (state) {
        QEMU_LOCK_GUARD(&state->lock);
        value = state->writes_skipped;
    }
    visit_type_uint64(v, name, &value, errp);
}

static Property migration_properties[] = {
    DEFINE_PROP_BOOL("x-cache-device-state", VFIOPCIDevice,
                     vbasedev.cache_device_state, true),
    DEFINE_PROP_BOOL("migration-events", VFIOPCIDevice,
                     vbasedev.migration_events, false),
    DEFINE_PROP_SIZE("x-max-device-state", VFIOPCIDevice,
                     vbasedev.max_device_state, 0),
    DEFINE_PROP_END_OF_LIST(),
};

void vfio_migration_add_properties(ObjectClass *klass)
{
    device_class_set_props(DEVICE_CLASS(klass), migration_properties);
    object_class_property_add_str(klass, "device-state", get_device_state,
                                  NULL);
    object_class_property_set_description(klass, "device-state",
        "migration state the device was last told");
    object_class_property_add(klass, "device-state-writes", "uint64",
                              get_writes, NULL, NULL, NULL);
    object_class_property_set_description(klass, "device-state-writes",
        "changes of migration state that the device was told");
    object_class_property_add(klass, "device-state-writes-skipped", "uint64",
                              get_writes_skipped, NULL, NULL, NULL);
    object_class_property_set_description(klass,
        "device-state-writes-skipped",
        "times that the device had the wanted migration state already");
}
