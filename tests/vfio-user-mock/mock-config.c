/*
 * The PCI configuration space of the mock's device.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "mock-internal.h"
#include <errno.h>
#include <string.h>

enum {
    PCI_VENDOR = 0x00,
    PCI_DEVICE = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_CLASS = 0x08,
    PCI_CACHE_LINE = 0x0c,
    PCI_BAR = 0x10,
    PCI_SUBSYSTEM_VENDOR = 0x2c,
    PCI_SUBSYSTEM = 0x2e,
    PCI_CAPABILITIES = 0x34,
    PCI_IRQ_LINE = 0x3c,
    PCI_IRQ_PIN = 0x3d,
    PCI_CAP_MSIX = 0x40,
    PCI_CAP_MSI = 0x50,
    PCI_CAP_AF = 0x60,
    PCI_CAP_PM = 0x70,
};

#define COMMAND_BITS 0x0546u    /* memory, master, parity, SERR, INTx off */
#define STATUS_HAS_CAPABILITIES 0x10u
#define CAP_ID_MSI 0x05u
#define CAP_ID_MSIX 0x11u
#define CAP_ID_AF 0x13u
#define CAP_ID_PM 0x01u
#define AF_CONTROL (PCI_CAP_AF + 4)
#define PM_CONTROL (PCI_CAP_PM + 4)
#define PM_D3HOT 3u
#define MSIX_PBA_OFFSET 0x800u
#define MSIX_MAX_VECTORS (MSIX_PBA_OFFSET / 16)

static void set(Mock *mock, unsigned offset, uint64_t value, unsigned width)
{
    mock_store(mock->device.config + offset, value, width);
}

static void set_writable(Mock *mock, unsigned offset, uint64_t bits,
                         unsigned width)
{
    mock_store(mock->device.config_mask + offset, bits, width);
}

/* A register cannot say a size that is no power of two: the next one */
static void init_bar(Mock *mock, unsigned index)
{
    uint64_t size = mock_region_size(mock, index), rounded = 16;

    while (rounded < size && rounded < (1ull << 31)) {
        rounded *= 2;
    }
    if (size) {
        set_writable(mock, PCI_BAR + 4 * index, (uint32_t)-rounded, 4);
    }
}

static void init_msix(Mock *mock)
{
    uint32_t vectors = CLAMP(mock->config.num_msix_vectors, 1,
                             MSIX_MAX_VECTORS);

    set(mock, PCI_CAP_MSIX, CAP_ID_MSIX, 1);
    set(mock, PCI_CAP_MSIX + 2, vectors - 1, 2);
    set_writable(mock, PCI_CAP_MSIX + 2, 0xc000, 2);
    set(mock, PCI_CAP_MSIX + 4, MOCK_REGION_BAR4, 4);
    set(mock, PCI_CAP_MSIX + 8, MSIX_PBA_OFFSET | MOCK_REGION_BAR4, 4);
}

/* One vector, 64-bit address, no masking */
static void init_msi(Mock *mock)
{
    set(mock, PCI_CAP_MSI, CAP_ID_MSI, 1);
    set(mock, PCI_CAP_MSI + 2, 0x0080, 2);
    set_writable(mock, PCI_CAP_MSI + 2, 0x0071, 2);
    set_writable(mock, PCI_CAP_MSI + 4, 0xfffffffffffffffcull, 8);
    set_writable(mock, PCI_CAP_MSI + 12, 0xffff, 2);
}

/* The advanced features: a reset of the function, no pending transactions */
static void init_af(Mock *mock)
{
    set(mock, PCI_CAP_AF, CAP_ID_AF, 1);
    set(mock, PCI_CAP_AF + 2, 6, 1);
    set(mock, PCI_CAP_AF + 3, 3, 1);
}

/* Power management, with D0 and D3hot, from where the function is reset */
static void init_pm(Mock *mock)
{
    set(mock, PCI_CAP_PM, CAP_ID_PM, 1);
    set(mock, PCI_CAP_PM + 2, 3, 2);
    set_writable(mock, PM_CONTROL, PM_D3HOT, 2);
}

static void init_capabilities(Mock *mock)
{
    const MockConfig *config = &mock->config;
    const struct {
        bool there;
        unsigned offset;
        void (*init)(Mock *mock);
    } capabilities[] = {
        { !config->no_msix, PCI_CAP_MSIX, init_msix },
        { config->msi, PCI_CAP_MSI, init_msi },
        { config->function_reset, PCI_CAP_AF, init_af },
        { config->function_reset, PCI_CAP_PM, init_pm },
    };
    unsigned link = PCI_CAPABILITIES;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(capabilities); i++) {
        if (capabilities[i].there) {
            capabilities[i].init(mock);
            set(mock, link, capabilities[i].offset, 1);
            set(mock, PCI_STATUS, STATUS_HAS_CAPABILITIES, 2);
            link = capabilities[i].offset + 1;
        }
    }
}

void mock_pci_config_init(Mock *mock)
{
    const MockConfig *config = &mock->config;
    unsigned i;

    memset(mock->device.config, 0, sizeof(mock->device.config));
    memset(mock->device.config_mask, 0, sizeof(mock->device.config_mask));
    set(mock, PCI_VENDOR, MOCK_PCI_VENDOR_ID, 2);
    set(mock, PCI_DEVICE, mock->config.pci_device_id, 2);
    set_writable(mock, PCI_COMMAND, COMMAND_BITS, 2);
    set(mock, PCI_CLASS, MOCK_PCI_CLASS << 8 | 1, 4);
    set_writable(mock, PCI_CACHE_LINE, 0xff, 1);
    for (i = 0; i < 6; i++) {
        init_bar(mock, i);
    }
    set(mock, PCI_SUBSYSTEM_VENDOR, MOCK_PCI_SUBSYSTEM_VENDOR_ID, 2);
    set(mock, PCI_SUBSYSTEM, MOCK_PCI_SUBSYSTEM_ID, 2);
    set_writable(mock, PCI_IRQ_LINE, 0xff, 1);
    set(mock, PCI_IRQ_PIN, !config->no_intx, 1);
    init_capabilities(mock);
}

int mock_pci_config_read(Mock *mock, uint64_t offset, uint8_t *data,
                         uint32_t count)
{
    memcpy(data, mock->device.config + offset, count);
    return 0;
}

/* Does this write reset the function? */
static bool resets_function(const Mock *mock, uint64_t offset, uint8_t value)
{
    if (!mock->config.function_reset) {
        return false;
    }
    if (offset == AF_CONTROL) {
        return value & 1;
    }
    return offset == PM_CONTROL && !(value & PM_D3HOT) &&
           (mock->device.config[offset] & PM_D3HOT) == PM_D3HOT;
}

int mock_pci_config_write(Mock *mock, uint64_t offset, const uint8_t *data,
                          uint32_t count)
{
    uint32_t i;

    for (i = 0; i < count; i++) {
        uint8_t *byte = &mock->device.config[offset + i];
        uint8_t mask = mock->device.config_mask[offset + i];
        bool reset = resets_function(mock, offset + i, data[i]);

        *byte = (*byte & ~mask) | (data[i] & mask);
        if (reset) {
            mock_migration_function_reset(mock);
        }
    }
    return 0;
}
