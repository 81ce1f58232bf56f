/*
 * A vfio-user server with an NVMe controller that Linux's driver takes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "nvme-server.h"
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Linux knows the controller by its class */
#define VENDOR_ID 0x1234
#define DEVICE_ID 0x0a0e
#define CLASS_STORAGE 0x01
#define SUBCLASS_NVM 0x08
#define INTERFACE_NVME 0x02

#define MSIX_BAR_SIZE 0x1000
#define MSIX_PENDING 0x800

static const char usage[] =
    "Usage: nvme-server [-k WRITE] SOCKET FILE\n"
    "\n"
    "Serves an NVMe controller whose disk is FILE.\n"
    "  -k  be killed in the middle of this write, the first is 1\n";

static void server_log(vfu_ctx_t *ctx, int level, const char *text)
{
    (void)ctx;
    (void)level;
    fprintf(stderr, "nvme: %s\n", text);
}

/*
 * Copy to or from the guest's memory, as far as it is mapped here; nothing
 * that is asked for extends beyond a page, so it is in one piece.
 */
static bool server_copy(vfu_ctx_t *ctx, uint64_t address, void *data,
                        size_t size, bool to_guest)
{
    dma_sg_t *piece = alloca(dma_sg_size());
    struct iovec memory;

    if (vfu_addr_to_sgl(ctx, (vfu_dma_addr_t)address, size, piece, 1,
                        to_guest ? PROT_READ | PROT_WRITE : PROT_READ) != 1 ||
        vfu_sgl_get(ctx, piece, &memory, 1, 0) < 0) {
        return false;
    }
    if (to_guest) {
        memcpy(memory.iov_base, data, size);
    } else {
        memcpy(data, memory.iov_base, size);
    }
    vfu_sgl_put(ctx, piece, &memory, 1);
    return true;
}

static bool server_read(void *opaque, uint64_t address, void *data,
                        size_t size)
{
    return server_copy(opaque, address, data, size, false);
}

static bool server_write(void *opaque, uint64_t address, const void *data,
                         size_t size)
{
    return server_copy(opaque, address, (void *)data, size, true);
}

struct msixcap *server_msix(vfu_ctx_t *ctx)
{
    uint8_t *config = (uint8_t *)vfu_pci_get_config_space(ctx);

    return (void *)&config[vfu_pci_find_capability(ctx, false,
                                                   PCI_CAP_ID_MSIX)];
}

/*
 * Firmware does without MSI-X, and looks itself what is done. The library would
 * trigger whatever else has an eventfd then, and QEMU take that for an error.
 */
static void server_interrupt(void *opaque, unsigned vector)
{
    if (server_msix(opaque)->mxc.mxe && vfu_irq_trigger(opaque, vector) < 0) {
        warn("cannot interrupt");
    }
}

static ssize_t server_access(vfu_ctx_t *ctx, char *data, size_t count,
                             loff_t offset, bool is_write)
{
    NvmeServer *server = vfu_get_private(ctx);

    if (is_write) {
        nvme_device_write(&server->device, offset, data, count);
    } else {
        nvme_device_read(&server->device, offset, data, count);
    }
    return count;
}

/* The library is back in the state RUNNING then, without a transition. */
static int server_reset(vfu_ctx_t *ctx, vfu_reset_type_t type)
{
    NvmeServer *server = vfu_get_private(ctx);

    nvme_device_reset(&server->device);
    if (type != VFU_RESET_PCI_FLR) {
        server->state = VFU_MIGR_STATE_RUNNING;
        server->device.stopped = false;
    }
    return 0;
}

/* The library keeps what it needs of these itself. */
static void server_dma_changed(vfu_ctx_t *ctx, vfu_dma_info_t *info)
{
    (void)ctx;
    (void)info;
}

