/*
 * vfio-user device: what the server's device consists of, asked once at
 * realize and checked before hw/vfio and hw/pci build on it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "qemu/units.h"
#include "hw/pci/pci.h"
#include "device-internal.h"
#include "trace.h"

/* A command and its reply, both of which only the caller can make sense of */
static VFIOUserMsg *vfio_user_info_ask(VFIOUserDevice *device,
                                       VFIOUserCall *call, int *ret,
                                       Error **errp)
{
    *ret = vfio_user_session_call(device->session, call, errp);
    if (*ret) {
        vfio_user_msg_free(call->reply);
        return NULL;
    }
    return call->reply;
}

static bool vfio_user_info_get_device(VFIOUserDevice *device,
                                      VFIODevice *vbasedev, int *ret,
                                      Error **errp)
{
    VFIOUserDeviceInfo info;
    VFIOUserCall call = {
        .command = VFIO_USER_DEVICE_GET_INFO,
        .deadline = VFIO_USER_DEADLINE_MAP,
        .head = &info,
        .head_size = sizeof(info),
        .max_reply = sizeof(info),
    };
    g_autoptr(VFIOUserMsg) reply = NULL;
    VFIOUserDeviceDesc desc;

    vfio_user_wire_put_device_info(&info);
    reply = vfio_user_info_ask(device, &call, ret, errp);
    if (!reply) {
        return false;
    }
    if (!vfio_user_wire_get_device_info(vfio_user_call_payload(&call),
                                        vfio_user_call_payload_size(&call),
                                        &desc, errp)) {
        *ret = vfio_user_device_protocol_error(device, call.command,
                                                errp);
        return false;
    }
    vbasedev->flags = device->flags = desc.flags;
    vbasedev->num_regions = device->num_regions = desc.num_regions;
    vbasedev->num_irqs = device->num_irqs = desc.num_irqs;
    vbasedev->reset_works = desc.flags & VFIO_DEVICE_FLAGS_RESET;
    trace_vfio_user_get_info(vbasedev->name, desc.flags, desc.num_regions,
                             desc.num_irqs);
    return true;
}

/*
 * A device that an earlier client left stopped answers nothing but accesses
 * to its regions.  The migration region is not known yet: servers that speak
 * v1 have it behind the VGA region.
 */
static bool vfio_user_info_wake_device(VFIOUserDevice *device, Error **errp)
{
    uint32_t value = cpu_to_le32(VFIO_MIGRATION_STATE_RUNNING);
    VFIOUserRegionRW rw;
    VFIOUserCall read = {
        .command = VFIO_USER_REGION_READ,
        .deadline = VFIO_USER_DEADLINE_BULK,
        .head = &rw,
        .head_size = sizeof(rw),
        .max_reply = sizeof(rw) + sizeof(value),
    };
    VFIOUserCall write = {
        .command = VFIO_USER_REGION_WRITE,
        .deadline = VFIO_USER_DEADLINE_STATE,
        .head = &rw,
        .head_size = sizeof(rw),
        .data = &value,
        .data_size = sizeof(value),
        .max_reply = sizeof(rw),
    };
    int ret;

    vfio_user_wire_put_region_rw(&rw, VFIO_PCI_NUM_REGIONS, 0, sizeof(value));
    vfio_user_msg_free(vfio_user_info_ask(device, &read, &ret, errp));
    if (ret) {
        return false;
    }
    vfio_user_msg_free(vfio_user_info_ask(device, &write, &ret, errp));
    return !ret;
}

static void vfio_user_info_take_fds(VFIOUserRegion *region, VFIOUserMsg *reply)
{
    size_t i;

    for (i = 0; i < reply->num_fds && i < VFIO_USER_MAX_FDS; i++) {
        region->fds[i] = vfio_user_msg_take_fd(reply, i);
    }
    region->num_fds = i;
}

/* What one region or one type of interrupt is asked with */
typedef struct VFIOUserInfoQuery {
    VFIOUserCall call;
    union {
        VFIOUserRegionInfo region;
        VFIOUserIRQInfo irq;
    } head;
} VFIOUserInfoQuery;

