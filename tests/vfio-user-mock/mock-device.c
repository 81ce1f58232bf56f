/*
 * The mock's device: what it tells about itself, its BARs, reset.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "mock-internal.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEVICE_RESET 1u
#define DEVICE_PCI 2u
#define REGION_READ 1u
#define REGION_WRITE 2u
#define REGION_MMAP 4u
#define REGION_CAPS 8u
#define CAP_SPARSE_MMAP 1u
#define CAP_TYPE 2u
#define TYPE_MIGRATION 3u
#define SUBTYPE_MIGRATION 1u

#define REGION_INFO_SIZE 32u
#define CAP_TYPE_SIZE 16u
#define CAP_SPARSE_SIZE 16u
#define CAP_AREA_SIZE 16u

#define DMA_MAX (16u << 20)

int mock_memory_new(const char *name, uint64_t offset, uint64_t size,
                    uint8_t **memory)
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    void *base;

    if (fd < 0) {
        return -1;
    }
    if (ftruncate(fd, offset + size)) {
        close(fd);
        return -1;
    }
    base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
    if (base == MAP_FAILED) {
        close(fd);
        return -1;
    }
    *memory = base;
    return fd;
}

bool mock_device_init(Mock *mock, GError **error)
{
    MockDevice *device = &mock->device;

    device->bar2_fd = -1;
    if (mock->config.bar2_size) {
        device->bar2_fd = mock_memory_new("mock-bar2", MOCK_BAR2_FILE_OFFSET,
                                          mock->config.bar2_size,
                                          &device->bar2);
        if (device->bar2_fd < 0) {
            g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno),
                        "no memory for BAR2: %s", g_strerror(errno));
            return false;
        }
    }
    mock_pci_config_init(mock);
    return true;
}

void mock_device_destroy(Mock *mock)
{
    if (mock->device.bar2_fd >= 0) {
        munmap(mock->device.bar2, mock->config.bar2_size);
        close(mock->device.bar2_fd);
    }
}

void mock_device_reset(Mock *mock)
{
    MockDevice *device = &mock->device;

    memset(device->scratch, 0, sizeof(device->scratch));
    memset(device->bar4, 0, sizeof(device->bar4));
    device->dma_addr = device->dma_length = device->dma_pattern = 0;
    device->dma_status = device->dma_result = device->intx_status = 0;
    device->resets++;
    mock_pci_config_init(mock);
}

uint64_t mock_region_size(const Mock *mock, uint32_t region)
{
    switch (region) {
    case MOCK_REGION_BAR0:
        return mock->config.bar0_size;
    case MOCK_REGION_BAR2:
        return mock->config.bar2_size;
    case MOCK_REGION_BAR4:
        return mock->config.no_msix ? 0 : sizeof(mock->device.bar4);
    case MOCK_REGION_CONFIG:
        return mock->config.config_size;
    case MOCK_REGION_MIGRATION:
        return mock_migration_region_size(mock);
    default:
        return 0;
    }
}

int mock_device_get_info(Mock *mock, MockMessage *command, MockMessage *reply)
{
    MockReader reader = mock_reader(command->body->data, command->body->len);
    uint32_t argsz = mock_get(&reader, 4);

    if (reader.bad || command->body->len < 16 || argsz < 16) {
        return -EINVAL;
    }
    mock_put(reply->body, 16, 4);
    mock_put(reply->body, DEVICE_PCI |
             (mock->config.no_reset ? 0 : DEVICE_RESET), 4);
    mock_put(reply->body, mock->config.num_regions, 4);
    mock_put(reply->body, mock->config.num_irqs, 4);
    return 0;
}

/* The mmap-able parts of a region */
typedef struct Areas {
    unsigned number;
    int fd;
    uint64_t file_offset;
    uint64_t start;
    uint64_t size;              /* of each */
} Areas;

