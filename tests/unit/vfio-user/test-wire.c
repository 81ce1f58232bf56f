/*
 * Unit tests of the vfio-user wire layer: requests and replies against bytes
 * typed from the specification's tables.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/vfio-user/wire.h"
#include "wire-golden.h"

#define assert_bytes(got, ...) \
    do { \
        const uint8_t expected_[] = { __VA_ARGS__ }; \
        g_assert_cmpmem(&(got), sizeof(got), expected_, sizeof(expected_)); \
    } while (0)

/* @good with @width bytes at @offset replaced by @value, low byte first */
static uint8_t *patched(const uint8_t *good, size_t size, unsigned offset,
                        unsigned width, uint64_t value)
{
    uint8_t *copy = g_memdup2(good, size);

    for (unsigned i = 0; i < width; i++) {
        copy[offset + i] = value >> (8 * i);
    }
    return copy;
}

static void test_wire_command_names(void)
{
    static const char *const names[] = {
        "UNKNOWN", "VERSION", "DMA_MAP", "DMA_UNMAP", "DEVICE_GET_INFO",
        "DEVICE_GET_REGION_INFO", "DEVICE_GET_REGION_IO_FDS",
        "DEVICE_GET_IRQ_INFO", "DEVICE_SET_IRQS", "REGION_READ",
        "REGION_WRITE", "DMA_READ", "DMA_WRITE", "DEVICE_RESET",
        "DIRTY_PAGES", "REGION_WRITE_MULTI", "DEVICE_FEATURE",
        "MIG_DATA_READ", "MIG_DATA_WRITE", "UNKNOWN",
    };

    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        g_assert_cmpstr(vfio_user_command_name(i), ==, names[i]);
    }
    g_assert_cmpstr(vfio_user_command_name(UINT16_MAX), ==, "UNKNOWN");
}

static void test_wire_header_put(void)
{
    VFIOUserHeader header;

    vfio_user_wire_put_header(&header, 0x1234, VFIO_USER_REGION_WRITE,
                              VFIO_USER_FLAG_COMMAND | VFIO_USER_FLAG_NO_REPLY,
                              0, 0x10014);
    assert_bytes(header,
                 0x34, 0x12, 0x0a, 0x00, 0x24, 0x00, 0x01, 0x00,
                 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00);

    vfio_user_wire_put_header(&header, 0xff, VFIO_USER_DMA_READ,
                              VFIO_USER_FLAG_REPLY | VFIO_USER_FLAG_ERROR,
                              22, 0);
    assert_bytes(header,
                 0xff, 0x00, 0x0b, 0x00, 0x10, 0x00, 0x00, 0x00,
                 0x21, 0x00, 0x00, 0x00, 0x16, 0x00, 0x00, 0x00);
}

static void test_wire_header_get(void)
{
    VFIOUserHeaderDesc header;
    const uint8_t request[] = {
        0x01, 0x00, 0x0c, 0x00, 0x10, 0x00, 0x00, 0x00,
        0x10, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00,
    };

    g_assert_true(vfio_user_wire_get_header(good_header, sizeof(good_header),
                                            MESSAGE_LIMIT, &header,
                                            &error_abort));
    g_assert_cmphex(header.id, ==, 0x1234);
    g_assert_cmpuint(header.command, ==, VFIO_USER_REGION_READ);
    g_assert_cmpuint(header.size, ==, 16);
    g_assert_true(header.reply);
    g_assert_false(header.no_reply);
    g_assert_cmpint(header.error, ==, 0);

    /* The error field of a command means nothing. */
    g_assert_true(vfio_user_wire_get_header(request, sizeof(request),
                                            MESSAGE_LIMIT, &header,
                                            &error_abort));
    g_assert_cmpuint(header.command, ==, VFIO_USER_DMA_WRITE);
    g_assert_cmpuint(header.size, ==, 0);
    g_assert_false(header.reply);
    g_assert_true(header.no_reply);
    g_assert_cmpint(header.error, ==, 0);
}

