/*
 * The device behind bench-server: config space, one BAR, and a migration
 * region of protocol v1 whose data never changes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include "bench-server.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "../../vfio-user-mock/mock-numbers.h"

enum { REGION_INFO_SIZE = 32, REGION_RW_SIZE = 16, DIRTY_GET_SIZE = 40 };
enum { INFO_READ = 1, INFO_WRITE = 2, INFO_MMAP = 4, INFO_CAPS = 8 };
enum { CAP_SPARSE = 1, CAP_TYPE = 2, TYPE_MIGRATION = 3 };
enum { UNMAP_BITMAP = 1, DIRTY_GET = 4 };

static struct {
    BenchOptions options;
    uint8_t config[256];
    uint8_t *bar;
    uint8_t *window;
    uint8_t *zeros;             /* dirty bitmaps */
    int window_fd;
    uint32_t state;
    uint64_t left;              /* of the device data */
    uint64_t chunk;             /* given by data_offset, 0: none */
    uint64_t data_size;         /* of the last chunk, read or written */
} device;

bool bench_device_init(const BenchOptions *options)
{
    static const uint8_t config[] = {
        0x4b, 0x4d, 0xe5, 0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0
    };

    device.options = *options;
    memcpy(device.config, config, sizeof(config));
    device.state = MOCK_STATE_RUNNING;
    device.bar = calloc(1, options->bar_size);
    device.zeros = calloc(1, BENCH_MAX_DATA);
    device.window_fd = memfd_create("bench-window", MFD_CLOEXEC);
    if (!device.bar || !device.zeros || device.window_fd < 0 ||
        ftruncate(device.window_fd, MOCK_MIG_DATA + options->window_size)) {
        perror("bench-server: no memory for the device");
        return false;
    }
    device.window = mmap(NULL, options->window_size, PROT_READ | PROT_WRITE,
                         MAP_SHARED, device.window_fd, MOCK_MIG_DATA);
    if (device.window == MAP_FAILED) {
        perror("bench-server: mmap");
        return false;
    }
    memset(device.window, 0x5a, options->window_size);
    return true;
}

/* A class of commands without a delay of its own has that of all others. */
static void delay(BenchReply *reply, int64_t delay_us)
{
    if (delay_us) {
        reply->delay_us = delay_us;
    }
}

static void put(BenchReply *reply, const void *bytes, size_t size)
{
    memcpy(reply->head + reply->head_size, bytes, size);
    reply->head_size += size;
}

static void put32(BenchReply *reply, uint32_t value)
{
    put(reply, &value, sizeof(value));
}

static void put64(BenchReply *reply, uint64_t value)
{
    put(reply, &value, sizeof(value));
}

static uint32_t get32(const uint8_t *payload, size_t at)
{
    uint32_t value;

    memcpy(&value, payload + at, sizeof(value));
    return value;
}

static uint64_t get64(const uint8_t *payload, size_t at)
{
    uint64_t value;

    memcpy(&value, payload + at, sizeof(value));
    return value;
}

static int do_version(BenchReply *reply)
{
    char json[160];
    int size = snprintf(json, sizeof(json),
        "{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":%" PRIu64
        ",\"migration\":{\"pgsize\":4096,\"max_bitmap_size\":1048576}}}",
        device.options.max_data);

    put32(reply, 0);
    put(reply, json, size + 1);
    return 0;
}

static int do_device_info(BenchReply *reply)
{
    put32(reply, 16);
    put32(reply, 3);            /* PCI, reset */
    put32(reply, MOCK_NUM_REGIONS);
    put32(reply, MOCK_NUM_IRQS);
    return 0;
}

static void put_region(BenchReply *reply, uint32_t argsz, uint32_t flags,
                       uint32_t index, uint64_t size)
{
    put32(reply, argsz);
    put32(reply, flags);
    put32(reply, index);
    put32(reply, flags & INFO_CAPS ? REGION_INFO_SIZE : 0);
    put64(reply, size);
    put64(reply, 0);
}

static void put_migration_region(BenchReply *reply, uint32_t room)
{
    bool mapped = device.options.mapped;
    uint32_t argsz = REGION_INFO_SIZE + 16 + (mapped ? 32 : 0);
    uint32_t flags = INFO_READ | INFO_WRITE | INFO_CAPS |
                     (mapped ? INFO_MMAP : 0);

    put_region(reply, argsz, flags, MOCK_REGION_MIGRATION,
               MOCK_MIG_DATA + device.options.window_size);
    if (room < argsz) {
        return;
    }
    put32(reply, CAP_TYPE | 1 << 16);
    put32(reply, mapped ? REGION_INFO_SIZE + 16 : 0);
    put32(reply, TYPE_MIGRATION);
    put32(reply, 1);
    if (mapped) {
        put32(reply, CAP_SPARSE | 1 << 16);
        put32(reply, 0);
        put32(reply, 1);
        put32(reply, 0);
        put64(reply, MOCK_MIG_DATA);
        put64(reply, device.options.window_size);
        reply->fd = device.window_fd;
    }
}

