/*
 * Fuzz target: what a server says its device consists of, and has in config
 * space: once when it is realized, and once more, of it or of another one, when
 * the connection was lost and has come back.
 *
 * An input is a byte of choices, then answers; see fuzz_answer().
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "fuzz.h"
#include "hw/pci/pci.h"
#include "fuzz-answers.h"
#include "fuzz-promises.h"
#include "../../../hw/vfio-user/device-internal.h"

/* Choices */
#define SAME_AGAIN 1            /* the server repeats its answers */
#define MIGRATION 2
#define IN_PIECES 4             /* config space is */
#define ONE_BY_ONE 8            /* questions are */

#define MAX_FDS 300
#define FILE_SIZE (64 * KiB)

typedef struct Known {
    VFIOUserDevice device;
    VFIODevice vbasedev;
} Known;

static FuzzInput answers;
static const VFIOUserDevice *asked;
static unsigned int times_asked[VFIO_USER_MAX_REGIONS];
static unsigned int num_fds;
static int file_fd, null_fd;

/* There is no migration to end. */
void vfio_migration_abort(int ret, const Error *reason)
{
    g_assert_not_reached();
}

/*
 * The server
 */

static void check_access(const VFIOUserCall *call)
{
    const VFIOUserRegionRW *rw = call->head;
    uint64_t offset = le64_to_cpu(rw->offset);
    uint32_t region = le32_to_cpu(rw->region), count = le32_to_cpu(rw->count);

    g_assert_cmpuint(count, <=, fuzz_caps.max_data_xfer_size);
    if (!asked->regions) {      /* device_state, to have it run */
        g_assert_true(fuzz_caps.migration);
        g_assert_cmpuint(region, ==, VFIO_PCI_NUM_REGIONS);
        g_assert_cmpuint(offset, ==, 0);
        g_assert_cmpuint(count, ==, 4);
        return;
    }
    g_assert_cmpuint(call->command, ==, VFIO_USER_REGION_READ);
    g_assert_cmpuint(region, ==, VFIO_PCI_CONFIG_REGION_INDEX);
    g_assert_cmpuint(offset + count, <=, asked->regions[region].desc.size);
}

void fuzz_check_request(const VFIOUserCall *call)
{
    const VFIOUserRegionInfo *region = call->head;
    const VFIOUserIRQInfo *irq = call->head;

    switch (call->command) {
    case VFIO_USER_DEVICE_GET_INFO:
        g_assert_null(asked->regions);
        break;
    case VFIO_USER_DEVICE_GET_REGION_INFO:
        g_assert_cmpuint(le32_to_cpu(region->index), <, asked->num_regions);
        g_assert_cmpuint(++times_asked[le32_to_cpu(region->index)], <=, 2);
        g_assert_cmpuint(le32_to_cpu(region->argsz), ==, call->max_reply);
        g_assert_cmpuint(call->max_reply, <=, VFIO_USER_MAX_REGION_INFO_SIZE);
        break;
    case VFIO_USER_DEVICE_GET_IRQ_INFO:
        g_assert_cmpuint(le32_to_cpu(irq->index), <, asked->num_irqs);
        break;
    default:
        check_access(call);
        break;
    }
}

/* An answer with nothing wrong: a device of config space only */
static void answer_plain(const VFIOUserCall *call, FuzzAnswer *answer)
{
    const VFIOUserRegionInfo *asked_region = call->head;
    VFIOUserDeviceInfo *info = (void *)answer->payload;
    VFIOUserRegionInfo *region = (void *)answer->payload;
    VFIOUserIRQInfo *irq = (void *)answer->payload;

    answer->size = MIN(call->max_reply, sizeof(*region));
    switch (call->command) {
    case VFIO_USER_DEVICE_GET_INFO:
        info->argsz = cpu_to_le32(sizeof(*info));
        info->flags = cpu_to_le32(VFIO_DEVICE_FLAGS_PCI);
        info->num_regions = cpu_to_le32(VFIO_PCI_NUM_REGIONS);
        info->num_irqs = cpu_to_le32(VFIO_PCI_NUM_IRQS);
        break;
    case VFIO_USER_DEVICE_GET_REGION_INFO:
        region->argsz = cpu_to_le32(sizeof(*region));
        if (asked_region->index == cpu_to_le32(VFIO_PCI_CONFIG_REGION_INDEX)) {
            region->size = cpu_to_le64(PCI_CONFIG_SPACE_SIZE);
        }
        break;
    case VFIO_USER_DEVICE_GET_IRQ_INFO:
        irq->argsz = cpu_to_le32(sizeof(*irq));
        break;
    default:
        answer->size = call->max_reply;
        break;
    }
}

/* The fields that an answer has from the question */
static void answer_echo(const VFIOUserCall *call, FuzzAnswer *answer)
{
    switch (call->command) {
    case VFIO_USER_DEVICE_GET_INFO:
        break;
    case VFIO_USER_DEVICE_GET_REGION_INFO:
    case VFIO_USER_DEVICE_GET_IRQ_INFO:
        /* both have the index there */
        memcpy(answer->payload + offsetof(VFIOUserIRQInfo, index),
               call->head + offsetof(VFIOUserIRQInfo, index),
               sizeof(uint32_t));
        break;
    default:
        memcpy(answer->payload, call->head, sizeof(VFIOUserRegionRW));
        break;
    }
}

