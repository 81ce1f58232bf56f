/*
 * Unit tests of the comparison that decides whether a server found after
 * reconnecting has the device that was lost: all that makes a device, one by
 * one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "hw/pci/pci.h"
#include "hw/vfio-user/device.h"

#define CONFIG_SIZE     4096
#define NUM_REGIONS     (VFIO_PCI_CONFIG_REGION_INDEX + 1)

/* Where the capabilities of the device are */
#define PM      0x40
#define MSI     0x50
#define VENDOR  0x70
#define EXPRESS 0x80
#define MSIX    0xc0
#define AF      0xd0
#define AER     0x100
#define SERIAL  0x148

typedef struct Side {
    VFIOUserCaps caps;
    VFIOUserDevice device;
    VFIOUserRegion regions[NUM_REGIONS];
    VFIOUserIRQDesc irqs[VFIO_PCI_NUM_IRQS];
    uint8_t config[CONFIG_SIZE];
} Side;

/* A side's session is itself. */
const VFIOUserCaps *vfio_user_session_caps(VFIOUserSession *session)
{
    return &((Side *)session)->caps;
}

static void add_capability(Side *side, uint8_t at, uint8_t id, uint8_t next)
{
    side->config[at] = id;
    side->config[at + PCI_CAP_LIST_NEXT] = next;
}

static void fill_config(Side *side)
{
    uint8_t *config = side->config;

    pci_set_word(config + PCI_VENDOR_ID, 0x1b36);
    pci_set_word(config + PCI_DEVICE_ID, 0x10);
    pci_set_word(config + PCI_STATUS, PCI_STATUS_CAP_LIST);
    pci_set_long(config + PCI_CLASS_REVISION, 0x01080202);
    pci_set_long(config + PCI_BASE_ADDRESS_0, PCI_BASE_ADDRESS_MEM_TYPE_64);
    pci_set_long(config + PCI_BASE_ADDRESS_2, PCI_BASE_ADDRESS_SPACE_IO);
    config[PCI_INTERRUPT_PIN] = 1;
    config[PCI_CAPABILITY_LIST] = PM;
    add_capability(side, PM, PCI_CAP_ID_PM, MSI);
    add_capability(side, MSI, PCI_CAP_ID_MSI, VENDOR);
    add_capability(side, VENDOR, PCI_CAP_ID_VNDR, EXPRESS);
    add_capability(side, EXPRESS, PCI_CAP_ID_EXP, MSIX);
    add_capability(side, MSIX, PCI_CAP_ID_MSIX, AF);
    add_capability(side, AF, PCI_CAP_ID_AF, 0);
    pci_set_long(config + AER, PCI_EXT_CAP(PCI_EXT_CAP_ID_ERR, 1, SERIAL));
    pci_set_long(config + SERIAL, PCI_EXT_CAP(PCI_EXT_CAP_ID_DSN, 1, 0));
}

static void fill(Side *side)
{
    memset(side, 0, sizeof(*side));
    side->caps = (VFIOUserCaps) {
        .pgsizes = 4096, .migration = true, .migration_pgsize = 4096,
    };
    side->device = (VFIOUserDevice) {
        .session = (VFIOUserSession *)side, .flags = VFIO_DEVICE_FLAGS_PCI,
        .num_regions = NUM_REGIONS, .num_irqs = VFIO_PCI_NUM_IRQS,
        .regions = side->regions, .irqs = side->irqs, .config = side->config,
    };
    for (uint32_t i = 0; i < NUM_REGIONS; i++) {
        side->regions[i].desc.index = i;
    }
    side->regions[0].desc = (VFIOUserRegionDesc) {
        .size = 0x4000, .flags = VFIO_REGION_INFO_FLAG_READ,
        .has_sparse = true, .nr_areas = 2,
        .areas = { { 0, 0x1000 }, { 0x2000, 0x1000 } },
    };
    side->regions[2].desc.size = 0x100;
    side->regions[VFIO_PCI_CONFIG_REGION_INDEX].desc.size = CONFIG_SIZE;
    fill_config(side);
}

