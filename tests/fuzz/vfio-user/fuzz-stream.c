/*
 * Fuzz target: the migration stream's part of a device, loaded by hw/vfio into
 * a vfio-user server that answers what the input says.  Its first two bytes say
 * how long the stream is, which follows; the rest are the answers.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

/* first, for the loader is static in there */
#include "hw/vfio/migration.c"
#include "fuzz.h"
#include "fuzz-answers.h"
#include "hw/vfio-user/device.h"
#include "io/channel-buffer.h"
#include "fuzz-stream-stubs.h"

#define REGION_SIZE 0x380
#define MAPPED_AT 0x100
#define MAPPED_SIZE 0x80
#define REGISTERS sizeof(struct vfio_device_migration_info)

static FuzzInput answers;

/* What may be asked of a server: nothing beyond what it has */
void fuzz_check_request(const VFIOUserCall *call)
{
    const VFIOUserRegionRW *rw = call->head;
    bool write = call->command == VFIO_USER_REGION_WRITE;

    g_assert_cmpuint(call->head_size, ==, sizeof(*rw));
    g_assert_cmpuint(le32_to_cpu(rw->region), ==, 0);
    g_assert_cmpuint(le64_to_cpu(rw->offset), <, REGION_SIZE);
    g_assert_cmpuint(le32_to_cpu(rw->count), <=,
                     REGION_SIZE - le64_to_cpu(rw->offset));
    g_assert_cmpuint(call->data_size, ==, write ? le32_to_cpu(rw->count) : 0);
    g_assert_cmpuint(le32_to_cpu(rw->count), <=, fuzz_caps.max_data_xfer_size);
}

/* As it should be: the data's place behind the registers, or as told */
static void answer_good(const VFIOUserCall *call, uint8_t how,
                        FuzzAnswer *answer)
{
    const VFIOUserRegionRW *rw = call->head;
    uint32_t count = le32_to_cpu(rw->count);

    memcpy(answer->payload, rw, sizeof(*rw));
    answer->size = call->max_reply;
    if (call->command == VFIO_USER_REGION_READ && count == 8 &&
        le64_to_cpu(rw->offset) == VFIO_MIG_STRUCT_OFFSET(data_offset)) {
        stq_le_p(answer->payload + sizeof(*rw), REGISTERS + (how >> 2) * 0x10);
    }
}

void fuzz_answer(const VFIOUserCall *call, FuzzAnswer *answer)
{
    uint8_t how = fuzz_byte(&answers);
    size_t got;

    if ((how & 3) == 3) {
        answer->error = (how >> 2) + 1;
        return;
    }
    if ((how & 3) != 2) {
        answer_good(call, how, answer);
    }
    if (how & 3) {              /* then bytes of the input's own instead */
        size_t at = (how & 3) == 1 ? MIN(16, call->max_reply) : 0;
        const uint8_t *data = fuzz_bytes(&answers,
                                         MIN(how >> 2, call->max_reply - at),
                                         &got);

        if (got) {
            memcpy(answer->payload + at, data, got);
        }
        answer->size = (how & 3) == 1 ? answer->size : got;
    }
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

    vfio_user_caps_init_default(&fuzz_caps);
    fuzz_caps.max_data_xfer_size = 64;
    fuzz_window = 4;
    fuzz_answers_begin();
    answers = input;
    load(&vbasedev, stream, stream_size);
    return 0;
}