static void test_wire_header_errors(void)
{
    static const struct {
        uint32_t flags, wire;
        int error;
    } cases[] = {
        { 0x21, 1, 1 }, { 0x21, 22, 22 }, { 0x21, 4095, 4095 },
        { 0x21, 0, EIO }, { 0x21, 4096, EIO }, { 0x21, UINT32_MAX, EIO },
        { 0x21, 0x80000000, EIO }, { 0x01, 22, 0 }, { 0x20, 22, 0 },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        VFIOUserHeaderDesc header;
        g_autofree uint8_t *flags = patched(good_header, sizeof(good_header),
                                            8, 4, cases[i].flags);
        g_autofree uint8_t *data = patched(flags, sizeof(good_header), 12, 4,
                                           cases[i].wire);

        g_assert_true(vfio_user_wire_get_header(data, sizeof(good_header),
                                                MESSAGE_LIMIT, &header,
                                                &error_abort));
        g_assert_cmpint(header.error, ==, cases[i].error);
    }
}

static void test_wire_version(void)
{
    VFIOUserVersionDesc version;
    const uint8_t request[] = {
        0x00, 0x00, 0x01, 0x00, '{', '"', 'a', '"', ':', '1', '}', 0,
    };
    const uint8_t other[] = { 0x01, 0x02, 0x04, 0x03 };
    g_autofree uint8_t *with_json = NULL;
    g_autofree uint8_t *without_json = NULL;
    size_t size;

    with_json = vfio_user_wire_put_version(0, 1, "{\"a\":1}", &size);
    g_assert_cmpmem(with_json, size, request, sizeof(request));
    without_json = vfio_user_wire_put_version(0x0201, 0x0304, NULL, &size);
    g_assert_cmpmem(without_json, size, other, sizeof(other));

    /* A server may know less than it was asked for, but no more. */
    g_assert_true(vfio_user_wire_get_version(good_version,
                                             sizeof(good_version), 0, 1,
                                             &version, &error_abort));
    g_assert_cmpuint(version.major, ==, 0);
    g_assert_cmpuint(version.minor, ==, 0);
    g_assert_cmpstr(version.json, ==, "{}");
    g_assert_cmpuint(version.json_len, ==, 2);

    g_assert_true(vfio_user_wire_get_version(other, sizeof(other), 0x0201,
                                             0x0304, &version, &error_abort));
    g_assert_cmphex(version.major, ==, 0x0201);
    g_assert_cmphex(version.minor, ==, 0x0304);
    g_assert_null(version.json);
    g_assert_cmpuint(version.json_len, ==, 0);
}

static void test_wire_version_longest_json(void)
{
    VFIOUserVersionDesc version;
    g_autofree char *json = g_strnfill(64 * KiB - 1, ' ');
    g_autofree uint8_t *payload = NULL;
    size_t size;

    payload = vfio_user_wire_put_version(0, 0, json, &size);
    g_assert_cmpuint(size, ==, 4 + 64 * KiB);
    g_assert_true(vfio_user_wire_get_version(payload, size, 0, 0, &version,
                                             &error_abort));
    g_assert_cmpuint(version.json_len, ==, 64 * KiB - 1);
}

static void test_wire_device_info(void)
{
    VFIOUserDeviceInfo request;
    VFIOUserDeviceDesc device;

    vfio_user_wire_put_device_info(&request);
    assert_bytes(request,
                 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00);

    g_assert_true(vfio_user_wire_get_device_info(good_device_info,
                                                 sizeof(good_device_info),
                                                 &device, &error_abort));
    g_assert_cmphex(device.flags, ==,
                    VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI);
    g_assert_cmpuint(device.num_regions, ==, 10);
    g_assert_cmpuint(device.num_irqs, ==, 5);
}