static void expect_other(Side *was, Side *is, const char *text)
{
    Error *err = NULL;

    g_assert_false(vfio_user_device_is_same(&was->device, &is->device, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, text);
    error_free(err);
}

static void expect_same(Side *was, Side *is)
{
    g_assert_true(vfio_user_device_is_same(&was->device, &is->device,
                                           &error_abort));
}

/*
 * Numbers that the server has told
 */

#define NUMBER(field_, text_) \
    { offsetof(Side, field_), sizeof_field(Side, field_), text_ }

static const struct {
    size_t at;
    size_t size;
    const char *text;
} numbers[] = {
    NUMBER(device.flags, "device flags"),
    NUMBER(device.num_regions, "number of regions"),
    NUMBER(device.num_irqs, "number of interrupt types"),
    NUMBER(caps.pgsizes, "page sizes for mappings"),
    NUMBER(caps.migration, "capability to migrate"),
    NUMBER(caps.migration_pgsize, "page size for migration"),
    NUMBER(regions[0].desc.size, "size"),
    NUMBER(regions[0].desc.flags, "flags"),
    NUMBER(regions[2].desc.has_type, "whether it has a type"),
    NUMBER(regions[2].desc.type, "type"),
    NUMBER(regions[2].desc.subtype, "subtype"),
    NUMBER(regions[0].desc.msix_mappable, "whether MSI-X can be mapped"),
    NUMBER(regions[0].desc.has_sparse, "whether only areas can be mapped"),
    NUMBER(regions[0].desc.nr_areas, "number of areas to map"),
    NUMBER(regions[0].desc.areas[0].offset, "offset of an area to map"),
    NUMBER(regions[0].desc.areas[1].offset, "offset of an area to map"),
    NUMBER(regions[0].desc.areas[1].size, "size of an area to map"),
    NUMBER(regions[VFIO_PCI_CONFIG_REGION_INDEX].desc.size, "size"),
    NUMBER(irqs[0].flags, "flags"),
    NUMBER(irqs[0].count, "count"),
    NUMBER(irqs[VFIO_PCI_NUM_IRQS - 1].count, "count"),
};

/* Who the number belongs to, for what a device has several of */
static char *number_prefix(size_t at)
{
    if (at >= offsetof(Side, irqs)) {
        return g_strdup_printf("interrupt type %zu: ",
                               (at - offsetof(Side, irqs)) /
                               sizeof(VFIOUserIRQDesc));
    }
    if (at >= offsetof(Side, regions)) {
        return g_strdup_printf("region %zu: ", (at - offsetof(Side, regions)) /
                                               sizeof(VFIOUserRegion));
    }
    return g_strdup("");
}

static void test_numbers(void)
{
    g_autofree Side *was = g_new(Side, 1), *is = g_new(Side, 1);

    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        g_autofree char *prefix = number_prefix(numbers[i].at);
        g_autofree char *text = NULL;
        uint64_t old = 0, new;
        void *where = (char *)is + numbers[i].at;

        fill(was);
        fill(is);
        memcpy(&old, where, numbers[i].size);
        new = old ^ 1;
        memcpy(where, &new, numbers[i].size);
        text = g_strdup_printf("%snot the device that was lost: %s (got 0x%"
                               PRIx64 ", was 0x%" PRIx64 ")", prefix,
                               numbers[i].text, new, old);
        expect_other(was, is, text);
    }
}

/* Of a device that cannot migrate no page size for it is asked. */
static void test_no_migration(void)
{
    g_autofree Side *was = g_new(Side, 1), *is = g_new(Side, 1);

    fill(was);
    fill(is);
    was->caps.migration = is->caps.migration = false;
    is->caps.migration_pgsize = 8192;
    expect_same(was, is);
}

/*
 * Config space
 */

#define CAPABILITY(at) "capability at 0x" at " of config space"

