/*
 * vfio-user device: requests one behind the other, without a round trip each.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "device-internal.h"

int vfio_user_pipeline_run(const VFIOUserPipeline *pipeline, uint64_t n,
                           void *opaque)
{
    unsigned int window = pipeline->window;
    unsigned int room = window;
    uint64_t begun = 0, ended = 0;
    int ret = 0;

    while ((!ret && begun < n) || ended < begun) {
        if (!ret && begun < n && begun - ended < room) {
            ret = pipeline->begin(opaque, begun, begun % window);
            begun += !ret;
            room = window;
            continue;
        }
        if (pipeline->low) {
            room = pipeline->low;
        }
        if (!ret) {
            ret = pipeline->end(opaque, ended, ended % window);
        } else {
            pipeline->forget(opaque, ended, ended % window);
        }
        ended++;
    }
    return ret;
}
