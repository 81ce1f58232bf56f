/*
 * vfio-user device: access to regions, one message at a time for registers,
 * several under way for device data.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "standard-headers/linux/pci_regs.h"
#include "sysemu/runstate.h"
#include "device-internal.h"

#define REGISTERS_UNDER_WAY 4

/* Bytes that are taken from a stream at once */
#define BLOCK_SIZE (1 * MiB)

/* Nor is there use in more bytes of writes than sockets hold. */
#define WRITE_BYTES_UNDER_WAY (512 * KiB)

/* One message, from begin to end */
typedef struct VFIOUserAccess {
    VFIOUserCall call;
    VFIOUserRegionRW rw;
    uint64_t offset;
    uint32_t count;
} VFIOUserAccess;

/* How long an access to @region may take: only device_state changes state. */
static VFIOUserDeadline vfio_user_access_deadline(const VFIOUserRegion *region,
                                                  uint64_t offset, bool write)
{
    if (!region->migration) {
        return VFIO_USER_DEADLINE_REGISTER;
    }
    return write && offset < sizeof(uint32_t) ? VFIO_USER_DEADLINE_STATE :
                                                VFIO_USER_DEADLINE_BULK;
}

int vfio_user_access_errno(VFIODevice *vbasedev, int ret)
{
    VFIOUserDevice *device = vbasedev->io_opaque;
    const Error *reason = vfio_user_session_reason(device->session);

    if (reason) {
        if (runstate_check(RUN_STATE_INMIGRATE)) {
            vfio_user_device_tell_lost(device, vbasedev, reason);
        }
        ret = -ENOTCONN;
    }
    return vfio_user_device_errno(ret);
}

/* Migration names the register, in the one line that says so. */
static int vfio_user_access_fail(VFIODevice *vbasedev,
                                 const VFIOUserRegion *region, int ret,
                                 Error *err)
{
    if (region->migration) {
        error_free(err);
        return vfio_user_access_errno(vbasedev, ret);
    }
    return vfio_user_device_fail(vbasedev->io_opaque, ret, err);
}

static void vfio_user_access_init(VFIOUserAccess *access,
                                  const VFIOUserRegion *region,
                                  uint64_t offset, uint32_t count, bool write)
{
    *access = (VFIOUserAccess) {
        .call = {
            .command = write ? VFIO_USER_REGION_WRITE : VFIO_USER_REGION_READ,
            .deadline = vfio_user_access_deadline(region, offset, write),
            .head = &access->rw,
            .head_size = sizeof(access->rw),
            .max_reply = sizeof(access->rw) + (write ? 0 : count),
        },
        .offset = offset,
        .count = count,
    };
    vfio_user_wire_put_region_rw(&access->rw, region->desc.index, offset,
                                 count);
}

/* *@spare is for the reply, if it has room; NULL where there is none. */
static int vfio_user_access_begin_read(VFIOUserDevice *device,
                                       const VFIOUserRegion *region,
                                       uint64_t offset, uint32_t count,
                                       void **spare, VFIOUserAccess *access,
                                       Error **errp)
{
    vfio_user_access_init(access, region, offset, count, false);
    if (spare && *spare) {
        access->call.spare = g_steal_pointer(spare);
        access->call.spare_size = device->spare_size;
    }
    return vfio_user_session_send(device->session, &access->call, errp);
}

/* @data need not stay. */
static int vfio_user_access_begin_write(VFIOUserDevice *device,
                                        const VFIOUserRegion *region,
                                        uint64_t offset, uint32_t count,
                                        const void *data,
                                        VFIOUserAccess *access, Error **errp)
{
    vfio_user_access_init(access, region, offset, count, true);
    access->call.data = data;
    access->call.data_size = count;
    return vfio_user_session_send(device->session, &access->call, errp);
}

/*
 * On success *@data are the bytes that came; NULL for a write.
 * vfio_user_access_free() after.
 */