static void server_set_up_pci(vfu_ctx_t *ctx)
{
    struct pxcap express = {
        .hdr.id = PCI_CAP_ID_EXP,
        .pxcaps.ver = 2,
        .pxdcap = { .rer = 1, .flrc = 1 },
    };
    struct msixcap msix = {
        .hdr.id = PCI_CAP_ID_MSIX,
        .mxc.ts = NVME_QUEUES - 1,
        .mtab.tbir = VFU_PCI_DEV_BAR4_REGION_IDX,
        .mpba = {
            .pbir = VFU_PCI_DEV_BAR4_REGION_IDX,
            .pbao = MSIX_PENDING / 8,
        },
    };

    must(vfu_pci_init(ctx, VFU_PCI_TYPE_EXPRESS, PCI_HEADER_TYPE_NORMAL, 0),
         "PCI");
    vfu_pci_set_id(ctx, VENDOR_ID, DEVICE_ID, VENDOR_ID, DEVICE_ID);
    vfu_pci_set_class(ctx, CLASS_STORAGE, SUBCLASS_NVM, INTERFACE_NVME);
    must(vfu_pci_add_capability(ctx, 0, 0, &express), "PCI Express");
    must(vfu_pci_add_capability(ctx, 0, 0, &msix), "MSI-X");
    must(vfu_setup_region(ctx, VFU_PCI_DEV_BAR0_REGION_IDX, NVME_BAR_SIZE,
                          server_access,
                          VFU_REGION_FLAG_RW | VFU_REGION_FLAG_MEM, NULL, 0,
                          -1, 0), "BAR 0");
    /* Clients keep the table themselves */
    must(vfu_setup_region(ctx, VFU_PCI_DEV_BAR4_REGION_IDX, MSIX_BAR_SIZE,
                          NULL, VFU_REGION_FLAG_RW | VFU_REGION_FLAG_MEM,
                          NULL, 0, -1, 0), "BAR 4");
    must(vfu_setup_device_nr_irqs(ctx, VFU_DEV_MSIX_IRQ, NVME_QUEUES),
         "interrupts");
}

static void server_set_up(vfu_ctx_t *ctx)
{
    must(vfu_setup_log(ctx, server_log, LOG_WARNING), "log");
    server_set_up_pci(ctx);
    must(vfu_setup_device_dma(ctx, server_dma_changed, server_dma_changed),
         "DMA");
    must(vfu_setup_device_reset_cb(ctx, server_reset), "reset");
    server_set_up_migration(ctx);
    must(vfu_realize_ctx(ctx), "device");
}

/* Serve one client until it goes away. */
static void server_run(vfu_ctx_t *ctx)
{
    must(vfu_attach_ctx(ctx), "cannot attach");
    while (vfu_run_ctx(ctx) >= 0 || errno == EINTR) {
        /* there are more requests */
    }
    must(errno == ENOTCONN ? 0 : -1, "cannot serve");
}

static void server_open_disk(NvmeDevice *device, const char *path)
{
    struct stat status;

    device->file = open(path, O_RDWR | O_CLOEXEC);
    must(device->file, path);
    must(fstat(device->file, &status), path);
    device->blocks = status.st_size >> NVME_BLOCK_SHIFT;
}

int main(int argc, char **argv)
{
    static NvmeServer server = { .state = VFU_MIGR_STATE_RUNNING };
    vfu_ctx_t *ctx;
    int option;

    while ((option = getopt(argc, argv, "hk:")) != -1) {
        switch (option) {
        case 'k':
            server.device.fatal_write = atol(optarg);
            break;
        default:
            fputs(usage, option == 'h' ? stdout : stderr);
            return option == 'h' ? EXIT_SUCCESS : EXIT_FAILURE;
        }
    }
    if (optind != argc - 2 || server.device.fatal_write < 0) {
        fputs(usage, stderr);
        return EXIT_FAILURE;
    }
    server_open_disk(&server.device, argv[optind + 1]);
    /* One that was killed has left it */
    must(unlink(argv[optind]) < 0 && errno != ENOENT ? -1 : 0, argv[optind]);
    ctx = vfu_create_ctx(VFU_TRANS_SOCK, argv[optind], 0, &server,
                         VFU_DEV_TYPE_PCI);
    if (!ctx) {
        err(EXIT_FAILURE, "cannot make a device at %s", argv[optind]);
    }
    server.device.host = (NvmeHost) {
        .read = server_read,
        .write = server_write,
        .interrupt = server_interrupt,
        .opaque = ctx,
    };
    server_set_up(ctx);
    for (;;) {
        server_run(ctx);
    }
}
