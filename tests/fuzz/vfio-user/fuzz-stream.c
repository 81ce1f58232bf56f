/*
 * Fuzz target: the migration stream's part of a device, loaded by hw/vfio into
 * a vfio-user server that answers what the input says.  Its first two bytes say
 * how long the stream is, which follows; the rest are the answers.  There is no
 * socket: the session is the one below.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

/* first, for the loader is static in there */
#include "hw/vfio/migration.c"
#include "fuzz.h"
#include "hw/vfio-user/device.h"
#include "io/channel-buffer.h"
#include "fuzz-stream-stubs.h"

#define REGION_SIZE 0x380
#define MAPPED_AT 0x100
#define MAPPED_SIZE 0x80
#define REGISTERS sizeof(struct vfio_device_migration_info)

static FuzzInput answers;
static bool session_dead;
static VFIOUserCaps caps;

const VFIOUserCaps *vfio_user_session_caps(VFIOUserSession *session)
{
    return &caps;
}

unsigned int vfio_user_session_window(VFIOUserSession *session)
{
    return 4;
}

bool vfio_user_session_is_dead(VFIOUserSession *session)
{
    return session_dead;
}

const Error *vfio_user_session_reason(VFIOUserSession *session)
{
    static Error *reason;

    if (!reason) {
        error_setg(&reason, "dead");
    }
    return reason;
}

void vfio_user_session_kill(VFIOUserSession *session, Error *reason)
{
    session_dead = true;
    error_free(reason);
}

static int session_error(Error **errp, int ret)
{
    error_setg(errp, "error");
    return ret;
}

int vfio_user_session_send(VFIOUserSession *session, VFIOUserCall *call,
                           Error **errp)
{
    const VFIOUserRegionRW *rw = call->head;
    bool write = call->command == VFIO_USER_REGION_WRITE;

    if (session_dead) {
        return session_error(errp, -ENOTCONN);
    }
    /* what may be asked of a server: nothing beyond what it has */
    g_assert_cmpuint(call->head_size, ==, sizeof(*rw));
    g_assert_cmpuint(le32_to_cpu(rw->region), ==, 0);
    g_assert_cmpuint(le64_to_cpu(rw->offset), <, REGION_SIZE);
    g_assert_cmpuint(le32_to_cpu(rw->count), <=,
                     REGION_SIZE - le64_to_cpu(rw->offset));
    g_assert_cmpuint(call->data_size, ==, write ? le32_to_cpu(rw->count) : 0);
    g_assert_cmpuint(le32_to_cpu(rw->count), <=, caps.max_data_xfer_size);
    call->in_flight = true;
    return 0;
}

/* As it should be: the data's place behind the registers, or as told */
static size_t answer_good(const VFIOUserRegionRW *rw, bool write, uint8_t how,
                          uint8_t *payload)
{
    uint32_t count = le32_to_cpu(rw->count);

    memcpy(payload, rw, sizeof(*rw));
    if (write) {
        return sizeof(*rw);
    }
    memset(payload + sizeof(*rw), 0, count);
    if (le64_to_cpu(rw->offset) == VFIO_MIG_STRUCT_OFFSET(data_offset) &&
        count == 8) {
        stq_le_p(payload + sizeof(*rw), REGISTERS + (how >> 2) * 0x10);
    }
    return sizeof(*rw) + count;
}

int vfio_user_session_wait(VFIOUserSession *session, VFIOUserCall *call,
                           Error **errp)
{
    bool write = call->command == VFIO_USER_REGION_WRITE;
    uint8_t how = fuzz_byte(&answers);
    g_autofree uint8_t *payload = g_malloc0(call->max_reply + 1);
    size_t size = 0, got = 0;

    g_assert_true(call->in_flight);
    call->in_flight = false;
    if (session_dead) {
        return session_error(errp, -ENOTCONN);
    }
    if ((how & 3) == 3) {
        call->remote_error = true;
        return session_error(errp, -(how >> 2) - 1);
    }
    if ((how & 3) != 2) {
        size = answer_good(call->head, write, how, payload);
    }
    if (how & 3) {              /* then bytes of the input's own instead */
        size_t at = (how & 3) == 1 ? MIN(16, call->max_reply) : 0;
        const uint8_t *data = fuzz_bytes(&answers,
                                         MIN(how >> 2, call->max_reply - at),
                                         &got);

        if (got) {
            memcpy(payload + at, data, got);
        }
        size = (how & 3) == 1 ? size : got;
    }
    call->reply = g_new0(VFIOUserMsg, 1);
    call->reply->size = sizeof(VFIOUserHeader) + size;
    call->reply->data = g_malloc0(call->reply->size);
    memcpy(call->reply->data + sizeof(VFIOUserHeader), payload, size);
    return 0;
}

int vfio_user_session_call(VFIOUserSession *session, VFIOUserCall *call,
                           Error **errp)
{
    int ret = vfio_user_session_send(session, call, errp);

    return ret ?: vfio_user_session_wait(session, call, errp);
}

/* In place of hw/vfio/pci.c's, which takes QEMU's own vmstate from there */
static int load_config(VFIODevice *vbasedev, QEMUFile *f)
{
    return qemu_get_byte(f) ? -EINVAL : 0;
}

static VFIODeviceOps ops = { .vfio_load_config = load_config };

static QEMUFile *open_stream(const uint8_t *data, size_t size)
{
    QIOChannelBuffer *buffer = qio_channel_buffer_new(size + 1);
    QEMUFile *f;

    if (size) {
        memcpy(buffer->data, data, size);
    }
    buffer->usage = size;
    f = qemu_file_new_input(QIO_CHANNEL(buffer));
    object_unref(OBJECT(buffer));
    return f;
}

/* Until the stream or the loader has had enough, as the main loop does */
static void load(VFIODevice *vbasedev, const uint8_t *data, size_t size)
{
    QEMUFile *f = open_stream(data, size);
    int ret = 0;

    for (int i = 0; i < 64 && !ret; i++) {
        ret = vfio_load_state(f, vbasedev, 1);
        ret = ret ?: qemu_file_get_error(f);
    }
    g_assert_cmpint(ret, <=, 0);
    qemu_fclose(f);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    module_call_init(MODULE_INIT_QOM);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput input = { data, size };
    uint8_t kind = fuzz_byte(&input);
    size_t stream_size = (kind & 0xf) << 8 | fuzz_byte(&input);
    const uint8_t *stream = fuzz_bytes(&input, stream_size, &stream_size);
    g_autofree uint8_t *memory = g_malloc0(MAPPED_SIZE);
    VFIOMmap map = { .mmap = memory, .offset = MAPPED_AT,
                     .size = MAPPED_SIZE };
    VFIOUserRegion region = {
        .desc.size = REGION_SIZE, .migration = true,
    };
    VFIOUserDevice device = {
        .num_regions = 1, .regions = &region,
        .max_write = kind & 0x20 ? 16 : 64,
    };
    VFIOMigration migration = {
        .region = { .size = REGION_SIZE, .mmaps = kind & 0x10 ? &map : NULL,
                    .nr_mmaps = 1 },
    };
    VFIODevice vbasedev = {
        .name = (char *)"fuzz", .ops = &ops, .migration = &migration,
        .io_ops = &vfio_user_device_io_ops, .io_opaque = &device,
    };

    vfio_user_caps_init_default(&caps);
    caps.max_data_xfer_size = 64;
    session_dead = false;
    answers = input;
    load(&vbasedev, stream, stream_size);
    return 0;
}