static int vfio_user_access_end(VFIOUserDevice *device,
                                const VFIOUserRegion *region,
                                VFIOUserAccess *access, const uint8_t **data,
                                Error **errp)
{
    ERRP_GUARD();
    VFIOUserCall *call = &access->call;
    int ret = vfio_user_session_wait(device->session, call, errp);
    const uint8_t *payload;
    size_t size;
    bool good;

    if (ret) {
        return ret;
    }
    payload = vfio_user_call_payload(call);
    size = vfio_user_call_payload_size(call);
    good = data ? vfio_user_wire_get_region_read(payload, size,
                                                 region->desc.index,
                                                 access->offset, access->count,
                                                 data, errp) :
                  vfio_user_wire_get_region_write(payload, size,
                                                  region->desc.index,
                                                  access->offset,
                                                  access->count, errp);
    if (!good) {
        return vfio_user_device_protocol_error(device, call->command, errp);
    }
    return 0;
}

static void vfio_user_access_free(VFIOUserAccess *access)
{
    vfio_user_msg_free(access->call.reply);
    access->call.reply = NULL;
}

/*
 * Registers, and whatever else hw/vfio reads and writes at once
 */

static int vfio_user_access_read(VFIOUserDevice *device,
                                 const VFIOUserRegion *region, uint64_t offset,
                                 uint32_t count, void *data, Error **errp)
{
    VFIOUserAccess access;
    const uint8_t *got;
    int ret = vfio_user_access_begin_read(device, region, offset, count, NULL,
                                          &access, errp);

    if (!ret) {
        ret = vfio_user_access_end(device, region, &access, &got, errp);
    }
    if (!ret) {
        memcpy(data, got, count);
    }
    vfio_user_access_free(&access);
    return ret;
}

/*
 * What has been checked stays: a server may say something else by now.  Of a
 * device that is realized that is the interrupt pin, for which hw/vfio is set
 * up or not.
 */
static void vfio_user_access_settle_config(const VFIOUserDevice *device,
                                           const VFIOUserRegion *region,
                                           uint64_t offset, size_t size,
                                           uint8_t *data)
{
    bool alive = !vfio_user_session_is_dead(device->session);
    size_t i;

    if (!device->config ||
        region->desc.index != VFIO_PCI_CONFIG_REGION_INDEX) {
        return;
    }
    for (i = 0; i < size; i++) {
        uint64_t at = offset + i;

        if (device->config_is_fixed ? at / 4 != PCI_ROM_ADDRESS / 4 :
                                      alive && at == PCI_INTERRUPT_PIN) {
            data[i] = device->config[at];
        }
    }
}

ssize_t vfio_user_device_region_read(VFIODevice *vbasedev, off_t off,
                                     size_t size, void *data)
{
    VFIOUserDevice *device = vbasedev->io_opaque;
    size_t most = vfio_user_session_caps(device->session)->max_data_xfer_size;
    const VFIOUserRegion *region;
    uint64_t offset;
    size_t done, piece;

    region = vfio_user_device_region(device, off, size, &offset);
    if (!region) {
        return vfio_user_device_errno(-EINVAL);
    }
    vfio_user_mapped_check(device);
    for (done = 0; done < size; done += piece) {
        Error *err = NULL;
        int ret;

        piece = MIN(size - done, most);
        ret = vfio_user_access_read(device, region, offset + done, piece,
                                    (uint8_t *)data + done, &err);
        if (ret && !region->migration &&
            vfio_user_session_is_dead(device->session)) {
            /* what a guest reads where no device answers */
            error_free(err);
            memset(data, 0xff, size);
            break;
        }
        if (ret) {
            return vfio_user_access_fail(vbasedev, region, ret, err);
        }
    }
    vfio_user_access_settle_config(device, region, offset, size, data);
    return size;
}

/* Ordering is the socket's, so nothing may reach the device beside it. */
static bool vfio_user_access_may_post(const VFIOUserDevice *device,
                                      const VFIOUserRegion *region)
{
    return !device->no_posted_writes && !region->migration &&
           !region->num_fds;
}

