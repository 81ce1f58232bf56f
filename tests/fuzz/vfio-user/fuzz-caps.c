/*
 * Fuzz target: the payload of a VERSION reply, down to the numbers in its
 * JSON.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "fuzz.h"
#include "qemu/host-utils.h"
#include "qemu/units.h"
#include "hw/vfio-user/caps.h"
#include "hw/vfio-user/wire.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    return 0;
}

static void check_caps(const VFIOUserCaps *caps)
{
    g_assert_cmpuint(caps->max_msg_fds, <=, 16);
    g_assert_cmpuint(caps->max_data_xfer_size, >=, 8);
    g_assert_cmpuint(caps->max_data_xfer_size, <=, 1 * MiB);
    g_assert_cmpuint(caps->max_dma_maps, <=, UINT32_MAX);
    g_assert_cmpuint(caps->pgsizes, >=, 1);
    g_assert_true(is_power_of_2(caps->migration_pgsize));
    g_assert_cmpuint(caps->max_bitmap_size, >=, 8);
    g_assert_cmpuint(caps->max_bitmap_size, <=, 256 * MiB);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    VFIOUserVersionDesc version;
    VFIOUserCaps caps, before;
    Error *err = NULL;
    bool ok = vfio_user_wire_get_version(data, size, VFIO_USER_MAJOR,
                                         VFIO_USER_MINOR, &version, &err);

    fuzz_check_error(ok, err);
    if (!ok) {
        return 0;
    }
    if (version.json) {
        g_assert_cmpuint(strlen(version.json), ==, version.json_len);
    }
    memset(&caps, 0x5a, sizeof(caps));
    before = caps;
    err = NULL;
    ok = vfio_user_caps_parse(version.json, version.json_len, &caps, &err);
    if (ok) {
        check_caps(&caps);
    } else {
        g_assert_cmpmem(&caps, sizeof(caps), &before, sizeof(before));
    }
    fuzz_check_error(ok, err);
    return 0;
}
