/*
 * The fake kernel's device: a PCI function with two BARs, INTx and MSI-X. Its
 * file has the regions' memory in it, so that the real mmap() does for BARs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake-kernel.h"

#define OFFSET_SHIFT 40
#define MIGRATION_REGION VFIO_PCI_NUM_REGIONS
#define NUM_REGIONS (MIGRATION_REGION + 1)

#define CONFIG_SIZE 0x100
#define BAR1_SIZE 0x1000
#define MSIX_CAP 0x40

#define READ_WRITE (VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE)

static const struct {
    uint32_t size;
    uint32_t flags;
} regions[NUM_REGIONS] = {
    [VFIO_PCI_BAR0_REGION_INDEX] = {
        FAKE_KERNEL_BAR0_SIZE, READ_WRITE | VFIO_REGION_INFO_FLAG_MMAP,
    },
    [VFIO_PCI_BAR1_REGION_INDEX] = { BAR1_SIZE, READ_WRITE },
    [VFIO_PCI_CONFIG_REGION_INDEX] = { CONFIG_SIZE, READ_WRITE },
    [MIGRATION_REGION] = { FAKE_KERNEL_MIGRATION_SIZE, READ_WRITE },
};

static const struct {
    uint32_t count;
    uint32_t flags;
} irqs[VFIO_PCI_NUM_IRQS] = {
    [VFIO_PCI_INTX_IRQ_INDEX] = {
        1, VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE |
           VFIO_IRQ_INFO_AUTOMASKED,
    },
    [VFIO_PCI_MSIX_IRQ_INDEX] = {
        FAKE_KERNEL_MSIX_VECTORS,
        VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE,
    },
    [VFIO_PCI_REQ_IRQ_INDEX] = {
        1, VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE,
    },
};

/* What can be written in config space; the rest keeps its value */
static const struct {
    uint8_t offset;
    uint8_t mask;
} config_masks[] = {
    { PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER },
    { PCI_COMMAND + 1, PCI_COMMAND_INTX_DISABLE >> 8 },
    { PCI_CACHE_LINE_SIZE, 0xff },
    { PCI_BASE_ADDRESS_0 + 1, 0x100 - FAKE_KERNEL_BAR0_SIZE / 0x100 },
    { PCI_BASE_ADDRESS_0 + 2, 0xff },
    { PCI_BASE_ADDRESS_0 + 3, 0xff },
    { PCI_BASE_ADDRESS_1 + 1, 0x100 - BAR1_SIZE / 0x100 },
    { PCI_BASE_ADDRESS_1 + 2, 0xff },
    { PCI_BASE_ADDRESS_1 + 3, 0xff },
    { PCI_INTERRUPT_LINE, 0xff },
    { MSIX_CAP + PCI_MSIX_FLAGS + 1,
      (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8 },
};

static struct {
    uint8_t *regions[NUM_REGIONS];
    int eventfds[VFIO_PCI_NUM_IRQS][FAKE_KERNEL_MSIX_VECTORS];
    bool intx_masked;
} device;

static void put16(unsigned offset, uint16_t value)
{
    uint8_t *config = device.regions[VFIO_PCI_CONFIG_REGION_INDEX];

    config[offset] = value;
    config[offset + 1] = value >> 8;
}

static void init_bar0(void)
{
    uint32_t id = FAKE_KERNEL_BAR0_ID_VALUE;

    memset(device.regions[VFIO_PCI_BAR0_REGION_INDEX], 0,
           FAKE_KERNEL_BAR0_SIZE);
    memcpy(device.regions[VFIO_PCI_BAR0_REGION_INDEX] + FAKE_KERNEL_BAR0_ID,
           &id, sizeof(id));
}

static void init_config(void)
{
    memset(device.regions[VFIO_PCI_CONFIG_REGION_INDEX], 0, CONFIG_SIZE);
    put16(PCI_VENDOR_ID, FAKE_KERNEL_VENDOR_ID);
    put16(PCI_DEVICE_ID, FAKE_KERNEL_DEVICE_ID);
    put16(PCI_CLASS_DEVICE, 0x0880);
    put16(PCI_STATUS, PCI_STATUS_CAP_LIST);
    put16(PCI_CAPABILITY_LIST, MSIX_CAP);
    put16(PCI_INTERRUPT_PIN, 1);
    put16(MSIX_CAP, PCI_CAP_ID_MSIX);
    put16(MSIX_CAP + PCI_MSIX_FLAGS, FAKE_KERNEL_MSIX_VECTORS - 1);
    put16(MSIX_CAP + PCI_MSIX_TABLE, 1);
    put16(MSIX_CAP + PCI_MSIX_PBA, 0x800 | 1);
}

static void drop_eventfds(void)
{
    memset(device.eventfds, 0xff, sizeof(device.eventfds));
    device.intx_masked = false;
}

static bool map_regions(int fd)
{
    int i;

    for (i = 0; i < NUM_REGIONS; i++) {
        if (regions[i].size) {
            device.regions[i] = mmap(NULL, regions[i].size,
                                     PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                                     (off_t)i << OFFSET_SHIFT);
            if (device.regions[i] == MAP_FAILED) {
                return false;
            }
        }
    }
    return true;
}

int fake_kernel_device_open(void)
{
    int fd = memfd_create("fake-kernel-device", MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, (off_t)NUM_REGIONS << OFFSET_SHIFT) ||
        !map_regions(fd)) {
        perror("fake kernel: no memory for the device");
        _exit(1);
    }
    fake_kernel_behaviour_read();
    drop_eventfds();
    init_bar0();
    init_config();
    fake_kernel_migration_open(device.regions[MIGRATION_REGION] +
                               FAKE_KERNEL_MIGRATION_DATA);
    return fd;
}