static bool vfio_user_info_ask_region(VFIOUserDevice *device, uint32_t index,
                                      uint32_t argsz, VFIOUserInfoQuery *query,
                                      Error **errp)
{
    query->call = (VFIOUserCall) {
        .command = VFIO_USER_DEVICE_GET_REGION_INFO,
        .deadline = VFIO_USER_DEADLINE_MAP,
        .head = &query->head,
        .head_size = sizeof(query->head.region),
        .max_reply = argsz,
        .max_reply_fds = VFIO_USER_MAX_FDS,
    };
    vfio_user_wire_put_region_info(&query->head.region, index, argsz);
    return !vfio_user_session_send(device->session, &query->call, errp);
}

/* Twice at most: the first answer may say that the description is longer. */
static bool vfio_user_info_take_region(VFIOUserDevice *device, uint32_t index,
                                       VFIOUserInfoQuery *query, Error **errp)
{
    VFIOUserRegion *region = &device->regions[index];
    uint32_t argsz = sizeof(VFIOUserRegionInfo);
    VFIOUserCall *call = &query->call;
    int attempt;

    for (attempt = 0; attempt < 2; attempt++) {
        g_autoptr(VFIOUserMsg) reply = NULL;
        int ret;

        if (attempt && !vfio_user_info_ask_region(device, index, argsz, query,
                                                  errp)) {
            return false;
        }
        ret = vfio_user_session_wait(device->session, call, errp);
        reply = call->reply;
        if (ret) {
            return false;
        }
        if (!vfio_user_wire_get_region_info(vfio_user_call_payload(call),
                                            vfio_user_call_payload_size(call),
                                            index, argsz,
                                            qemu_real_host_page_size(),
                                            &region->desc, errp)) {
            vfio_user_device_protocol_error(device, call->command, errp);
            return false;
        }
        if (region->desc.complete) {
            vfio_user_info_take_fds(region, reply);
            return true;
        }
        argsz = region->desc.argsz;
    }
    error_setg(errp, "description grows while it is read");
    return false;
}

/* What hw/pci asserts, and what no PCI device can have. */
static bool vfio_user_info_check_region(VFIOUserDevice *device,
                                        uint32_t index, Error **errp)
{
    uint64_t size = device->regions[index].desc.size;

    switch (index) {
    case VFIO_PCI_BAR0_REGION_INDEX ... VFIO_PCI_BAR5_REGION_INDEX:
        if (size && (!is_power_of_2(size) || size < 16)) {
            error_setg(errp, "BAR %u: size is not a power of two of at least "
                       "16 bytes (got 0x%" PRIx64 ")", index, size);
            return false;
        }
        return true;
    case VFIO_PCI_ROM_REGION_INDEX:
        if (size > 128 * MiB) {
            error_setg(errp, "ROM: size is too large (got 0x%" PRIx64
                       ", limit 0x%" PRIx64 ")", size, (uint64_t)(128 * MiB));
            return false;
        }
        return true;
    case VFIO_PCI_CONFIG_REGION_INDEX:
        if (size != PCI_CONFIG_SPACE_SIZE && size != PCIE_CONFIG_SPACE_SIZE) {
            error_setg(errp, "config space: size is neither 256 nor 4096 "
                       "bytes (got %" PRIu64 ")", size);
            return false;
        }
        return true;
    default:
        return true;
    }
}

/*
 * Regions are mapped whole areas at a time, by the fds that came with them;
 * without those, by messages.
 */
static void vfio_user_info_settle_region(VFIOUserRegion *region)
{
    VFIOUserRegionDesc *desc = &region->desc;
    bool enough = region->num_fds == 1 ||
                  (region->num_fds && region->num_fds >= desc->nr_areas);

    region->migration =
        desc->has_type &&
        desc->type == VFIO_REGION_TYPE_MIGRATION_DEPRECATED &&
        desc->subtype == VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED;
    if (!enough || (desc->has_sparse && !desc->nr_areas)) {
        desc->flags &= ~VFIO_REGION_INFO_FLAG_MMAP;
    }
    if (!(desc->flags & VFIO_REGION_INFO_FLAG_MMAP)) {
        desc->has_sparse = false;
        desc->nr_areas = 0;
    }
}