static int do_region_info(const uint8_t *payload, BenchReply *reply)
{
    uint32_t index = get32(payload, 8);

    switch (index) {
    case MOCK_REGION_BAR0:
        put_region(reply, REGION_INFO_SIZE, INFO_READ | INFO_WRITE, index,
                   device.options.bar_size);
        return 0;
    case MOCK_REGION_CONFIG:
        put_region(reply, REGION_INFO_SIZE, INFO_READ | INFO_WRITE, index,
                   sizeof(device.config));
        return 0;
    case MOCK_REGION_MIGRATION:
        put_migration_region(reply, get32(payload, 0));
        return 0;
    default:
        put_region(reply, REGION_INFO_SIZE, 0, index, 0);
        return index < MOCK_NUM_REGIONS ? 0 : -EINVAL;
    }
}

static int do_irq_info(const uint8_t *payload, BenchReply *reply)
{
    put32(reply, 16);
    put32(reply, 1);            /* eventfd */
    put32(reply, get32(payload, 8));
    put32(reply, get32(payload, 8) == MOCK_IRQ_INTX);
    return 0;
}

/* The one before has been taken when something is asked of the next. */
static uint64_t read_pending(void)
{
    device.left -= device.chunk;
    device.chunk = 0;
    return device.state == MOCK_STATE_STOP_COPY ? device.left : 0;
}

static int read_register(uint64_t offset, uint64_t *value)
{
    uint64_t most = device.options.chunk_size;

    switch (offset) {
    case MOCK_MIG_DEVICE_STATE:
        *value = device.state;
        return 0;
    case MOCK_MIG_PENDING_BYTES:
        *value = read_pending();
        return 0;
    case MOCK_MIG_DATA_OFFSET:
        if (device.state == MOCK_STATE_STOP_COPY && !device.chunk) {
            device.chunk = device.left < most ? device.left : most;
            device.data_size = device.chunk;
        }
        *value = MOCK_MIG_DATA;
        return 0;
    case MOCK_MIG_DATA_SIZE:
        *value = device.data_size;
        return 0;
    default:
        return -EINVAL;
    }
}

static int write_register(uint64_t offset, uint64_t value, BenchReply *reply)
{
    switch (offset) {
    case MOCK_MIG_DEVICE_STATE:
        if (value == MOCK_STATE_STOP_COPY) {
            device.left = device.options.state_size;
        }
        device.chunk = 0;
        device.state = value;
        delay(reply, device.options.delay_state_us);
        return 0;
    case MOCK_MIG_DATA_SIZE:
        device.data_size = value;
        return 0;
    default:
        return -EINVAL;
    }
}

/* The memory behind @count bytes at @offset of a region; NULL: there is none */
static uint8_t *region_memory(uint32_t region, uint64_t offset, uint32_t count)
{
    uint8_t *memory = NULL;
    uint64_t size = 0;

    switch (region) {
    case MOCK_REGION_BAR0:
        memory = device.bar;
        size = device.options.bar_size;
        break;
    case MOCK_REGION_CONFIG:
        memory = device.config;
        size = sizeof(device.config);
        break;
    case MOCK_REGION_MIGRATION:
        memory = device.window;
        size = device.options.window_size;
        if (offset < MOCK_MIG_DATA) {
            return NULL;
        }
        offset -= MOCK_MIG_DATA;
        break;
    }
    return offset <= size && count <= size - offset ? memory + offset : NULL;
}

static int do_region_read(const uint8_t *payload, BenchReply *reply,
                          BenchAccess *access)
{
    uint8_t *memory = region_memory(access->region, access->offset,
                                    access->count);
    int ret;

    put(reply, payload, REGION_RW_SIZE);
    if (memory && access->count <= 8) {
        put(reply, memory, access->count);
        return 0;
    }
    if (memory && access->count <= BENCH_MAX_DATA) {
        reply->data = memory;
        reply->data_size = access->count;
        return 0;
    }
    if (access->region != MOCK_REGION_MIGRATION || access->count > 8) {
        return -EINVAL;
    }
    ret = read_register(access->offset, &access->value);
    access->has_value = true;
    put(reply, &access->value, access->count);
    return ret;
}

