/*
 * Unit tests of the vfio-user wire layer: replies that lie, one table for
 * each command, and what the client says about each lie.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/vfio-user/wire.h"
#include "wire-golden.h"

/* Where getters leave their results: all 0xa5 before each call */
typedef union Result {
    VFIOUserHeaderDesc header;
    VFIOUserVersionDesc version;
    VFIOUserDeviceDesc device;
    VFIOUserRegionDesc region;
    VFIOUserIRQDesc irq;
    VFIOUserDMADesc dma;
    const uint8_t *data;
    uint8_t bitmap[16];
    uint8_t bytes[sizeof(VFIOUserRegionDesc)];
} Result;

/* The getters with the arguments of the requests that got the golden replies */

static bool get_header(const uint8_t *data, size_t size, Result *result,
                       Error **errp)
{
    return vfio_user_wire_get_header(data, size, MESSAGE_LIMIT,
                                     &result->header, errp);
}

static bool get_empty(const uint8_t *data, size_t size, Result *result,
                      Error **errp)
{
    return vfio_user_wire_get_empty(size, errp);
}

static bool get_version(const uint8_t *data, size_t size, Result *result,
                        Error **errp)
{
    return vfio_user_wire_get_version(data, size, 0, 0, &result->version,
                                      errp);
}

static bool get_device_info(const uint8_t *data, size_t size, Result *result,
                            Error **errp)
{
    return vfio_user_wire_get_device_info(data, size, &result->device, errp);
}

static bool get_irq_info(const uint8_t *data, size_t size, Result *result,
                         Error **errp)
{
    return vfio_user_wire_get_irq_info(data, size, 2, &result->irq, errp);
}

static bool get_region_info(const uint8_t *data, size_t size, Result *result,
                            Error **errp)
{
    return vfio_user_wire_get_region_info(data, size, REGION_INDEX,
                                          REGION_ARGSZ, GOLDEN_PAGE_SIZE,
                                          &result->region, errp);
}

static bool get_region_read(const uint8_t *data, size_t size, Result *result,
                            Error **errp)
{
    return vfio_user_wire_get_region_read(data, size, 9, RW_OFFSET, 4,
                                          &result->data, errp);
}

static bool get_region_write(const uint8_t *data, size_t size, Result *result,
                             Error **errp)
{
    return vfio_user_wire_get_region_write(data, size, 9, RW_OFFSET, 4,
                                           errp);
}

static bool get_dma_unmap(const uint8_t *data, size_t size, Result *result,
                          Error **errp)
{
    return vfio_user_wire_get_dma_unmap(data, size, BITMAP_IOVA,
                                        BITMAP_RANGE, errp);
}

static bool get_dma_unmap_bitmap(const uint8_t *data, size_t size,
                                 Result *result, Error **errp)
{
    return vfio_user_wire_get_dma_unmap_bitmap(data, size, BITMAP_IOVA,
                                               BITMAP_RANGE, GOLDEN_PAGE_SIZE,
                                               result->bitmap, errp);
}

static bool get_dirty_pages(const uint8_t *data, size_t size, Result *result,
                            Error **errp)
{
    return vfio_user_wire_get_dirty_pages(data, size, BITMAP_IOVA, BITMAP_RANGE,
                                          GOLDEN_PAGE_SIZE, result->bitmap,
                                          errp);
}

static bool get_dma_read(const uint8_t *data, size_t size, Result *result,
                         Error **errp)
{
    return vfio_user_wire_get_dma_read(data, size, DMA_LIMIT, &result->dma,
                                       errp);
}

static bool get_dma_write(const uint8_t *data, size_t size, Result *result,
                          Error **errp)
{
    return vfio_user_wire_get_dma_write(data, size, DMA_LIMIT, &result->dma,
                                        errp);
}

/* A way in which a reply lies, and what the error then says */
typedef struct Lie {
    const char *error;
    int cut;                /* bytes to take off the end; < 0: to add */
    struct {
        unsigned offset;
        unsigned width;     /* bytes to change; 0: none */
        uint64_t value;
    } patch[2];
} Lie;

typedef struct Reply {
    const char *path;
    bool (*get)(const uint8_t *data, size_t size, Result *result,
                Error **errp);
    const uint8_t *good;
    size_t size;
    Lie lies[32];
} Reply;