static void test_wire_irqs(void)
{
    VFIOUserIRQInfo request;
    VFIOUserIRQDesc irq;
    VFIOUserIRQSet set;

    vfio_user_wire_put_irq_info(&request, 2);
    assert_bytes(request,
                 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00);

    g_assert_true(vfio_user_wire_get_irq_info(good_irq_info,
                                              sizeof(good_irq_info), 2, &irq,
                                              &error_abort));
    g_assert_cmphex(irq.flags, ==, VFIO_IRQ_INFO_EVENTFD);
    g_assert_cmpuint(irq.count, ==, 2048);

    vfio_user_wire_put_set_irqs(&set, VFIO_IRQ_SET_DATA_BOOL |
                                VFIO_IRQ_SET_ACTION_TRIGGER, 2, 0x105, 3, 3);
    assert_bytes(set,
                 0x17, 0x00, 0x00, 0x00, 0x22, 0x00, 0x00, 0x00,
                 0x02, 0x00, 0x00, 0x00, 0x05, 0x01, 0x00, 0x00,
                 0x03, 0x00, 0x00, 0x00);
    vfio_user_wire_put_set_irqs(&set, VFIO_IRQ_SET_DATA_EVENTFD |
                                VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0, 1, 0);
    assert_bytes(set,
                 0x14, 0x00, 0x00, 0x00, 0x24, 0x00, 0x00, 0x00,
                 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                 0x01, 0x00, 0x00, 0x00);

    g_assert_true(vfio_user_wire_get_empty(0, &error_abort));
}

static void test_wire_region_rw(void)
{
    VFIOUserRegionRW rw;
    const uint8_t data[] = { 0xde, 0xad, 0xbe, 0xef };
    const uint8_t *got;

    vfio_user_wire_put_region_rw(&rw, 9, RW_OFFSET, 4);
    g_assert_cmpmem(&rw, sizeof(rw), good_region_write,
                    sizeof(good_region_write));

    g_assert_true(vfio_user_wire_get_region_read(good_region_read,
                                                 sizeof(good_region_read), 9,
                                                 RW_OFFSET, 4, &got,
                                                 &error_abort));
    g_assert_cmpmem(got, 4, data, sizeof(data));
    g_assert_true(vfio_user_wire_get_region_write(good_region_write,
                                                  sizeof(good_region_write), 9,
                                                  RW_OFFSET, 4, &error_abort));
}

static void test_wire_dma_map(void)
{
    VFIOUserDMAMap map;
    VFIOUserDMAUnmap unmap;

    vfio_user_wire_put_dma_map(&map, VFIO_USER_DMA_MAP_READ |
                               VFIO_USER_DMA_MAP_WRITE, 0xa0000,
                               0x100000000, 0x80000000);
    assert_bytes(map,
                 0x20, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00,
                 0x00, 0x00, 0x0a, 0x00, 0x00, 0x00, 0x00, 0x00,
                 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,
                 0x00, 0x00, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00);

    vfio_user_wire_put_dma_unmap(&unmap, 0, BITMAP_IOVA, BITMAP_RANGE);
    g_assert_cmpmem(&unmap, sizeof(unmap), good_dma_unmap,
                    sizeof(good_dma_unmap));
    vfio_user_wire_put_dma_unmap(&unmap, VFIO_USER_DMA_UNMAP_ALL, 0, 0);
    assert_bytes(unmap,
                 0x18, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,
                 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00);

    g_assert_true(vfio_user_wire_get_dma_unmap(good_dma_unmap,
                                               sizeof(good_dma_unmap),
                                               BITMAP_IOVA, BITMAP_RANGE,
                                               &error_abort));
    /* A device without DMA sends no echo. */
    g_assert_true(vfio_user_wire_get_dma_unmap(NULL, 0, BITMAP_IOVA,
                                               BITMAP_RANGE, &error_abort));
}

static void test_wire_bitmap_size(void)
{
    static const struct {
        uint64_t size, pgsize, expected;
    } cases[] = {
        { 0, 0x1000, 0 }, { 1, 0x1000, 8 }, { 0x40000, 0x1000, 8 },
        { 0x40001, 0x1000, 16 }, { 0x41000, 0x1000, 16 },
        { 32 * GiB, 0x1000, MiB }, { 4 * GiB, 0x10000, 8 * KiB },
        { UINT64_MAX, 1, 1ULL << 61 }, { UINT64_MAX, UINT64_MAX, 8 },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        g_assert_cmpuint(vfio_user_wire_bitmap_size(cases[i].size,
                                                    cases[i].pgsize), ==,
                         cases[i].expected);
    }
}