static int do_region_write(const uint8_t *payload, size_t size,
                           BenchReply *reply, BenchAccess *access)
{
    const uint8_t *data = payload + REGION_RW_SIZE;
    uint8_t *memory = region_memory(access->region, access->offset,
                                    access->count);

    put(reply, payload, REGION_RW_SIZE);
    if (size - REGION_RW_SIZE != access->count) {
        return -EINVAL;
    }
    if (memory) {
        /* Device data only has to be received, registers are read back */
        if (access->region != MOCK_REGION_MIGRATION) {
            memcpy(memory, data, access->count);
        }
        return 0;
    }
    if (access->region != MOCK_REGION_MIGRATION || access->count > 8) {
        return -EINVAL;
    }
    access->has_value = true;
    memcpy(&access->value, data, access->count);
    return write_register(access->offset, access->value, reply);
}

static int put_bitmap(BenchReply *reply, uint64_t size)
{
    if (size > BENCH_MAX_DATA) {
        return -EINVAL;
    }
    reply->data = device.zeros;
    reply->data_size = size;
    return 0;
}

static int do_dma_unmap(const uint8_t *payload, size_t size, BenchReply *reply)
{
    bool bitmap = get32(payload, 4) & UNMAP_BITMAP;

    delay(reply, device.options.delay_map_us);
    if (bitmap && size < 40) {
        return -EINVAL;
    }
    put(reply, payload, bitmap ? 40 : 24);
    return bitmap ? put_bitmap(reply, get64(payload, 32)) : 0;
}

static int do_dirty_pages(const uint8_t *payload, size_t size,
                          BenchReply *reply, BenchAccess *access)
{
    if (!(get32(payload, 4) & DIRTY_GET)) {
        return 0;
    }
    if (size < DIRTY_GET_SIZE) {
        return -EINVAL;
    }
    delay(reply, device.options.delay_dirty_us);
    access->has_value = true;
    access->value = get64(payload, 8);      /* the range's first address */
    put(reply, payload, DIRTY_GET_SIZE);
    return put_bitmap(reply, get64(payload, 32));
}

static int execute(const BenchHeader *header, const uint8_t *payload,
                   size_t size, BenchReply *reply, BenchAccess *access)
{
    switch (header->command) {
    case MOCK_VERSION:
        return do_version(reply);
    case MOCK_DEVICE_GET_INFO:
        delay(reply, device.options.delay_info_us);
        return do_device_info(reply);
    case MOCK_DEVICE_GET_REGION_INFO:
        delay(reply, device.options.delay_info_us);
        return do_region_info(payload, reply);
    case MOCK_DEVICE_GET_IRQ_INFO:
        delay(reply, device.options.delay_info_us);
        return do_irq_info(payload, reply);
    case MOCK_REGION_READ:
        return do_region_read(payload, reply, access);
    case MOCK_REGION_WRITE:
        return do_region_write(payload, size, reply, access);
    case MOCK_DMA_MAP:
        delay(reply, device.options.delay_map_us);
        return 0;
    case MOCK_DMA_UNMAP:
        return do_dma_unmap(payload, size, reply);
    case MOCK_DIRTY_PAGES:
        return do_dirty_pages(payload, size, reply, access);
    case MOCK_DEVICE_RESET:
    case MOCK_DEVICE_SET_IRQS:
        return 0;
    default:
        return -ENOTSUP;
    }
}

/* Bytes of payload that each command has at least */
static size_t least_size(uint16_t command)
{
    static const uint8_t least[] = {
        [MOCK_VERSION] = 4, [MOCK_DMA_MAP] = 32, [MOCK_DMA_UNMAP] = 24,
        [MOCK_DEVICE_GET_INFO] = 16, [MOCK_DEVICE_GET_REGION_INFO] = 32,
        [MOCK_DEVICE_GET_IRQ_INFO] = 16, [MOCK_DEVICE_SET_IRQS] = 20,
        [MOCK_REGION_READ] = 16, [MOCK_REGION_WRITE] = 16,
        [MOCK_DIRTY_PAGES] = 8,
    };

    return command < sizeof(least) ? least[command] : 0;
}

void bench_device_execute(const BenchHeader *header, const uint8_t *payload,
                          size_t size, BenchReply *reply, BenchAccess *access)
{
    BenchHeader answer = *header;
    int error = -EINVAL;

    *access = (BenchAccess) { 0 };
    reply->head_size = sizeof(answer);
    reply->data_size = 0;
    reply->fd = -1;
    reply->delay_us = device.options.delay_us;
    if (size >= least_size(header->command)) {
        if (header->command == MOCK_REGION_READ ||
            header->command == MOCK_REGION_WRITE) {
            access->has_region = true;
            access->offset = get64(payload, 0);
            access->region = get32(payload, 8);
            access->count = get32(payload, 12);
        }
        error = execute(header, payload, size, reply, access);
    }
    if (error) {
        reply->head_size = sizeof(answer);
        reply->data_size = 0;
        reply->fd = -1;
    }
    answer.size = reply->head_size + reply->data_size;
    answer.flags = BENCH_REPLY | (error ? BENCH_ERROR : 0);
    answer.error = -error;
    memcpy(reply->head, &answer, sizeof(answer));
}