/* One bit; without a text it is a driver's, or nothing that is compared. */
static const struct {
    uint16_t at;
    uint8_t bit;
    const char *text;
} bits[] = {
    { PCI_VENDOR_ID, 0x01, "vendor and device id" },
    { PCI_DEVICE_ID + 1, 0x80, "vendor and device id" },
    { PCI_COMMAND, PCI_COMMAND_MASTER },
    { PCI_STATUS, PCI_STATUS_INTERRUPT },
    { PCI_STATUS, PCI_STATUS_CAP_LIST, "capability list" },
    { PCI_REVISION_ID, 0x01, "class and revision" },
    { PCI_CLASS_DEVICE + 1, 0x80, "class and revision" },
    { PCI_CACHE_LINE_SIZE, 0x10 },
    { PCI_HEADER_TYPE, PCI_HEADER_TYPE_MULTI_FUNCTION, "header type" },
    { PCI_BASE_ADDRESS_0, PCI_BASE_ADDRESS_MEM_PREFETCH, "type of a BAR" },
    { PCI_BASE_ADDRESS_0, PCI_BASE_ADDRESS_SPACE_IO, "type of a BAR" },
    { PCI_BASE_ADDRESS_0 + 3, 0x80 },
    { PCI_BASE_ADDRESS_1, PCI_BASE_ADDRESS_MEM_PREFETCH },
    { PCI_BASE_ADDRESS_2, PCI_BASE_ADDRESS_SPACE_IO, "type of a BAR" },
    { PCI_BASE_ADDRESS_2, 0x04 },
    { PCI_SUBSYSTEM_VENDOR_ID, 0x01, "subsystem's ids" },
    { PCI_SUBSYSTEM_ID + 1, 0x80, "subsystem's ids" },
    { PCI_CAPABILITY_LIST, 0x10, "capability list" },
    { PCI_INTERRUPT_LINE, 0x01 },
    { PCI_INTERRUPT_PIN, 0x02, "interrupt pin" },
    { PM, 0x02, CAPABILITY("40") },
    { PM + PCI_CAP_LIST_NEXT, 0x20, CAPABILITY("40") },
    { PM + PCI_PM_PMC + 1, 0x80, CAPABILITY("40") },
    { PM + PCI_PM_CTRL, 0x03 },
    { MSI + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE },
    { MSI + PCI_MSI_FLAGS, 0x02, CAPABILITY("50") },
    { MSI + PCI_MSI_FLAGS, PCI_MSI_FLAGS_64BIT, CAPABILITY("50") },
    { MSI + PCI_MSI_FLAGS + 1, PCI_MSI_FLAGS_MASKBIT >> 8, CAPABILITY("50") },
    { MSI + PCI_MSI_FLAGS, 0x10 },
    { MSI + PCI_MSI_ADDRESS_LO, 0x10 },
    { VENDOR + PCI_CAP_FLAGS, 0x04, CAPABILITY("70") },
    { VENDOR + PCI_CAP_FLAGS + 1, 0x01 },
    { EXPRESS + PCI_EXP_FLAGS + 1, 0x20, CAPABILITY("80") },
    { EXPRESS + PCI_EXP_DEVCAP + 3, 0x10, CAPABILITY("80") },
    { EXPRESS + PCI_EXP_DEVCTL, 0x01 },
    { MSIX + PCI_MSIX_FLAGS, 0x01, CAPABILITY("c0") },
    { MSIX + PCI_MSIX_FLAGS + 1, PCI_MSIX_FLAGS_ENABLE >> 8 },
    { MSIX + PCI_MSIX_TABLE, 0x08, CAPABILITY("c0") },
    { MSIX + PCI_MSIX_PBA + 3, 0x80, CAPABILITY("c0") },
    { AF + PCI_AF_CAP, PCI_AF_CAP_FLR, CAPABILITY("d0") },
    { AF + PCI_AF_CTRL, 0x01 },
    { AER + 2, 0x02, "extended capabilities" },
    { AER + 4, 0x01 },
    { SERIAL, 0x01, "extended capabilities" },
    { SERIAL + 4, 0x01 },
};

static void test_config(void)
{
    g_autofree Side *was = g_new(Side, 1), *is = g_new(Side, 1);

    for (size_t i = 0; i < ARRAY_SIZE(bits); i++) {
        Error *err = NULL;
        bool same;

        fill(was);
        fill(is);
        is->config[bits[i].at] ^= bits[i].bit;
        same = vfio_user_device_is_same(&was->device, &is->device, &err);
        if (same != !bits[i].text) {
            g_test_message("bit 0x%x at 0x%x", bits[i].bit, bits[i].at);
            g_test_fail();
        } else if (!same) {
            g_autofree char *start = g_strdup_printf(
                "not the device that was lost: %s (got 0x", bits[i].text);

            g_assert_true(g_str_has_prefix(error_get_pretty(err), start));
        }
        error_free(err);
    }
}

/* Config space of 256 bytes has no extended ones, whatever is behind it. */
static void test_short_config(void)
{
    g_autofree Side *was = g_new(Side, 1), *is = g_new(Side, 1);

    fill(was);
    fill(is);
    was->regions[VFIO_PCI_CONFIG_REGION_INDEX].desc.size =
        is->regions[VFIO_PCI_CONFIG_REGION_INDEX].desc.size =
        PCI_CONFIG_SPACE_SIZE;
    is->config[AER] ^= 1;
    expect_same(was, is);
    /* and without a list there are no others */
    was->config[PCI_STATUS] = is->config[PCI_STATUS] = 0;
    is->config[PM] ^= 1;
    expect_same(was, is);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vfio-user/device-same/numbers", test_numbers);
    g_test_add_func("/vfio-user/device-same/no-migration", test_no_migration);
    g_test_add_func("/vfio-user/device-same/config", test_config);
    g_test_add_func("/vfio-user/device-same/short-config", test_short_config);
    return g_test_run();
}
