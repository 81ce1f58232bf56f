/*
 * Fuzz target: replies and requests of a server, taken apart by the wire
 * layer.  The first byte says which one it is, the rest is its payload; with
 * the top bit set, three numbers before it are what was asked for.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "fuzz.h"
#include "hw/vfio-user/wire.h"
#include "tests/unit/vfio-user/wire-golden.h"

#define ASKED_BY_INPUT 0x80
#define MAX_PAGES 4096

/* What the request said */
typedef struct Asked {
    uint32_t index;
    uint64_t offset;
    uint32_t count;
    uint64_t range;
    uint64_t pgsize;
} Asked;

static void wire_header(const uint8_t *data, size_t size, const Asked *asked)
{
    VFIOUserHeaderDesc header;
    Error *err = NULL;
    bool ok = vfio_user_wire_get_header(data, size, asked->range, &header,
                                        &err);

    if (ok) {
        g_assert_cmpuint(size, >=, sizeof(VFIOUserHeader));
        g_assert_cmpuint(header.size + sizeof(VFIOUserHeader), <=,
                         asked->range);
        g_assert_true(header.error >= 0 && header.error <= 4095);
        g_assert_false(header.reply && header.no_reply);
        g_assert_nonnull(vfio_user_command_name(header.command));
    }
    fuzz_check_error(ok, err);
}

static void wire_device(const uint8_t *data, size_t size, const Asked *asked)
{
    VFIOUserDeviceDesc device;
    Error *err = NULL;
    bool ok = vfio_user_wire_get_device_info(data, size, &device, &err);

    if (ok) {
        g_assert_cmpuint(device.num_regions, >, VFIO_PCI_CONFIG_REGION_INDEX);
        g_assert_cmpuint(device.num_regions, <=, VFIO_USER_MAX_REGIONS);
        g_assert_cmpuint(device.num_irqs, >, VFIO_PCI_MSIX_IRQ_INDEX);
        g_assert_cmpuint(device.num_irqs, <=, VFIO_USER_MAX_IRQS);
    }
    fuzz_check_error(ok, err);
}

static void wire_irq(const uint8_t *data, size_t size, const Asked *asked)
{
    VFIOUserIRQDesc irq;
    Error *err = NULL;
    bool ok = vfio_user_wire_get_irq_info(data, size, asked->index, &irq,
                                          &err);

    if (ok) {
        g_assert_cmpuint(irq.count, <=, VFIO_USER_MAX_IRQ_COUNT);
    }
    fuzz_check_error(ok, err);
}

static void wire_read(const uint8_t *data, size_t size, const Asked *asked)
{
    const uint8_t *got;
    Error *err = NULL;
    bool ok = vfio_user_wire_get_region_read(data, size, asked->index,
                                             asked->offset, asked->count,
                                             &got, &err);

    if (ok) {
        g_assert_true(got >= data && got + asked->count == data + size);
    }
    fuzz_check_error(ok, err);
}

static void wire_write(const uint8_t *data, size_t size, const Asked *asked)
{
    Error *err = NULL;
    bool ok = vfio_user_wire_get_region_write(data, size, asked->index,
                                              asked->offset, asked->count,
                                              &err);

    g_assert_true(!ok || size == sizeof(VFIOUserRegionRW));
    fuzz_check_error(ok, err);
}

static void wire_unmap(const uint8_t *data, size_t size, const Asked *asked)
{
    Error *err = NULL;
    bool ok = vfio_user_wire_get_dma_unmap(data, size, asked->offset,
                                           asked->range, &err);

    g_assert_true(!ok || !size || size == sizeof(VFIOUserDMAUnmap));
    fuzz_check_error(ok, err);
}

static void wire_bitmap(const uint8_t *data, size_t size, const Asked *asked)
{
    uint64_t bitmap_size = vfio_user_wire_bitmap_size(asked->range,
                                                      asked->pgsize);
    g_autofree uint8_t *bitmap = g_malloc(bitmap_size);
    Error *err = NULL;
    bool ok = vfio_user_wire_get_dirty_pages(data, size, asked->offset,
                                             asked->range, asked->pgsize,
                                             bitmap, &err);

    if (ok) {
        uint64_t pages = DIV_ROUND_UP(asked->range, asked->pgsize);

        for (uint64_t bit = pages; bit < bitmap_size * 8; bit++) {
            g_assert_false(bitmap[bit / 8] & (1 << bit % 8));
        }
    }
    fuzz_check_error(ok, err);
}

static void wire_dma(const uint8_t *data, size_t size, const Asked *asked)
{
    VFIOUserDMADesc dma = { 0 };
    Error *err = NULL;
    bool ok = vfio_user_wire_get_dma_write(data, size, asked->range, &dma,
                                           &err);

    if (ok) {
        g_assert_true(dma.data >= data &&
                      dma.data + dma.count == data + size);
        g_assert_cmpuint(dma.count, <=, asked->range);
    }
    fuzz_check_error(ok, err);

    err = NULL;
    ok = vfio_user_wire_get_dma_read(data, size, asked->range, &dma, &err);
    if (ok) {
        g_assert_cmpuint(dma.count, <=, asked->range);
        g_assert_cmpuint(dma.addr + dma.count, >=, dma.addr);
        g_assert_null(dma.data);
    }
    fuzz_check_error(ok, err);
}

static const struct {
    void (*take)(const uint8_t *data, size_t size, const Asked *asked);
    Asked asked;                /* what the golden bytes answer */
} messages[] = {
    { wire_header, { .range = MESSAGE_LIMIT } },
    { wire_device },
    { wire_irq, { .index = 1 } },
    { wire_read, { .index = REGION_INDEX, .offset = RW_OFFSET, .count = 4 } },
    { wire_write, { .index = REGION_INDEX, .offset = RW_OFFSET, .count = 4 } },
    { wire_unmap, { .offset = BITMAP_IOVA, .range = BITMAP_RANGE } },
    { wire_bitmap, { .offset = BITMAP_IOVA, .range = BITMAP_RANGE,
                     .pgsize = GOLDEN_PAGE_SIZE } },
    { wire_dma, { .range = DMA_LIMIT } },
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput input = { data, size };
    uint8_t kind = fuzz_byte(&input);
    int nr = (kind & ~ASKED_BY_INPUT) % ARRAY_SIZE(messages);
    Asked asked = messages[nr].asked;

    if (kind & ASKED_BY_INPUT) {
        uint64_t pages;

        asked.index = fuzz_byte(&input);
        asked.count = fuzz_byte(&input);
        asked.offset = fuzz_number(&input);
        asked.pgsize = 1ull << fuzz_byte(&input) % 32;
        pages = fuzz_number(&input) % MAX_PAGES;
        asked.range = pages * asked.pgsize + fuzz_byte(&input) % asked.pgsize;
    }
    messages[nr].take(input.data, input.size, &asked);
    return 0;
}