static void test_wire_bitmaps(void)
{
    VFIOUserDMAUnmapBitmap unmap;
    VFIOUserDirtyPagesGet get;
    VFIOUserDirtyPages dirty;
    /* the golden bitmap without the bit that stands for no page */
    const uint8_t expected[] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    };
    uint8_t bitmap[16];

    vfio_user_wire_put_dirty_pages(&dirty, VFIO_USER_DIRTY_PAGES_START);
    assert_bytes(dirty,
                 0x08, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00);
    vfio_user_wire_put_dirty_pages(&dirty, VFIO_USER_DIRTY_PAGES_STOP);
    assert_bytes(dirty,
                 0x08, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00);

    vfio_user_wire_put_dirty_pages_get(&get, BITMAP_IOVA, BITMAP_RANGE,
                                       GOLDEN_PAGE_SIZE);
    g_assert_cmpmem(&get, sizeof(get), good_dirty_pages, 40);
    vfio_user_wire_put_dma_unmap_bitmap(&unmap, BITMAP_IOVA, BITMAP_RANGE,
                                        GOLDEN_PAGE_SIZE);
    g_assert_cmpmem(&unmap, sizeof(unmap), good_dma_unmap_bitmap, 40);

    g_assert_true(vfio_user_wire_get_dirty_pages(good_dirty_pages,
                                                 sizeof(good_dirty_pages),
                                                 BITMAP_IOVA, BITMAP_RANGE,
                                                 GOLDEN_PAGE_SIZE, bitmap,
                                                 &error_abort));
    g_assert_cmpmem(bitmap, sizeof(bitmap), expected, sizeof(expected));

    memset(bitmap, 0, sizeof(bitmap));
    g_assert_true(vfio_user_wire_get_dma_unmap_bitmap(
                      good_dma_unmap_bitmap, sizeof(good_dma_unmap_bitmap),
                      BITMAP_IOVA, BITMAP_RANGE, GOLDEN_PAGE_SIZE, bitmap,
                      &error_abort));
    g_assert_cmpmem(bitmap, sizeof(bitmap), expected, sizeof(expected));
}

static void test_wire_dma_requests(void)
{
    VFIOUserDMADesc dma;
    VFIOUserDMARW reply;
    const uint8_t data[] = { 0xca, 0xfe, 0xf0, 0x0d };
    const uint8_t largest[16 + DMA_LIMIT] = { [9] = 0x01 };

    g_assert_true(vfio_user_wire_get_dma_read(good_dma_read,
                                              sizeof(good_dma_read), DMA_LIMIT,
                                              &dma, &error_abort));
    g_assert_cmphex(dma.addr, ==, 0x10000f000);
    g_assert_cmpuint(dma.count, ==, 4);
    g_assert_null(dma.data);

    g_assert_true(vfio_user_wire_get_dma_write(good_dma_write,
                                               sizeof(good_dma_write),
                                               DMA_LIMIT, &dma, &error_abort));
    g_assert_cmphex(dma.addr, ==, 0x10000f000);
    g_assert_cmpmem(dma.data, dma.count, data, sizeof(data));
    g_assert_true(vfio_user_wire_get_dma_write(largest, sizeof(largest),
                                               DMA_LIMIT, &dma, &error_abort));
    g_assert_cmpuint(dma.count, ==, DMA_LIMIT);

    vfio_user_wire_put_dma_reply(&reply, 0x10000f000, 4);
    g_assert_cmpmem(&reply, sizeof(reply), good_dma_read,
                    sizeof(good_dma_read));
}

static bool get_region(const uint8_t *payload, size_t size,
                       VFIOUserRegionDesc *region)
{
    return vfio_user_wire_get_region_info(payload, size, REGION_INDEX,
                                          REGION_ARGSZ, GOLDEN_PAGE_SIZE,
                                          region, &error_abort);
}