static bool vfio_user_info_ask_irq(VFIOUserDevice *device, uint32_t index,
                                   VFIOUserInfoQuery *query, Error **errp)
{
    query->call = (VFIOUserCall) {
        .command = VFIO_USER_DEVICE_GET_IRQ_INFO,
        .deadline = VFIO_USER_DEADLINE_MAP,
        .head = &query->head,
        .head_size = sizeof(query->head.irq),
        .max_reply = sizeof(query->head.irq),
    };
    vfio_user_wire_put_irq_info(&query->head.irq, index);
    return !vfio_user_session_send(device->session, &query->call, errp);
}

static bool vfio_user_info_take_irq(VFIOUserDevice *device, uint32_t index,
                                    VFIOUserInfoQuery *query, Error **errp)
{
    VFIOUserCall *call = &query->call;
    int ret = vfio_user_session_wait(device->session, call, errp);
    g_autoptr(VFIOUserMsg) reply = call->reply;

    if (ret) {
        return false;
    }
    if (!vfio_user_wire_get_irq_info(vfio_user_call_payload(call),
                                     vfio_user_call_payload_size(call), index,
                                     &device->irqs[index], errp)) {
        vfio_user_device_protocol_error(device, call->command, errp);
        return false;
    }
    return true;
}

/* Part @i is a region, or behind them a type of interrupt. */
static void vfio_user_info_blame_part(VFIOUserDevice *device, uint32_t i,
                                      Error **errp)
{
    if (i < device->num_regions) {
        error_prepend(errp, "region %u: ", i);
    } else {
        error_prepend(errp, "interrupt type %u: ", i - device->num_regions);
    }
}

static bool vfio_user_info_ask_part(VFIOUserDevice *device, uint32_t i,
                                    VFIOUserInfoQuery *query, Error **errp)
{
    ERRP_GUARD();
    uint32_t regions = device->num_regions;
    bool ok = i < regions ?
              vfio_user_info_ask_region(device, i, sizeof(VFIOUserRegionInfo),
                                        query, errp) :
              vfio_user_info_ask_irq(device, i - regions, query, errp);

    if (!ok) {
        vfio_user_info_blame_part(device, i, errp);
    }
    return ok;
}

static bool vfio_user_info_take_part(VFIOUserDevice *device, const char *name,
                                     uint32_t i, VFIOUserInfoQuery *query,
                                     Error **errp)
{
    ERRP_GUARD();
    uint32_t irq = i - device->num_regions;
    VFIOUserRegion *region;

    if (i >= device->num_regions) {
        if (!vfio_user_info_take_irq(device, irq, query, errp)) {
            vfio_user_info_blame_part(device, i, errp);
            return false;
        }
        trace_vfio_user_get_irq_info(name, irq, device->irqs[irq].flags,
                                     device->irqs[irq].count);
        return true;
    }
    if (!vfio_user_info_take_region(device, i, query, errp)) {
        vfio_user_info_blame_part(device, i, errp);
        return false;
    }
    if (!vfio_user_info_check_region(device, i, errp)) {
        return false;
    }
    region = &device->regions[i];
    vfio_user_info_settle_region(region);
    trace_vfio_user_get_region_info(name, i, region->desc.flags,
                                    region->desc.size, region->num_fds);
    return true;
}

/* What is asked about at once, and by which slot */
typedef struct VFIOUserInfoParts {
    VFIOUserDevice *device;
    const char *name;
    VFIOUserInfoQuery *queries;
    Error **errp;
} VFIOUserInfoParts;

static int vfio_user_info_begin_part(void *opaque, uint64_t i,
                                     unsigned int slot)
{
    VFIOUserInfoParts *parts = opaque;

    return vfio_user_info_ask_part(parts->device, i, &parts->queries[slot],
                                   parts->errp) ? 0 : -EIO;
}

