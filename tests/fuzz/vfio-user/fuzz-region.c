/*
 * Fuzz target: a region's description with its chain of capabilities, and the
 * one made from it for hw/vfio, which walks chains without looking.  The first
 * byte says how much was asked for, the rest is the reply.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "fuzz.h"
#include "fuzz-promises.h"

#define PAGE 0x1000

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput input = { data, size };
    uint32_t argsz = sizeof(VFIOUserRegionInfo) + 8 * fuzz_byte(&input);
    uint32_t index = input.size >= 12 ? ldl_le_p(input.data + 8) : 0;
    g_autofree struct vfio_region_info *info = NULL;
    VFIOUserRegionDesc region;
    Error *err = NULL;
    bool ok = vfio_user_wire_get_region_info(input.data, input.size,
                                             index & 0xff, argsz, PAGE,
                                             &region, &err);

    fuzz_check_error(ok, err);
    if (!ok) {
        return 0;
    }
    g_assert_cmpuint(region.argsz, <=, VFIO_USER_MAX_REGION_INFO_SIZE);
    g_assert_cmpuint(region.size, <=, VFIO_USER_MAX_REGION_SIZE);
    if (!region.complete) {
        g_assert_cmpuint(region.argsz, >, argsz);
        return 0;
    }
    g_assert_cmpuint(region.argsz, <=, input.size);
    fuzz_check_areas(&region, PAGE);
    info = vfio_user_wire_build_region_info(&region, 0);
    fuzz_check_chain(info, &region);
    return 0;
}