static void test_wire_region_info(void)
{
    VFIOUserRegionInfo request;
    VFIOUserRegionDesc region;

    vfio_user_wire_put_region_info(&request, REGION_INDEX, 0x1234);
    assert_bytes(request,
                 0x34, 0x12, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00);

    g_assert_true(get_region(good_region_info, sizeof(good_region_info),
                             &region));
    g_assert_cmpuint(region.index, ==, REGION_INDEX);
    g_assert_cmphex(region.flags, ==, 7);
    g_assert_cmphex(region.size, ==, 0x4000);
    g_assert_cmphex(region.offset, ==, 0x20000);
    g_assert_cmpuint(region.argsz, ==, 104);
    g_assert_true(region.complete);
    g_assert_true(region.has_sparse);
    g_assert_cmpuint(region.nr_areas, ==, 2);
    g_assert_cmphex(region.areas[0].offset, ==, 0x1000);
    g_assert_cmphex(region.areas[0].size, ==, 0x1000);
    g_assert_cmphex(region.areas[1].offset, ==, 0x3000);
    g_assert_cmphex(region.areas[1].size, ==, 0x1000);
    g_assert_true(region.has_type);
    g_assert_cmpuint(region.type, ==, 3);
    g_assert_cmpuint(region.subtype, ==, 1);
    g_assert_true(region.msix_mappable);
}

/* The description needs more room than was offered: only what is fixed. */
static void test_wire_region_info_incomplete(void)
{
    VFIOUserRegionDesc region;
    g_autofree uint8_t *data = patched(good_region_info, 40, 0, 4,
                                       REGION_ARGSZ + 1);

    g_assert_true(get_region(data, 40, &region));
    g_assert_false(region.complete);
    g_assert_cmpuint(region.argsz, ==, REGION_ARGSZ + 1);
    g_assert_cmphex(region.size, ==, 0x4000);
    g_assert_false(region.has_sparse);
    g_assert_false(region.has_type);
}

static void test_wire_region_info_without_caps(void)
{
    VFIOUserRegionDesc region;
    g_autofree uint8_t *no_flag = patched(good_region_info,
                                          sizeof(good_region_info), 4, 4,
                                          0xf7);
    g_autofree uint8_t *no_chain = patched(good_region_info,
                                           sizeof(good_region_info), 12, 4, 0);
    g_autofree uint8_t *unknown = patched(good_region_info,
                                          sizeof(good_region_info), 32, 2, 77);

    g_assert_true(get_region(no_flag, sizeof(good_region_info), &region));
    g_assert_cmphex(region.flags, ==, 7);
    g_assert_false(region.has_sparse || region.has_type ||
                   region.msix_mappable);

    g_assert_true(get_region(no_chain, sizeof(good_region_info), &region));
    g_assert_false(region.has_sparse || region.has_type ||
                   region.msix_mappable);

    g_assert_true(get_region(unknown, sizeof(good_region_info), &region));
    g_assert_false(region.has_type);
    g_assert_true(region.has_sparse && region.msix_mappable);
}

/* The kernel's form of the golden region, as hw/vfio walks it */
static void test_wire_region_info_rebuilt(void)
{
    VFIOUserRegionDesc region;
    g_autofree struct vfio_region_info *info = NULL;
    const struct vfio_region_info_cap_sparse_mmap *sparse;
    const struct vfio_region_info_cap_type *type;
    const struct vfio_info_cap_header *msix;

    g_assert_true(get_region(good_region_info, sizeof(good_region_info),
                             &region));
    info = vfio_user_wire_build_region_info(&region, 9ULL << 40);
    g_assert_cmpuint(info->argsz, ==, 104);
    g_assert_cmphex(info->flags, ==, 0xf);
    g_assert_cmpuint(info->index, ==, REGION_INDEX);
    g_assert_cmphex(info->size, ==, 0x4000);
    g_assert_cmphex(info->offset, ==, 9ULL << 40);

    g_assert_cmpuint(info->cap_offset, ==, 32);
    sparse = (void *)info + info->cap_offset;
    g_assert_cmpuint(sparse->header.id, ==, VFIO_REGION_INFO_CAP_SPARSE_MMAP);
    g_assert_cmpuint(sparse->header.version, ==, 1);
    g_assert_cmpuint(sparse->nr_areas, ==, 2);
    g_assert_cmphex(sparse->areas[0].offset, ==, 0x1000);
    g_assert_cmphex(sparse->areas[1].offset, ==, 0x3000);
    g_assert_cmphex(sparse->areas[1].size, ==, 0x1000);

    g_assert_cmpuint(sparse->header.next, ==, 80);
    type = (void *)info + sparse->header.next;
    g_assert_cmpuint(type->header.id, ==, VFIO_REGION_INFO_CAP_TYPE);
    g_assert_cmpuint(type->type, ==, 3);
    g_assert_cmpuint(type->subtype, ==, 1);

    g_assert_cmpuint(type->header.next, ==, 96);
    msix = (void *)info + type->header.next;
    g_assert_cmpuint(msix->id, ==, VFIO_REGION_INFO_CAP_MSIX_MAPPABLE);
    g_assert_cmpuint(msix->next, ==, 0);
}

