/*
 * What hw/vfio and hw/pci take for granted of a device, looked for in other
 * words than the client's.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_FUZZ_VFIO_USER_FUZZ_PROMISES_H
#define TESTS_FUZZ_VFIO_USER_FUZZ_PROMISES_H

#include "hw/vfio-user/wire.h"

/* Abort when the areas of @region overlap, or are not whole pages inside it. */
void fuzz_check_areas(const VFIOUserRegionDesc *region, uint64_t page_size);

/*
 * Walk the chain of @info, which was made of @region, as hw/vfio does; abort
 * when it lacks anything.  A step outside is the sanitizer's to see.
 */
void fuzz_check_chain(const struct vfio_region_info *info,
                      const VFIOUserRegionDesc *region);

/*
 * Abort when a region of a PCI device has a size that none can have.  @sizes:
 * of the regions through config space's
 */
void fuzz_check_sizes(const uint64_t *sizes);

/*
 * Abort when config space @config says what the regions' @sizes rule out, or
 * has a list in it without an end.
 */
void fuzz_check_config(const uint8_t *config, const uint64_t *sizes);

#endif /* TESTS_FUZZ_VFIO_USER_FUZZ_PROMISES_H */