static void answer_fds(const VFIOUserCall *call, size_t count, int fd,
                       FuzzAnswer *answer)
{
    count = MIN(count, MIN(call->max_reply_fds, MAX_FDS - num_fds));
    for (size_t i = 0; i < count; i++) {
        answer->fds[i] = dup(fd);
        g_assert_cmpint(answer->fds[i], >=, 0);
    }
    answer->num_fds = count;
    num_fds += count;
}

/*
 * Two bytes: what kind of an answer it is (2 bits), how many fds come with it
 * (2 bits) and of what (1), and how many bytes follow (11).  Those take the
 * place of a plain answer's, but not of what has to be as it was asked; or are
 * all there is.  Else, the server's error is that number.
 */
void fuzz_answer(const VFIOUserCall *call, FuzzAnswer *answer)
{
    static const size_t fd_counts[] = { 0, 1, 2, VFIO_USER_MAX_FDS };
    uint8_t how = fuzz_byte(&answers);
    size_t size = (how >> 5) << 8 | fuzz_byte(&answers);
    const uint8_t *data;
    size_t got;

    switch (how & 3) {
    case 2:
        answer->error = MAX(size, 1);
        return;
    case 3:
        answer->hang_up = true;
        return;
    case 0:
        answer_plain(call, answer);
        break;
    }
    data = fuzz_bytes(&answers, MIN(size, call->max_reply), &got);
    if (got) {
        memcpy(answer->payload, data, got);
    }
    answer->size = MAX(answer->size, got);
    if (!(how & 3)) {
        answer_echo(call, answer);
    }
    answer_fds(call, fd_counts[how >> 2 & 3], how & 0x10 ? file_fd : null_fd,
               answer);
}

/*
 * hw/vfio
 */

static void map_area(Known *known, off_t off, uint64_t size)
{
    const VFIODeviceIOOps *ops = known->vbasedev.io_ops;
    uint8_t *memory = ops->region_mmap(&known->vbasedev, off, size, PROT_READ);

    if (memory == MAP_FAILED) {
        g_assert_cmpint(errno, >, 0);
        return;
    }
    g_assert_cmpuint(size, <=, FILE_SIZE);
    g_assert_cmpint(memory[0] | memory[size - 1], ==, 0);
    ops->region_munmap(&known->vbasedev, memory, size);
}

static struct vfio_region_info *get_region(Known *known, uint32_t index)
{
    const VFIODeviceIOOps *ops = known->vbasedev.io_ops;
    struct vfio_region_info fixed = { .argsz = sizeof(fixed), .index = index };
    struct vfio_region_info *info;

    g_assert_cmpint(ops->get_region_info(&known->vbasedev, &fixed), ==, 0);
    info = g_malloc0(fixed.argsz);
    info->argsz = fixed.argsz;
    info->index = index;
    g_assert_cmpint(ops->get_region_info(&known->vbasedev, info), ==, 0);
    g_assert_cmpuint(info->argsz, ==, fixed.argsz);
    return info;
}

static void use_region(Known *known, uint32_t index)
{
    const VFIOUserRegion *region = &known->device.regions[index];
    g_autofree struct vfio_region_info *info = get_region(known, index);

    g_assert_cmpuint(info->size, <=, VFIO_USER_MAX_REGION_SIZE);
    fuzz_check_areas(&region->desc, qemu_real_host_page_size());
    fuzz_check_chain(info, &region->desc);
    if (!(info->flags & VFIO_REGION_INFO_FLAG_MMAP) || !info->size) {
        return;
    }
    g_assert_cmpuint(region->num_fds, >, 0);
    if (!region->desc.has_sparse) {
        map_area(known, info->offset, info->size);
    }
    for (uint32_t i = 0; i < region->desc.nr_areas; i++) {
        const VFIOUserSparseArea *area = &region->desc.areas[i];

        if (area->size) {
            map_area(known, info->offset + area->offset, area->size);
        }
    }
}

static void use_parts(Known *known)
{
    VFIODevice *vbasedev = &known->vbasedev;

    g_assert_cmpuint(vbasedev->num_regions, ==, known->device.num_regions);
    g_assert_cmpuint(vbasedev->num_irqs, ==, known->device.num_irqs);
    for (uint32_t i = 0; i < vbasedev->num_regions; i++) {
        use_region(known, i);
    }
    for (uint32_t i = 0; i < vbasedev->num_irqs; i++) {
        struct vfio_irq_info info = { .argsz = sizeof(info), .index = i };

        g_assert_cmpint(vbasedev->io_ops->get_irq_info(vbasedev, &info), ==,
                        0);
        g_assert_cmpuint(info.count, <=, VFIO_USER_MAX_IRQ_COUNT);
    }
}