#define GOOD(name) .get = get_##name, .good = good_##name, \
                   .size = sizeof(good_##name)

static const Reply replies[] = {
    {
        .path = "/vfio-user/wire/header/malformed",
        GOOD(header),
        .lies = {
            { "header length is too small (got 15, limit 16)", 1 },
            { "header length", 16 },
            { "message size is too small (got 15, limit 16)", 0,
              { { 4, 4, 15 } } },
            { "message size is too small", 0, { { 4, 4, 0 } } },
            { "message size is too large (got 33, limit 32)", 0,
              { { 4, 4, 33 } } },
            { "message size is too large", 0, { { 4, 4, UINT32_MAX } } },
            { "message type", 0, { { 8, 1, 2 } } },
            { "message type", 0, { { 8, 1, 0xf } } },
        },
    }, {
        .path = "/vfio-user/wire/empty/malformed",
        .get = get_empty, .good = good_header, .size = 0,
        .lies = {
            { "payload length is wrong (got 1, expected 0)", -1 },
        },
    }, {
        .path = "/vfio-user/wire/version/malformed",
        GOOD(version),
        .lies = {
            { "payload length is too small (got 3, limit 4)", 4 },
            { "payload length", 7 },
            { "major version is not the one", 0, { { 0, 2, 1 } } },
            { "minor version is too large", 0, { { 2, 2, 1 } } },
            { "JSON does not end with NUL", 1 },
            { "JSON does not end with NUL", 0, { { 6, 1, ' ' } } },
            { "JSON has a NUL inside", 0, { { 4, 1, 0 } } },
            { "JSON length is too large (got 65537, limit 65536)", -65534 },
        },
    }, {
        .path = "/vfio-user/wire/device-info/malformed",
        GOOD(device_info),
        .lies = {
            { "payload length is wrong (got 15, expected 16)", 1 },
            { "payload length", 16 },
            { "payload length", -1 },
            { "argsz is too small", 0, { { 0, 4, 15 } } },
            { "num_regions is too small (got 7, limit 8)", 0, { { 8, 4, 7 } } },
            { "num_regions is too large", 0, { { 8, 4, 101 } } },
            { "num_regions is too large", 0, { { 8, 4, UINT32_MAX } } },
            { "num_irqs is too small", 0, { { 12, 4, 2 } } },
            { "num_irqs is too large", 0, { { 12, 4, 51 } } },
        },
    }, {
        .path = "/vfio-user/wire/irq-info/malformed",
        GOOD(irq_info),
        .lies = {
            { "payload length", 1 },
            { "payload length", 16 },
            { "payload length", -1 },
            { "argsz is too small", 0, { { 0, 4, 15 } } },
            { "index is not the one", 0, { { 8, 4, 3 } } },
            { "count is too large (got 2049, limit 2048)", 0,
              { { 12, 4, 2049 } } },
        },
    }, {
        .path = "/vfio-user/wire/region-info/malformed",
        GOOD(region_info),
        .lies = {
            { "payload length is too small (got 31, limit 32)", 73 },
            { "payload length", 104 },
            { "payload length is too large (got 113, limit 112)", -9 },
            { "payload length is too small (got 103, limit 104)", 1 },
            { "argsz is too small", 0, { { 0, 4, 31 } } },
            { "argsz is too large", 0, { { 0, 4, 65537 } } },
            { "index is not the one", 0, { { 8, 4, 8 } } },
            { "size is too large", 0, { { 16, 8, 0x10000000001 } } },
            { "offset is too large", 0, { { 24, 8, INT64_MAX - 0x3fff } } },
            { "cap_offset is too small", 0, { { 12, 4, 24 } } },
            { "cap_offset is not aligned", 0, { { 12, 4, 36 } } },
            { "cap_offset is too large", 0, { { 12, 4, 104 } } },
            { "cap_offset is too large", 0, { { 12, 4, UINT32_MAX - 7 } } },
            /* padding behind argsz is no place for a capability */
            { "cap_offset is too large", -8, { { 12, 4, 104 } } },
            { "capability's next is too small", 0, { { 36, 4, 32 } } },
            { "capability's next is too small", 0, { { 52, 4, 48 } } },
            { "capability's next is too large", 0, { { 100, 4, 104 } } },
            { "capability's next is not aligned", 0, { { 52, 4, 90 } } },
            { "sparse capability appears twice", 0, { { 96, 2, 1 } } },
            { "sparse capability is too small", 0,
              { { 48, 2, 9 }, { 96, 2, 1 } } },
            { "type capability appears twice", 0, { { 96, 2, 2 } } },
            { "type capability is too small", 0,
              { { 32, 2, 9 }, { 96, 2, 2 } } },
            { "sparse nr_areas is too large (got 129, limit 128)", 0,
              { { 56, 4, 129 } } },
            { "sparse nr_areas is too large (got 3, limit 2)", 0,
              { { 56, 4, 3 } } },
            { "sparse area is not page aligned", 0, { { 64, 8, 0x800 } } },
            { "sparse area is not page aligned", 0, { { 72, 8, 0x800 } } },
            { "sparse area offset is too large", 0, { { 80, 8, 0x5000 } } },
            { "sparse area size is too large", 0, { { 88, 8, 0x2000 } } },
            { "sparse area size is too large", 0,
              { { 88, 8, UINT64_MAX - 0x1fff } } },
            { "sparse areas 0 and 1 overlap", 0, { { 80, 8, 0x1000 } } },
            { "sparse areas 0 and 1 overlap", 0,
              { { 80, 8, 0 }, { 88, 8, 0x4000 } } },
        },
    }, {
        .path = "/vfio-user/wire/region-read/malformed",
        GOOD(region_read),
        .lies = {
            { "payload length is too small (got 15, limit 16)", 5 },
            { "payload length", 20 },
            { "payload length is wrong (got 19, expected 20)", 1 },
            { "payload length is wrong (got 21, expected 20)", -1 },
            { "offset is not the one", 0, { { 4, 4, 0 } } },
            { "region is not the one", 0, { { 8, 4, 8 } } },
            { "count exceeds the bytes asked for (got 5, limit 4)", -1,
              { { 12, 4, 5 } } },
            { "count exceeds", 0, { { 12, 4, UINT32_MAX } } },
            { "count is short of the bytes asked for (got 3, limit 4)", 1,
              { { 12, 4, 3 } } },
            { "count is short of", 4, { { 12, 4, 0 } } },
        },
    }, {
        .path = "/vfio-user/wire/region-write/malformed",
        GOOD(region_write),
        .lies = {
            { "payload length", 1 },
            { "payload length", 16 },
            { "payload length", -4 },
            { "offset is not the one", 0, { { 0, 8, 0x1c } } },
            { "region is not the one", 0, { { 8, 4, 0 } } },
            { "count exceeds", 0, { { 12, 4, 5 } } },
            { "count is short of", 0, { { 12, 4, 3 } } },
        },
    }, {
        .path = "/vfio-user/wire/dma-unmap/malformed",
        GOOD(dma_unmap),
        .lies = {
            { "payload length", 1 },
            { "payload length", 23 },
            { "payload length", -16 },
            { "argsz is too large", 0, { { 0, 4, 25 } } },
            { "iova is not the one", 0, { { 8, 8, 0 } } },
            { "size is not the one", 0, { { 16, 8, 0x40000 } } },
        },
    }, {
        .path = "/vfio-user/wire/dma-unmap-bitmap/malformed",
        GOOD(dma_unmap_bitmap),
        .lies = {
            { "payload length", 56 },
            { "payload length", 56 - 24 },
            { "payload length", 16 },
            { "payload length", 8 },
            { "payload length", 1 },
            { "payload length", -1 },
            { "argsz is too large", 0, { { 0, 4, 57 } } },
            { "iova is not the one", 0, { { 8, 8, 0 } } },
            { "size is not the one", 0, { { 16, 8, 0x40000 } } },
            { "bitmap page size is not the one", 0, { { 24, 8, 0x2000 } } },
            { "bitmap size is not the one", 0, { { 32, 8, 8 } } },
        },
    }, {
        .path = "/vfio-user/wire/dirty-pages/malformed",
        GOOD(dirty_pages),
        .lies = {
            { "payload length is wrong (got 0, expected 56)", 56 },
            { "payload length", 56 - 8 },
            { "payload length", 16 },
            { "payload length", 8 },
            { "payload length", 1 },
            { "payload length", -1 },
            { "argsz is too large", 0, { { 0, 4, 57 } } },
            { "iova is not the one", 0, { { 8, 8, 0x101000 } } },
            { "size is not the one", 0, { { 16, 8, 0 } } },
            { "bitmap page size is not the one", 0, { { 24, 8, 0 } } },
            { "bitmap size is not the one", 0, { { 32, 8, 0 } } },
            { "bitmap size is not the one", 0, { { 32, 8, UINT64_MAX } } },
        },
    }, {
        .path = "/vfio-user/wire/dma-read/malformed",
        GOOD(dma_read),
        .lies = {
            { "payload length", 1 },
            { "payload length", 16 },
            { "payload length", -4 },
            { "count is too large (got 257, limit 256)", 0,
              { { 8, 8, DMA_LIMIT + 1 } } },
            { "count is too large", 0, { { 8, 8, UINT64_MAX } } },
            { "range wraps around", 0, { { 0, 8, UINT64_MAX - 2 } } },
        },
    }, {
        .path = "/vfio-user/wire/dma-write/malformed",
        GOOD(dma_write),
        .lies = {
            { "payload length", 5 },
            { "payload length", 20 },
            { "count differs from the data (got 4, limit 3)", 1 },
            { "count differs from the data (got 4, limit 5)", -1 },
            { "count differs from the data", 0, { { 8, 8, 3 } } },
            { "count is too large", 0, { { 8, 8, DMA_LIMIT + 1 } } },
            { "count is too large", 0, { { 8, 8, UINT64_MAX - 15 } } },
            { "range wraps around", 0, { { 0, 8, UINT64_MAX - 2 } } },
        },
    },
};

/*
 * Call the getter on a copy of exactly @size bytes, so that a sanitizer sees
 * a read beyond.
 */
static bool get_from_copy(const Reply *reply, const uint8_t *data, size_t size,
                          Result *result, Error **errp)
{
    g_autofree uint8_t *copy = size ? g_memdup2(data, size) : NULL;

    memset(result, 0xa5, sizeof(*result));
    return reply->get(copy, size, result, errp);
}

static void patch(uint8_t *data, unsigned offset, unsigned width,
                  uint64_t value)
{
    for (unsigned i = 0; i < width; i++) {
        data[offset + i] = value >> (8 * i);
    }
}

static void test_malformed_lie(const Reply *reply, const Lie *lie)
{
    Error *err = NULL;
    Result result;
    size_t size = reply->size - lie->cut;
    g_autofree uint8_t *data = g_malloc0(MAX(size, reply->size));

    memcpy(data, reply->good, reply->size);
    for (unsigned i = 0; i < ARRAY_SIZE(lie->patch); i++) {
        patch(data, lie->patch[i].offset, lie->patch[i].width,
              lie->patch[i].value);
    }
    if (get_from_copy(reply, data, size, &result, &err)) {
        g_test_message("accepted, expected: %s", lie->error);
        g_test_fail();
        return;
    }
    g_assert_nonnull(err);
    if (!g_str_has_prefix(error_get_pretty(err), lie->error)) {
        g_test_message("got \"%s\", expected \"%s\"", error_get_pretty(err),
                       lie->error);
        g_test_fail();
    }
    error_free(err);
    for (unsigned i = 0; i < sizeof(result.bytes); i++) {
        g_assert_cmphex(result.bytes[i], ==, 0xa5);
    }
}

static void test_malformed(gconstpointer opaque)
{
    const Reply *reply = opaque;
    Result result;

    /* The control: what the lies below are made from is accepted. */
    g_assert_true(get_from_copy(reply, reply->good, reply->size, &result,
                                &error_abort));

    for (const Lie *lie = reply->lies; lie->error; lie++) {
        test_malformed_lie(reply, lie);
    }
}

void test_malformed_register(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(replies); i++) {
        g_assert_null(replies[i].lies[ARRAY_SIZE(replies[i].lies) - 1].error);
        g_test_add_data_func(replies[i].path, &replies[i], test_malformed);
    }
}
