/*
 * vfio-user capabilities: the limits that client and server tell each other
 * as JSON in VERSION, built and read by one table.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "qapi/qmp/qbool.h"
#include "qapi/qmp/qdict.h"
#include "qapi/qmp/qjson.h"
#include "qapi/qmp/qnum.h"
#include "hw/vfio-user/caps.h"
#include "hw/vfio-user/protocol.h"

/* Smallest access that migration's 64 bit registers can be read with */
#define MIN_DATA_XFER_SIZE 8

#define TWO_TO_THE_64 18446744073709551616.0

/*
 * The numbers that may be in "capabilities", or in the object @parent there.
 * Below @min is refused, above @max is clamped.  What has no default here
 * gets it from vfio_user_caps_init_default().
 */
typedef struct CapsNumber {
    const char *parent;
    const char *name;
    size_t field;           /* offset of an uint64_t in VFIOUserCaps */
    uint64_t min;
    uint64_t max;
    bool power_of_two;
    bool sent;              /* a client tells it too */
} CapsNumber;

static const CapsNumber caps_numbers[] = {
    {
        .name = "max_msg_fds",
        .field = offsetof(VFIOUserCaps, max_msg_fds),
        .max = VFIO_USER_MAX_FDS,
        .sent = true,
    }, {
        .name = "max_data_xfer_size",
        .field = offsetof(VFIOUserCaps, max_data_xfer_size),
        .min = MIN_DATA_XFER_SIZE,
        .max = VFIO_USER_MAX_DATA_XFER_SIZE,
        .sent = true,
    }, {
        .name = "max_dma_maps",
        .field = offsetof(VFIOUserCaps, max_dma_maps),
        .max = UINT32_MAX,
    }, {
        .name = "pgsizes",
        .field = offsetof(VFIOUserCaps, pgsizes),
        .min = 1,
        .max = UINT64_MAX,
    }, {
        .parent = "migration",
        .name = "pgsize",
        .field = offsetof(VFIOUserCaps, migration_pgsize),
        .min = 1,
        .max = UINT64_MAX,
        .power_of_two = true,
        .sent = true,
    }, {
        .parent = "migration",
        .name = "max_bitmap_size",
        .field = offsetof(VFIOUserCaps, max_bitmap_size),
        .min = sizeof(uint64_t),
        .max = VFIO_USER_MAX_BITMAP_SIZE,
    },
};

static uint64_t *caps_field(VFIOUserCaps *caps, const CapsNumber *number)
{
    return (void *)caps + number->field;
}

void vfio_user_caps_init_default(VFIOUserCaps *caps)
{
    *caps = (VFIOUserCaps) {
        .max_msg_fds = 1,
        .max_data_xfer_size = 1 * MiB,
        .max_dma_maps = 65535,
        .pgsizes = 4 * KiB,
        .migration = false,
        .migration_pgsize = qemu_real_host_page_size(),
        .max_bitmap_size = 256 * MiB,
    };
}

void vfio_user_caps_init_client(VFIOUserCaps *caps)
{
    vfio_user_caps_init_default(caps);
    caps->max_msg_fds = VFIO_USER_MAX_FDS;
    caps->max_data_xfer_size = VFIO_USER_MAX_DATA_XFER_SIZE;
    caps->migration = true;
    caps->twin_socket = true;
}

char *vfio_user_caps_to_json(const VFIOUserCaps *ours)
{
    g_autoptr(QDict) root = qdict_new();
    QDict *capabilities = qdict_new();
    QDict *migration = NULL, *twin;
    VFIOUserCaps copy = *ours;

    qdict_put(root, "capabilities", capabilities);
    if (ours->migration) {
        migration = qdict_new();
        qdict_put(capabilities, "migration", migration);
    }
    if (ours->twin_socket) {
        twin = qdict_new();
        qdict_put_bool(twin, "supported", true);
        qdict_put(capabilities, "twin_socket", twin);
    }
    for (size_t i = 0; i < ARRAY_SIZE(caps_numbers); i++) {
        const CapsNumber *number = &caps_numbers[i];
        QDict *parent = number->parent ? migration : capabilities;

        if (number->sent && parent) {
            qdict_put(parent, number->name,
                      qnum_from_uint(*caps_field(&copy, number)));
        }
    }
    return g_string_free(qobject_to_json(QOBJECT(root)), false);
}

/*
 * The value of @object as an integer from 0, or UINT64_MAX for one that needs
 * more bits (which the JSON parser hands over as a double).
 */
static bool caps_get_integer(QObject *object, const char *path,
                             uint64_t *value, Error **errp)
{
    QNum *number = qobject_to(QNum, object);
    int64_t negative;

    if (number && qnum_get_try_uint(number, value)) {
        return true;
    }
    if (number && qnum_get_double(number) >= TWO_TO_THE_64) {
        *value = UINT64_MAX;
        return true;
    }
    if (number && qnum_get_try_int(number, &negative)) {
        error_setg(errp, "%s is negative (got %" PRId64 ", limit 0)", path,
                   negative);
        return false;
    }
    error_setg(errp, "%s is not an integer", path);
    return false;
}