/* Once the device is realized, the pin is as it was. */
static void use_pin(Known *known)
{
    off_t off = (off_t)VFIO_PCI_CONFIG_REGION_INDEX << VFIO_USER_REGION_SHIFT;
    uint8_t pin;

    vfio_user_device_release_config(&known->device);
    if (known->vbasedev.io_ops->region_read(&known->vbasedev,
                                            off + PCI_INTERRUPT_PIN, 1,
                                            &pin) == 1 &&
        !vfio_user_session_is_dead(known->device.session)) {
        g_assert_cmpuint(pin, ==, known->device.config[PCI_INTERRUPT_PIN]);
    }
}

/* Whatever the server says now, what has been checked is read. */
static void use_config(Known *known)
{
    const uint8_t *config = known->device.config;
    uint8_t again[PCIE_CONFIG_SPACE_SIZE];
    uint64_t sizes[VFIO_PCI_CONFIG_REGION_INDEX + 1];
    off_t off = (off_t)VFIO_PCI_CONFIG_REGION_INDEX << VFIO_USER_REGION_SHIFT;
    size_t size;

    for (uint32_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        sizes[i] = known->device.regions[i].desc.size;
    }
    fuzz_check_sizes(sizes);
    fuzz_check_config(config, sizes);
    size = sizes[VFIO_PCI_CONFIG_REGION_INDEX];
    if (known->vbasedev.io_ops->region_read(&known->vbasedev, off, size,
                                            again) == size) {
        g_assert_cmpmem(again, PCI_ROM_ADDRESS, config, PCI_ROM_ADDRESS);
        g_assert_cmpmem(again + PCI_ROM_ADDRESS + 4,
                        size - PCI_ROM_ADDRESS - 4,
                        config + PCI_ROM_ADDRESS + 4,
                        size - PCI_ROM_ADDRESS - 4);
    }
    use_pin(known);
}

static bool learn(Known *known)
{
    Error *err = NULL;
    bool ok;

    *known = (Known) {
        .device = { .max_write = 64, .quiet = true },
        .vbasedev = { .name = (char *)"fuzz" },
    };
    fuzz_answers_begin();
    asked = &known->device;
    memset(times_asked, 0, sizeof(times_asked));
    num_fds = 0;
    ok = vfio_user_device_init(&known->device, &known->vbasedev, &err) &&
         vfio_user_device_check_config(&known->vbasedev, &err);
    fuzz_check_error(ok, err);
    if (ok) {
        use_parts(known);
        use_config(known);
    }
    return ok;
}

/* hw/vfio keeps what it has been told of the regions. */
static void compare_regions(Known *known, Known *fresh)
{
    for (uint32_t i = 0; i < known->device.num_regions; i++) {
        g_autofree struct vfio_region_info *was = get_region(known, i);
        g_autofree struct vfio_region_info *is = get_region(fresh, i);

        g_assert_cmpmem(was, was->argsz, is, is->argsz);
    }
}

static void check_fds(const VFIOUserDevice *device)
{
    for (uint32_t i = 0; i < device->num_regions; i++) {
        for (size_t j = 0; j < device->regions[i].num_fds; j++) {
            g_assert_cmpint(fcntl(device->regions[i].fds[j], F_GETFD), >=, 0);
        }
    }
}

/* The connection is back: go on with @fresh, if that is the same. */
static void come_back(Known *known, Known *fresh, bool is_same)
{
    Error *err = NULL;
    bool same = vfio_user_device_is_same(&known->device, &fresh->device, &err);

    g_assert_true(same || !is_same);
    fuzz_check_error(same, err);
    g_assert_true(vfio_user_device_is_same(&known->device, &known->device,
                                           NULL));
    if (same) {
        compare_regions(known, fresh);
        vfio_user_device_take_over(&known->device, &fresh->device);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    null_fd = open("/dev/null", O_RDWR);
    file_fd = memfd_create("fuzz", MFD_CLOEXEC);
    g_assert_cmpint(ftruncate(file_fd, FILE_SIZE), ==, 0);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput input = { data, size };
    uint8_t how = fuzz_byte(&input);
    int first_fd = fuzz_next_fd();
    Known known, fresh;

    vfio_user_caps_init_default(&fuzz_caps);
    fuzz_caps.migration = how & MIGRATION;
    if (how & IN_PIECES) {
        fuzz_caps.max_data_xfer_size = 64;
    }
    fuzz_window = how & ONE_BY_ONE ? 1 : 64;
    answers = input;
    if (learn(&known)) {
        if (how & SAME_AGAIN) {
            answers = input;
        }
        if (learn(&fresh)) {
            come_back(&known, &fresh, how & SAME_AGAIN);
        } else {
            g_assert_false(how & SAME_AGAIN);
        }
        vfio_user_device_cleanup(&fresh.device);
        use_parts(&known);
        check_fds(&known.device);
    }
    vfio_user_device_cleanup(&known.device);
    g_assert_cmpint(fuzz_next_fd(), ==, first_fd);
    return 0;
}