static Areas region_areas(Mock *mock, uint32_t region)
{
    const MockConfig *config = &mock->config;
    uint64_t page = sysconf(_SC_PAGE_SIZE);
    Areas areas = { .fd = -1 };

    if (region == MOCK_REGION_BAR2 && config->bar2_size &&
        config->bar2_areas) {
        areas.number = config->bar2_areas;
        areas.fd = mock->device.bar2_fd;
        areas.file_offset = MOCK_BAR2_FILE_OFFSET;
        areas.start = page;
        areas.size = (config->bar2_size - page) / areas.number / page * page;
    } else if (region == MOCK_REGION_MIGRATION && config->window_mmap) {
        areas.number = 1;
        areas.fd = mock->migration.fd;
        areas.file_offset = MOCK_MIG_FILE_OFFSET;
        areas.start = MOCK_MIG_DATA;
        areas.size = config->window_size;
    }
    return areas;
}

static void put_cap(GByteArray *body, uint16_t id, uint32_t next)
{
    mock_put(body, id, 2);
    mock_put(body, 1, 2);
    mock_put(body, next, 4);
}

static int put_caps(Mock *mock, const Areas *areas, bool typed,
                    MockMessage *reply)
{
    unsigned i;

    if (typed) {
        put_cap(reply->body, CAP_TYPE, areas->number ?
                REGION_INFO_SIZE + CAP_TYPE_SIZE : 0);
        mock_put(reply->body, TYPE_MIGRATION, 4);
        mock_put(reply->body, SUBTYPE_MIGRATION, 4);
    }
    if (!areas->number) {
        return 0;
    }
    if (areas->number > mock->client_max_msg_fds) {
        return -ENOSPC;
    }
    put_cap(reply->body, CAP_SPARSE_MMAP, 0);
    mock_put(reply->body, areas->number, 4);
    mock_put(reply->body, 0, 4);
    for (i = 0; i < areas->number; i++) {
        mock_put(reply->body, areas->start + i * areas->size, 8);
        mock_put(reply->body, areas->size, 8);
        if (!mock_message_add_fd(reply, areas->fd)) {
            return -EMFILE;
        }
    }
    return 0;
}

int mock_region_get_info(Mock *mock, MockMessage *command, MockMessage *reply)
{
    MockReader reader = mock_reader(command->body->data, command->body->len);
    uint32_t argsz = mock_get(&reader, 4);
    uint32_t index, flags, caps;
    uint64_t size;
    Areas areas;
    bool typed, fits;

    mock_get(&reader, 4);
    index = mock_get(&reader, 4);
    if (reader.bad || command->body->len < REGION_INFO_SIZE ||
        argsz < REGION_INFO_SIZE ||
        index >= MAX(MOCK_NUM_REGIONS, mock->config.num_regions)) {
        return -EINVAL;
    }
    size = mock_region_size(mock, index);
    areas = region_areas(mock, index);
    typed = index == MOCK_REGION_MIGRATION && size;
    caps = (typed ? CAP_TYPE_SIZE : 0) +
           (areas.number ?
            CAP_SPARSE_SIZE + areas.number * CAP_AREA_SIZE : 0);
    fits = caps && argsz >= REGION_INFO_SIZE + caps;
    flags = (size ? REGION_READ | REGION_WRITE : 0) |
            (areas.number ? REGION_MMAP : 0) | (fits ? REGION_CAPS : 0);
    mock_put(reply->body, REGION_INFO_SIZE + caps, 4);
    mock_put(reply->body, flags, 4);
    mock_put(reply->body, index, 4);
    mock_put(reply->body, fits ? REGION_INFO_SIZE : 0, 4);
    mock_put(reply->body, size, 8);
    mock_put(reply->body, areas.file_offset, 8);
    if (!fits) {
        /* libvfio-user fills up to what the client has room for */
        mock_put_zeros(reply->body, MIN(argsz - REGION_INFO_SIZE, caps));
        return 0;
    }
    return put_caps(mock, &areas, typed, reply);
}