static bool caps_parse_number(QDict *parent, const CapsNumber *number,
                              VFIOUserCaps *caps, Error **errp)
{
    QObject *object = qdict_get(parent, number->name);
    g_autofree char *path = NULL;
    uint64_t value;

    if (!object) {
        return true;
    }
    path = g_strconcat("capabilities.", number->parent ?: "",
                       number->parent ? "." : "", number->name, NULL);
    if (!caps_get_integer(object, path, &value, errp)) {
        return false;
    }
    if (value < number->min) {
        error_setg(errp, "%s is too small (got %" PRIu64 ", limit %" PRIu64
                   ")", path, value, number->min);
        return false;
    }
    if (number->power_of_two && !is_power_of_2(value)) {
        error_setg(errp, "%s is not a power of two (got %" PRIu64 ")", path,
                   value);
        return false;
    }
    *caps_field(caps, number) = MIN(value, number->max);
    return true;
}

/*
 * Look up object @name in @parent.  Absent: @child is NULL.  Something else
 * than an object: false, with @errp naming @path.
 */
static bool caps_get_object(QDict *parent, const char *name, const char *path,
                            QDict **child, Error **errp)
{
    QObject *object = qdict_get(parent, name);

    *child = qobject_to(QDict, object);
    if (object && !*child) {
        error_setg(errp, "%s is not an object", path);
        return false;
    }
    return true;
}

static bool caps_parse_twin(QDict *capabilities, VFIOUserCaps *caps,
                            Error **errp)
{
    QObject *supported, *index;
    QDict *twin;

    if (!caps_get_object(capabilities, "twin_socket",
                         "capabilities.twin_socket", &twin, errp)) {
        return false;
    }
    supported = twin ? qdict_get(twin, "supported") : NULL;
    if (supported && !qobject_to(QBool, supported)) {
        error_setg(errp, "capabilities.twin_socket.supported is not a "
                   "boolean");
        return false;
    }
    caps->twin_socket = supported &&
                        qbool_get_bool(qobject_to(QBool, supported));
    if (!caps->twin_socket) {
        return true;
    }
    index = qdict_get(twin, "fd_index");
    if (!index) {
        error_setg(errp, "capabilities.twin_socket.fd_index is missing");
        return false;
    }
    return caps_get_integer(index, "capabilities.twin_socket.fd_index",
                            &caps->twin_fd_index, errp);
}

static bool caps_parse_root(QDict *root, VFIOUserCaps *caps, Error **errp)
{
    QDict *capabilities, *migration;

    if (!caps_get_object(root, "capabilities", "capabilities", &capabilities,
                         errp)) {
        return false;
    }
    if (!capabilities) {
        return true;
    }
    if (!caps_get_object(capabilities, "migration", "capabilities.migration",
                         &migration, errp) ||
        !caps_parse_twin(capabilities, caps, errp)) {
        return false;
    }
    caps->migration = migration != NULL;
    caps->max_bitmap_size_told = migration &&
                                 qdict_haskey(migration, "max_bitmap_size");

    for (size_t i = 0; i < ARRAY_SIZE(caps_numbers); i++) {
        const CapsNumber *number = &caps_numbers[i];
        QDict *parent = number->parent ? migration : capabilities;

        if (parent && !caps_parse_number(parent, number, caps, errp)) {
            return false;
        }
    }
    return true;
}

/* The JSON object in @len bytes of text, or NULL with @errp set */
static QDict *caps_parse_text(const char *json, size_t len, Error **errp)
{
    ERRP_GUARD();
    g_autofree char *text = NULL;
    QObject *object;
    QDict *root;

    if (len > VFIO_USER_MAX_JSON_SIZE) {
        error_setg(errp, "JSON is too large (got %zu, limit %zu)", len,
                   (size_t)VFIO_USER_MAX_JSON_SIZE);
        return NULL;
    }
    text = g_strndup(json, len);
    if (strlen(text) != len) {
        error_setg(errp, "JSON has a NUL inside (got one at %zu, limit %zu)",
                   strlen(text), len);
        return NULL;
    }
    object = qobject_from_json(text, errp);
    if (!object) {
        error_prepend(errp, "JSON is not valid: ");
        return NULL;
    }
    root = qobject_to(QDict, object);
    if (!root) {
        error_setg(errp, "JSON is not an object");
        qobject_unref(object);
    }
    return root;
}

bool vfio_user_caps_parse(const char *json, size_t len, VFIOUserCaps *caps,
                          Error **errp)
{
    g_autoptr(QDict) root = NULL;
    VFIOUserCaps found;

    vfio_user_caps_init_default(&found);
    if (json && len) {
        root = caps_parse_text(json, len, errp);
        if (!root || !caps_parse_root(root, &found, errp)) {
            return false;
        }
    }
    *caps = found;
    return true;
}