static int vfio_user_info_end_part(void *opaque, uint64_t i, unsigned int slot)
{
    VFIOUserInfoParts *parts = opaque;

    return vfio_user_info_take_part(parts->device, parts->name, i,
                                    &parts->queries[slot],
                                    parts->errp) ? 0 : -EIO;
}

static void vfio_user_info_forget_part(void *opaque, uint64_t i,
                                       unsigned int slot)
{
    VFIOUserInfoParts *parts = opaque;
    VFIOUserCall *call = &parts->queries[slot].call;

    vfio_user_session_wait(parts->device->session, call, NULL);
    vfio_user_msg_free(call->reply);
}

static bool vfio_user_info_get_parts(VFIOUserDevice *device, const char *name,
                                     Error **errp)
{
    const VFIOUserPipeline pipeline = {
        .begin = vfio_user_info_begin_part,
        .end = vfio_user_info_end_part,
        .forget = vfio_user_info_forget_part,
        .window = vfio_user_session_window(device->session),
    };
    g_autofree VFIOUserInfoQuery *queries = g_new0(VFIOUserInfoQuery,
                                                   pipeline.window);
    VFIOUserInfoParts parts = {
        .device = device,
        .name = name,
        .queries = queries,
        .errp = errp,
    };

    device->regions = g_new0(VFIOUserRegion, device->num_regions);
    device->irqs = g_new0(VFIOUserIRQDesc, device->num_irqs);
    return !vfio_user_pipeline_run(&pipeline,
                                   device->num_regions + device->num_irqs,
                                   &parts);
}

bool vfio_user_device_init(VFIOUserDevice *device, VFIODevice *vbasedev,
                           Error **errp)
{
    ERRP_GUARD();
    const VFIOUserCaps *caps = vfio_user_session_caps(device->session);
    int ret;

    vbasedev->io_opaque = device;
    vbasedev->io_ops = &vfio_user_device_io_ops;
    device->max_write = MIN(device->max_write, caps->max_data_xfer_size);
    QSIMPLEQ_INIT(&device->late_irqs);

    if (!vfio_user_info_get_device(device, vbasedev, &ret, errp)) {
        Error *err = NULL;

        if (ret != -EINVAL || !caps->migration) {
            return false;
        }
        /* the first error says more than why waking failed */
        if (!vfio_user_info_wake_device(device, &err)) {
            error_free(err);
            return false;
        }
        error_free(*errp);
        *errp = NULL;
        if (!vfio_user_info_get_device(device, vbasedev, &ret, errp)) {
            return false;
        }
    }
    return vfio_user_info_get_parts(device, vbasedev->name, errp);
}

static void vfio_user_info_drop_fds(VFIOUserRegion *region)
{
    size_t i;

    for (i = 0; i < region->num_fds; i++) {
        close(region->fds[i]);
    }
    region->num_fds = 0;
}

void vfio_user_device_take_over(VFIOUserDevice *device, VFIOUserDevice *fresh)
{
    uint32_t i;

    /* fds and where in them the regions are: all else of these is the same */
    for (i = 0; i < device->num_regions; i++) {
        vfio_user_info_drop_fds(&device->regions[i]);
        device->regions[i] = fresh->regions[i];
        fresh->regions[i].num_fds = 0;
    }
    vfio_user_late_irqs_replay(device, NULL);
    vfio_user_device_drop_spares(device);
    device->no_unmask_eventfd = false;
    qatomic_set(&device->shrunk, 0);
    device->max_write = fresh->max_write;
    device->session = fresh->session;
}

void vfio_user_device_cleanup(VFIOUserDevice *device)
{
    uint32_t i;

    for (i = 0; device->regions && i < device->num_regions; i++) {
        vfio_user_info_drop_fds(&device->regions[i]);
    }
    if (device->regions) {
        vfio_user_late_irqs_replay(device, NULL);
    }
    vfio_user_device_drop_spares(device);
    g_clear_pointer(&device->regions, g_free);
    g_clear_pointer(&device->irqs, g_free);
    g_clear_pointer(&device->config, g_free);
    device->num_regions = 0;
    device->num_irqs = 0;
}