int mock_region_get_io_fds(Mock *mock, MockMessage *command,
                           MockMessage *reply)
{
    MockReader reader = mock_reader(command->body->data, command->body->len);
    uint32_t argsz = mock_get(&reader, 4);
    uint32_t flags = mock_get(&reader, 4);
    uint32_t index = mock_get(&reader, 4);
    uint32_t count = mock_get(&reader, 4);

    if (reader.bad || argsz < 16 || flags || count ||
        !mock_region_size(mock, index)) {
        return -EINVAL;
    }
    mock_put(reply->body, 16, 4);
    mock_put(reply->body, 0, 4);
    mock_put(reply->body, index, 4);
    mock_put(reply->body, 0, 4);
    return 0;
}

/* The registers of BAR0 as bytes */
static void bar0_image(const MockDevice *device, uint8_t *image)
{
    unsigned i;

    memset(image, 0, MOCK_BAR0_END);
    mock_store(image + MOCK_BAR0_ID, MOCK_BAR0_ID_VALUE, 4);
    mock_store(image + MOCK_BAR0_RESETS, device->resets, 4);
    mock_store(image + MOCK_BAR0_DMA_STATUS, device->dma_status, 4);
    mock_store(image + MOCK_BAR0_DMA_ADDR, device->dma_addr, 8);
    mock_store(image + MOCK_BAR0_DMA_LENGTH, device->dma_length, 4);
    mock_store(image + MOCK_BAR0_DMA_PATTERN, device->dma_pattern, 4);
    mock_store(image + MOCK_BAR0_DMA_RESULT, device->dma_result, 4);
    mock_store(image + MOCK_BAR0_INTX_STATUS, device->intx_status, 4);
    for (i = 0; i < MOCK_NUM_SCRATCH; i++) {
        mock_store(image + MOCK_BAR0_SCRATCH + 8 * i, device->scratch[i], 8);
    }
}

static void bar0_update(MockDevice *device, const uint8_t *image)
{
    unsigned i;

    device->dma_addr = mock_load(image + MOCK_BAR0_DMA_ADDR, 8);
    device->dma_length = mock_load(image + MOCK_BAR0_DMA_LENGTH, 4);
    device->dma_pattern = mock_load(image + MOCK_BAR0_DMA_PATTERN, 4);
    for (i = 0; i < MOCK_NUM_SCRATCH; i++) {
        device->scratch[i] = mock_load(image + MOCK_BAR0_SCRATCH + 8 * i, 8);
    }
}

/* Do it at once through the mapping, or leave it to the server's thread */
static void ring_doorbell(Mock *mock, uint32_t value)
{
    MockDevice *device = &mock->device;
    bool write = (value & 0xff) == MOCK_DMA_FILL;
    uint32_t size = device->dma_length, i;
    uint8_t *memory;
    int error;

    if ((!write && (value & 0xff) != MOCK_DMA_SUM) || !size ||
        size > DMA_MAX) {
        device->dma_status = EINVAL;
        return;
    }
    error = value & MOCK_DMA_BY_MESSAGE ? -ENODEV :
            mock_dma_translate(mock, device->dma_addr, size, write, &memory);
    if (error == -ENODEV) {
        device->doorbell = (MockDoorbell) {
            .wanted = true,
            .write = write,
            .iova = device->dma_addr,
            .size = size,
            .pattern = device->dma_pattern,
        };
        return;
    }
    device->dma_status = -error;
    if (error) {
        return;
    }
    if (write) {
        memset(memory, device->dma_pattern & 0xff, size);
    } else {
        device->dma_result = 0;
        for (i = 0; i < size; i++) {
            device->dma_result += memory[i];
        }
    }
}