static int vfio_user_access_write(VFIOUserDevice *device,
                                  const VFIOUserRegion *region,
                                  uint64_t offset, uint32_t count,
                                  const void *data, bool post, Error **errp)
{
    VFIOUserAccess access;
    int ret;

    if (post && vfio_user_access_may_post(device, region)) {
        vfio_user_access_init(&access, region, offset, count, true);
        access.call.data = data;
        access.call.data_size = count;
        return vfio_user_session_post(device->session, &access.call, errp);
    }
    ret = vfio_user_access_begin_write(device, region, offset, count, data,
                                       &access, errp);
    if (!ret) {
        ret = vfio_user_access_end(device, region, &access, NULL, errp);
    }
    vfio_user_access_free(&access);
    return ret;
}

ssize_t vfio_user_device_region_write(VFIODevice *vbasedev, off_t off,
                                      size_t size, const void *data, bool post)
{
    VFIOUserDevice *device = vbasedev->io_opaque;
    const VFIOUserRegion *region;
    uint64_t offset;
    size_t done, piece;

    region = vfio_user_device_region(device, off, size, &offset);
    if (!region) {
        return vfio_user_device_errno(-EINVAL);
    }
    vfio_user_mapped_check(device);
    if (region->migration && !offset) {
        vfio_user_device_drop_spares(device);
        if (device->settle_dma) {
            device->settle_dma(vbasedev);
        }
    }
    for (done = 0; done < size; done += piece) {
        Error *err = NULL;
        int ret;

        piece = MIN(size - done, device->max_write);
        ret = vfio_user_access_write(device, region, offset + done, piece,
                                     (const uint8_t *)data + done, post, &err);
        if (ret && !region->migration &&
            vfio_user_session_is_dead(device->session)) {
            error_free(err);
            return size;
        }
        if (ret) {
            return vfio_user_access_fail(vbasedev, region, ret, err);
        }
    }
    return size;
}

typedef struct VFIOUserRegisters {
    VFIOUserDevice *device;
    const off_t *offs;
    uint64_t *values;
    unsigned int *failed;
    const VFIOUserRegion *regions[REGISTERS_UNDER_WAY];
    VFIOUserAccess accesses[REGISTERS_UNDER_WAY];
} VFIOUserRegisters;

static int vfio_user_registers_begin(void *opaque, uint64_t i,
                                     unsigned int slot)
{
    VFIOUserRegisters *regs = opaque;
    const VFIOUserRegion *region;
    uint64_t offset;

    *regs->failed = i;
    region = vfio_user_device_region(regs->device, regs->offs[i],
                                     sizeof(*regs->values), &offset);
    regs->regions[slot] = region;
    return !region ? -EINVAL :
           vfio_user_access_begin_read(regs->device, region, offset,
                                       sizeof(*regs->values), NULL,
                                       &regs->accesses[slot], NULL);
}

static int vfio_user_registers_end(void *opaque, uint64_t i,
                                   unsigned int slot)
{
    VFIOUserRegisters *regs = opaque;
    const uint8_t *got;
    int ret;

    *regs->failed = i;
    ret = vfio_user_access_end(regs->device, regs->regions[slot],
                               &regs->accesses[slot], &got, NULL);
    if (!ret) {
        memcpy(&regs->values[i], got, sizeof(*regs->values));
    }
    vfio_user_access_free(&regs->accesses[slot]);
    return ret;
}

static void vfio_user_registers_forget(void *opaque, uint64_t i,
                                       unsigned int slot)
{
    VFIOUserRegisters *regs = opaque;

    vfio_user_session_wait(regs->device->session, &regs->accesses[slot].call,
                           NULL);
    vfio_user_access_free(&regs->accesses[slot]);
}