/* An empty area keeps its place among the fds, but hw/vfio never sees it. */
static void test_wire_region_info_empty_area(void)
{
    VFIOUserRegionDesc region;
    g_autofree uint8_t *data = patched(good_region_info,
                                       sizeof(good_region_info), 72, 8, 0);
    g_autofree struct vfio_region_info *info = NULL;
    const struct vfio_region_info_cap_sparse_mmap *sparse;

    g_assert_true(get_region(data, sizeof(good_region_info), &region));
    g_assert_cmpuint(region.nr_areas, ==, 2);
    g_assert_cmphex(region.areas[1].offset, ==, 0x3000);

    info = vfio_user_wire_build_region_info(&region, 0);
    g_assert_cmpuint(info->argsz, ==, 88);
    sparse = (void *)info + info->cap_offset;
    g_assert_cmpuint(sparse->nr_areas, ==, 1);
    g_assert_cmphex(sparse->areas[0].offset, ==, 0x3000);
    g_assert_cmpuint(sparse->header.next, ==, 64);
}

/* Areas may be listed but none be there: then nothing may be mapped. */
static void test_wire_region_info_plain(void)
{
    VFIOUserRegionDesc region = {
        .index = 2, .flags = VFIO_REGION_INFO_FLAG_READ, .size = 0x100,
    };
    g_autofree struct vfio_region_info *plain = NULL;
    g_autofree struct vfio_region_info *unmappable = NULL;
    const struct vfio_region_info_cap_sparse_mmap *sparse;

    plain = vfio_user_wire_build_region_info(&region, 2ULL << 40);
    g_assert_cmpuint(plain->argsz, ==, 32);
    g_assert_cmphex(plain->flags, ==, VFIO_REGION_INFO_FLAG_READ);
    g_assert_cmpuint(plain->cap_offset, ==, 0);

    region.has_sparse = true;
    unmappable = vfio_user_wire_build_region_info(&region, 2ULL << 40);
    g_assert_cmpuint(unmappable->argsz, ==, 48);
    sparse = (void *)unmappable + unmappable->cap_offset;
    g_assert_cmpuint(sparse->header.id, ==, VFIO_REGION_INFO_CAP_SPARSE_MMAP);
    g_assert_cmpuint(sparse->nr_areas, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

#define ADD(name, function) \
    g_test_add_func("/vfio-user/wire/" name, test_wire_##function)
    ADD("command-names", command_names);
    ADD("header/put", header_put);
    ADD("header/get", header_get);
    ADD("header/errors", header_errors);
    ADD("version", version);
    ADD("version/longest-json", version_longest_json);
    ADD("device-info", device_info);
    ADD("irqs", irqs);
    ADD("region-rw", region_rw);
    ADD("dma-map", dma_map);
    ADD("bitmap-size", bitmap_size);
    ADD("bitmaps", bitmaps);
    ADD("dma-requests", dma_requests);
    ADD("region-info", region_info);
    ADD("region-info/incomplete", region_info_incomplete);
    ADD("region-info/without-caps", region_info_without_caps);
    ADD("region-info/rebuilt", region_info_rebuilt);
    ADD("region-info/empty-area", region_info_empty_area);
    ADD("region-info/plain", region_info_plain);
#undef ADD
    test_malformed_register();
    return g_test_run();
}