void fake_kernel_device_close(void)
{
    int i;

    for (i = 0; i < NUM_REGIONS; i++) {
        if (regions[i].size) {
            munmap(device.regions[i], regions[i].size);
        }
    }
}

/* --- info --- */

static long get_info(struct vfio_device_info *info)
{
    if (info->argsz < offsetof(struct vfio_device_info, num_irqs) + 4) {
        return -EINVAL;
    }
    info->flags = VFIO_DEVICE_FLAGS_PCI;
    if (!fake_kernel_behaviour.bus_reset_only) {
        info->flags |= VFIO_DEVICE_FLAGS_RESET;
    }
    info->num_regions = NUM_REGIONS - fake_kernel_behaviour.no_migration;
    info->num_irqs = VFIO_PCI_NUM_IRQS;
    return 0;
}

/* What kind of region it is, and, for one that can be mapped, where */
static void add_migration_caps(struct vfio_region_info *info)
{
    struct {
        struct vfio_region_info_cap_type type;
        struct {
            struct vfio_info_cap_header header;
            uint32_t num_areas;
            uint32_t reserved;
            struct vfio_region_sparse_mmap_area area;
        } sparse;
    } caps = {
        .type.header = { .id = VFIO_REGION_INFO_CAP_TYPE, .version = 1 },
        .type.type = VFIO_REGION_TYPE_MIGRATION_DEPRECATED,
        .type.subtype = VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED,
        .sparse.header = {
            .id = VFIO_REGION_INFO_CAP_SPARSE_MMAP, .version = 1,
        },
        .sparse.num_areas = 1,
        .sparse.area.offset = FAKE_KERNEL_MIGRATION_DATA,
        .sparse.area.size = FAKE_KERNEL_MIGRATION_SIZE -
                            FAKE_KERNEL_MIGRATION_DATA,
    };
    size_t size = sizeof(caps);

    if (fake_kernel_behaviour.data_mappable) {
        info->flags |= VFIO_REGION_INFO_FLAG_MMAP;
        caps.type.header.next = sizeof(*info) + sizeof(caps.type);
    } else {
        size = sizeof(caps.type);
    }
    info->flags |= VFIO_REGION_INFO_FLAG_CAPS;
    info->cap_offset = info->argsz < sizeof(*info) + size ? 0 : sizeof(*info);
    if (info->cap_offset) {
        memcpy(info + 1, &caps, size);
    }
    info->argsz = sizeof(*info) + size;
}