int vfio_user_device_registers_read(VFIODevice *vbasedev, const off_t *offs,
                                    uint64_t *values, unsigned int n,
                                    unsigned int *failed)
{
    VFIOUserDevice *device = vbasedev->io_opaque;
    VFIOUserRegisters regs = {
        .device = device,
        .offs = offs,
        .values = values,
        .failed = failed,
    };
    const VFIOUserPipeline pipeline = {
        .begin = vfio_user_registers_begin,
        .end = vfio_user_registers_end,
        .forget = vfio_user_registers_forget,
        .window = MIN(vfio_user_session_window(device->session),
                      REGISTERS_UNDER_WAY),
    };
    int ret = vfio_user_pipeline_run(&pipeline, n, &regs);

    return ret ? vfio_user_access_errno(vbasedev, ret) : 0;
}

/*
 * Device data
 */

void vfio_user_device_drop_spares(VFIOUserDevice *device)
{
    int i;

    for (i = 0; i < VFIO_USER_DATA_READS; i++) {
        g_clear_pointer(&device->spares[i], g_free);
    }
}

/* Pages that are there already, where new ones would cost as much as a copy */
static void vfio_user_device_make_spares(VFIOUserDevice *device, size_t most)
{
    size_t size = sizeof(VFIOUserHeader) + sizeof(VFIOUserRegionRW) + most;
    int i;

    if (size > device->spare_size) {
        vfio_user_device_drop_spares(device);
        device->spare_size = size;
    }
    for (i = 0; i < VFIO_USER_DATA_READS; i++) {
        if (!device->spares[i]) {
            device->spares[i] = g_try_malloc(device->spare_size);
        }
    }
}

typedef struct VFIOUserTransfer {
    VFIOUserDevice *device;
    const VFIOUserRegion *region;
    uint64_t offset;            /* of the next message */
    size_t left;                /* bytes from there on */
    size_t most;                /* bytes of one message */
    VFIODataSink *sink;         /* of a read; or */
    VFIODataSource *source;     /* of a write, for */
    uint8_t *buffer;            /* bytes that are to be sent, */
    size_t size;                /* so many at a time, */
    size_t at;                  /* from here on */
    void *opaque;
    VFIOUserAccess accesses[VFIO_USER_DATA_WRITES];
} VFIOUserTransfer;

/* The access is over, and its memory is spare again. */
static void vfio_user_transfer_free(VFIOUserTransfer *transfer,
                                    unsigned int slot)
{
    VFIOUserAccess *access = &transfer->accesses[slot];
    VFIOUserMsg *reply = access->call.reply;

    if (access->call.spare) {
        transfer->device->spares[slot] = access->call.spare;
    } else if (access->call.spare_size && reply) {
        transfer->device->spares[slot] = g_steal_pointer(&reply->data);
    }
    vfio_user_access_free(access);
}

static int vfio_user_transfer_begin_read(void *opaque, uint64_t i,
                                         unsigned int slot)
{
    VFIOUserTransfer *transfer = opaque;
    uint32_t count = MIN(transfer->left, transfer->most);
    int ret = vfio_user_access_begin_read(transfer->device, transfer->region,
                                          transfer->offset, count,
                                          &transfer->device->spares[slot],
                                          &transfer->accesses[slot], NULL);

    transfer->offset += count;
    transfer->left -= count;
    if (ret) {
        vfio_user_transfer_free(transfer, slot);
    }
    return ret;
}

static int vfio_user_transfer_begin_write(void *opaque, uint64_t i,
                                          unsigned int slot)
{
    VFIOUserTransfer *transfer = opaque;
    uint32_t count = MIN(transfer->left, transfer->most);
    const uint8_t *data;
    int ret;

    if (transfer->at == transfer->size) {
        transfer->size = MIN(transfer->size, transfer->left);
        transfer->at = 0;
        ret = transfer->source(transfer->opaque, transfer->buffer,
                               transfer->size);
        if (ret) {
            return ret;
        }
    }
    data = transfer->buffer + transfer->at;
    ret = vfio_user_access_begin_write(transfer->device, transfer->region,
                                       transfer->offset, count, data,
                                       &transfer->accesses[slot], NULL);
    transfer->at += count;
    transfer->offset += count;
    transfer->left -= count;
    return ret;
}