static void raise_vector(Mock *mock, uint32_t vector)
{
    if (!mock_irq_raise(mock, MOCK_IRQ_MSIX, vector) ||
        !mock_irq_raise(mock, MOCK_IRQ_MSI, vector)) {
        return;
    }
    mock_irq_raise(mock, MOCK_IRQ_INTX, 0);
}

static int bar0_read(Mock *mock, uint64_t offset, uint8_t *data,
                     uint32_t count)
{
    uint8_t image[MOCK_BAR0_END];

    memset(data, 0, count);
    if (offset < MOCK_BAR0_END) {
        bar0_image(&mock->device, image);
        memcpy(data, image + offset, MIN(count, MOCK_BAR0_END - offset));
    }
    return 0;
}

static int bar0_write(Mock *mock, uint64_t offset, const uint8_t *data,
                      uint32_t count)
{
    uint8_t image[MOCK_BAR0_END];

    if (offset >= MOCK_BAR0_END) {
        return 0;
    }
    bar0_image(&mock->device, image);
    memcpy(image + offset, data, MIN(count, MOCK_BAR0_END - offset));
    bar0_update(&mock->device, image);
    if (count == 4) {
        uint32_t value = mock_load(data, 4);

        if (offset == MOCK_BAR0_IRQ_TRIGGER) {
            raise_vector(mock, value);
        } else if (offset == MOCK_BAR0_DMA_DOORBELL) {
            ring_doorbell(mock, value);
        } else if (offset == MOCK_BAR0_INTX_STATUS) {
            mock->device.intx_status &= ~value;
        }
    }
    return 0;
}

static bool is_inside(Mock *mock, uint32_t region, uint64_t offset,
                      uint32_t count)
{
    uint64_t size = mock_region_size(mock, region);

    return offset <= size && count <= size - offset && size;
}

int mock_region_read(Mock *mock, uint32_t region, uint64_t offset,
                     uint8_t *data, uint32_t count)
{
    if (!is_inside(mock, region, offset, count)) {
        return -EINVAL;
    }
    switch (region) {
    case MOCK_REGION_BAR0:
        return bar0_read(mock, offset, data, count);
    case MOCK_REGION_BAR2:
        memcpy(data, mock->device.bar2 + offset, count);
        return 0;
    case MOCK_REGION_BAR4:
        memcpy(data, mock->device.bar4 + offset, count);
        return 0;
    case MOCK_REGION_CONFIG:
        return mock_pci_config_read(mock, offset, data, count);
    case MOCK_REGION_MIGRATION:
        return mock_migration_read(mock, offset, data, count);
    default:
        return -EINVAL;
    }
}

int mock_region_write(Mock *mock, uint32_t region, uint64_t offset,
                      const uint8_t *data, uint32_t count)
{
    if (!is_inside(mock, region, offset, count)) {
        return -EINVAL;
    }
    switch (region) {
    case MOCK_REGION_BAR0:
        return bar0_write(mock, offset, data, count);
    case MOCK_REGION_BAR2:
        memcpy(mock->device.bar2 + offset, data, count);
        return 0;
    case MOCK_REGION_BAR4:
        memcpy(mock->device.bar4 + offset, data, count);
        return 0;
    case MOCK_REGION_CONFIG:
        return mock_pci_config_write(mock, offset, data, count);
    case MOCK_REGION_MIGRATION:
        return mock_migration_write(mock, offset, data, count);
    default:
        return -EINVAL;
    }
}

uint64_t mock_scratch_get(Mock *mock, unsigned index)
{
    MOCK_LOCK_GUARD(mock);

    return index < MOCK_NUM_SCRATCH ? mock->device.scratch[index] : 0;
}

void mock_scratch_set(Mock *mock, unsigned index, uint64_t value)
{
    MOCK_LOCK_GUARD(mock);

    if (index < MOCK_NUM_SCRATCH) {
        mock->device.scratch[index] = value;
    }
}

unsigned mock_reset_count(Mock *mock)
{
    MOCK_LOCK_GUARD(mock);

    return mock->device.resets;
}