static long get_region_info(struct vfio_region_info *info)
{
    if (info->argsz < sizeof(*info) || info->index >= NUM_REGIONS ||
        info->index == VFIO_PCI_VGA_REGION_INDEX ||
        (info->index == MIGRATION_REGION &&
         fake_kernel_behaviour.no_migration)) {
        return -EINVAL;
    }
    info->flags = regions[info->index].flags;
    info->size = regions[info->index].size;
    info->offset = (uint64_t)info->index << OFFSET_SHIFT;
    info->cap_offset = 0;
    if (info->index == MIGRATION_REGION) {
        add_migration_caps(info);
    }
    return 0;
}

static long get_irq_info(struct vfio_irq_info *info)
{
    if (info->argsz < sizeof(*info) || info->index >= VFIO_PCI_NUM_IRQS ||
        info->index == VFIO_PCI_ERR_IRQ_INDEX) {
        return -EINVAL;
    }
    info->flags = irqs[info->index].flags;
    info->count = irqs[info->index].count;
    return 0;
}

/* --- interrupts --- */

static void raise_irq(unsigned index, unsigned vector)
{
    int fd = vector < irqs[index].count ? device.eventfds[index][vector] : -1;

    if (index == VFIO_PCI_INTX_IRQ_INDEX) {
        if (device.intx_masked) {
            return;
        }
        device.intx_masked = true;
    }
    if (fd >= 0) {
        eventfd_write(fd, 1);
    }
}

static void set_eventfds(const struct vfio_irq_set *set)
{
    unsigned i;

    for (i = 0; i < set->count; i++) {
        memcpy(&device.eventfds[set->index][set->start + i],
               set->data + i * sizeof(int32_t), sizeof(int32_t));
    }
    if (set->index == VFIO_PCI_INTX_IRQ_INDEX) {
        device.intx_masked = false;
    }
}

static long set_irqs(const struct vfio_irq_set *set)
{
    uint32_t count, i;

    if (set->argsz < sizeof(*set) || set->index >= VFIO_PCI_NUM_IRQS) {
        return -EINVAL;
    }
    count = irqs[set->index].count;
    if (set->start > count || set->count > count - set->start ||
        (set->flags & VFIO_IRQ_SET_DATA_EVENTFD &&
         set->argsz < sizeof(*set) + set->count * sizeof(int32_t))) {
        return -EINVAL;
    }
    switch (set->flags) {
    case VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER:
        set_eventfds(set);
        return 0;
    case VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER:
        for (i = 0; i < set->count; i++) {
            raise_irq(set->index, set->start + i);
        }
        if (!set->count) {
            memset(device.eventfds[set->index], 0xff,
                   sizeof(device.eventfds[set->index]));
        }
        return 0;
    case VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK:
    case VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK:
        if (set->index == VFIO_PCI_INTX_IRQ_INDEX) {
            device.intx_masked = set->flags & VFIO_IRQ_SET_ACTION_MASK;
            return 0;
        }
    }
    return -EINVAL;
}

/* --- the device itself --- */

static long reset(const char *kind)
{
    fake_kernel_journal("%s", kind);
    init_bar0();
    init_config();
    fake_kernel_migration_reset();
    return 0;
}

/* What the reset of the bus would reset: this device */
static long get_hot_reset_info(struct vfio_pci_hot_reset_info *info)
{
    info->flags = 0;
    info->count = 1;
    if (info->argsz < sizeof(*info) + sizeof(info->devices[0])) {
        return -ENOSPC;
    }
    info->devices[0] = (struct vfio_pci_dependent_device) {
        .group_id = FAKE_KERNEL_GROUP,
        .bus = FAKE_KERNEL_BUS,
    };
    return 0;
}