static int vfio_user_transfer_end(void *opaque, uint64_t i, unsigned int slot)
{
    VFIOUserTransfer *transfer = opaque;
    VFIOUserAccess *access = &transfer->accesses[slot];
    const uint8_t *data = NULL;
    int ret = vfio_user_access_end(transfer->device, transfer->region, access,
                                   transfer->sink ? &data : NULL, NULL);

    if (!ret && transfer->sink) {
        ret = transfer->sink(transfer->opaque, data, access->count);
    }
    vfio_user_transfer_free(transfer, slot);
    return ret;
}

static void vfio_user_transfer_forget(void *opaque, uint64_t i,
                                      unsigned int slot)
{
    VFIOUserTransfer *transfer = opaque;

    vfio_user_session_wait(transfer->device->session,
                           &transfer->accesses[slot].call, NULL);
    vfio_user_transfer_free(transfer, slot);
}

static int vfio_user_transfer_run(VFIODevice *vbasedev,
                                  VFIOUserTransfer *transfer,
                                  unsigned int window)
{
    VFIOUserPipeline pipeline = {
        .begin = transfer->sink ? vfio_user_transfer_begin_read :
                                  vfio_user_transfer_begin_write,
        .end = vfio_user_transfer_end,
        .forget = vfio_user_transfer_forget,
        .window = MIN(window,
                      vfio_user_session_window(transfer->device->session)),
    };
    int ret;

    if (transfer->source && pipeline.window > 2) {
        pipeline.low = VFIO_USER_DATA_WRITES_LOW(pipeline.window);
    }
    ret = vfio_user_pipeline_run(&pipeline, DIV_ROUND_UP(transfer->left,
                                                         transfer->most),
                                 transfer);
    return ret ? vfio_user_access_errno(vbasedev, ret) : 0;
}

int vfio_user_device_data_read(VFIODevice *vbasedev, off_t off, size_t size,
                               VFIODataSink *sink, void *opaque)
{
    VFIOUserDevice *device = vbasedev->io_opaque;
    VFIOUserTransfer transfer = {
        .device = device,
        .left = size,
        .most = MIN(size, vfio_user_session_caps(device->session)->
                          max_data_xfer_size),
        .sink = sink,
        .opaque = opaque,
    };

    transfer.region = vfio_user_device_region(device, off, size,
                                              &transfer.offset);
    if (!transfer.region) {
        return vfio_user_device_errno(-EINVAL);
    }
    vfio_user_device_make_spares(device, transfer.most);
    return vfio_user_transfer_run(vbasedev, &transfer, VFIO_USER_DATA_READS);
}

int vfio_user_device_data_write(VFIODevice *vbasedev, off_t off, size_t size,
                                VFIODataSource *source, void *opaque)
{
    VFIOUserDevice *device = vbasedev->io_opaque;
    size_t most = MAX(MIN(size, device->max_write), 1);
    /* few and large reads from the stream, of whole messages each */
    size_t block = MAX(BLOCK_SIZE / most, 1) * most;
    g_autofree uint8_t *buffer = g_try_malloc(block);
    VFIOUserTransfer transfer = {
        .device = device,
        .left = size,
        .most = most,
        .source = source,
        .buffer = buffer,
        .size = block,
        .at = block,
        .opaque = opaque,
    };

    transfer.region = vfio_user_device_region(device, off, size,
                                              &transfer.offset);
    if (!transfer.region || !buffer) {
        return vfio_user_device_errno(buffer ? -EINVAL : -ENOMEM);
    }
    return vfio_user_transfer_run(vbasedev, &transfer,
                                  MAX(MIN(WRITE_BYTES_UNDER_WAY / most,
                                          VFIO_USER_DATA_WRITES), 2));
}