/* Whoever asks for it has to have the groups of all devices there are */
static long hot_reset(const struct vfio_pci_hot_reset *hot_reset)
{
    if (hot_reset->argsz < sizeof(*hot_reset) + sizeof(int32_t) ||
        hot_reset->count != 1 ||
        !fake_kernel_is_group(hot_reset->group_fds[0])) {
        return -EINVAL;
    }
    return reset("BUS RESET");
}

long fake_kernel_device_ioctl(unsigned long request, void *argument)
{
    switch (request) {
    case VFIO_DEVICE_GET_INFO:
        return get_info(argument);
    case VFIO_DEVICE_GET_REGION_INFO:
        return get_region_info(argument);
    case VFIO_DEVICE_GET_IRQ_INFO:
        return get_irq_info(argument);
    case VFIO_DEVICE_SET_IRQS:
        return set_irqs(argument);
    case VFIO_DEVICE_RESET:
        return fake_kernel_behaviour.bus_reset_only ? -EINVAL : reset("RESET");
    case VFIO_DEVICE_GET_PCI_HOT_RESET_INFO:
        return get_hot_reset_info(argument);
    case VFIO_DEVICE_PCI_HOT_RESET:
        return hot_reset(argument);
    }
    fake_kernel_journal("BAD ioctl %lx of the device", request);
    return -ENOTTY;
}

static void write_config(const uint8_t *data, size_t size, unsigned offset)
{
    uint8_t *config = device.regions[VFIO_PCI_CONFIG_REGION_INDEX];
    unsigned i;

    for (i = 0; i < sizeof(config_masks) / sizeof(*config_masks); i++) {
        unsigned at = config_masks[i].offset;

        if (at >= offset && at - offset < size) {
            config[at] = (config[at] & ~config_masks[i].mask) |
                         (data[at - offset] & config_masks[i].mask);
        }
    }
}

static void write_bar0(const void *data, size_t size, unsigned offset)
{
    uint32_t value = 0;

    memcpy(device.regions[VFIO_PCI_BAR0_REGION_INDEX] + offset, data, size);
    if (offset == FAKE_KERNEL_BAR0_DOORBELL && size == sizeof(value)) {
        memcpy(&value, data, size);
        if (value == FAKE_KERNEL_DOORBELL_INTX) {
            raise_irq(VFIO_PCI_INTX_IRQ_INDEX, 0);
        } else {
            raise_irq(VFIO_PCI_MSIX_IRQ_INDEX, value);
        }
    }
}

/* Returns the region of an access that lies within one, or -1 */
static int region_at(uint64_t *offset, size_t size)
{
    uint64_t index = *offset >> OFFSET_SHIFT;

    *offset &= (1ull << OFFSET_SHIFT) - 1;
    return index < NUM_REGIONS && *offset <= regions[index].size &&
           size <= regions[index].size - *offset ? index : -1;
}

ssize_t fake_kernel_device_read(void *data, size_t size, uint64_t offset)
{
    int index = region_at(&offset, size);

    if (index < 0) {
        return -EINVAL;
    }
    if (index == MIGRATION_REGION) {
        return fake_kernel_migration_read(data, size, offset);
    }
    memcpy(data, device.regions[index] + offset, size);
    return size;
}

ssize_t fake_kernel_device_write(const void *data, size_t size,
                                 uint64_t offset)
{
    int index = region_at(&offset, size);

    switch (index) {
    case MIGRATION_REGION:
        return fake_kernel_migration_write(data, size, offset);
    case VFIO_PCI_CONFIG_REGION_INDEX:
        write_config(data, size, offset);
        return size;
    case VFIO_PCI_BAR0_REGION_INDEX:
        write_bar0(data, size, offset);
        return size;
    case VFIO_PCI_BAR1_REGION_INDEX:
        memcpy(device.regions[index] + offset, data, size);
        return size;
    }
    return -EINVAL;
}
