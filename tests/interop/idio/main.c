/*
 * A vfio-user server with a PCI-IDIO-16 that Linux's driver gpio-pci-idio-16
 * can do all with: lines written and read back, an interrupt for each change,
 * and migration while it does.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "idio-device.h"
#include "idio-stream.h"
#include "../server.h"
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define VENDOR_ACCES 0x494f
#define DEVICE_IDIO_16 0x0dc8

static const char usage[] =
    "Usage: idio-server [-c CHANGES] [-q MILLISECONDS] SOCKET\n"
    "\n"
    "Serves a PCI-IDIO-16 whose inputs are wired to its outputs, and writes a\n"
    "line for each change of device_state.\n"
    "  -c  have more data in pre-copy until so many lines have changed in it\n"
    "  -q  need that long to quiesce\n";

typedef struct IdioServer {
    IdioDevice device;
    vfu_migr_state_t state;
    IdioSaver saver;
    IdioLoader loader;
    bool irq_masked;
    uint64_t changes_before;    /* at the begin of pre-copy */
    long changes_wanted;        /* in pre-copy */
    long quiesce_ms;
    unsigned long quiesces;
} IdioServer;

static void server_log(vfu_ctx_t *ctx, int level, const char *text)
{
    (void)ctx;
    (void)level;
    fprintf(stderr, "idio: %s\n", text);
}

/* Not while the device is stopped: it comes when that runs again. */
static void server_update_irq(vfu_ctx_t *ctx)
{
    IdioServer *server = vfu_get_private(ctx);
    bool runs = server->state == VFU_MIGR_STATE_RUNNING ||
                server->state == VFU_MIGR_STATE_PRE_COPY;

    if (runs && !server->irq_masked &&
        idio_device_interrupts(&server->device) &&
        vfu_irq_trigger(ctx, 0) < 0 && errno != ENOENT) {
        warn("cannot interrupt");
    }
}

/* INTx is a level: who unmasks it while it is high is interrupted again. */
static void server_irq_state(vfu_ctx_t *ctx, uint32_t start, uint32_t count,
                             bool mask)
{
    IdioServer *server = vfu_get_private(ctx);

    (void)start;
    (void)count;
    server->irq_masked = mask;
    server_update_irq(ctx);
}

static ssize_t server_bar_access(vfu_ctx_t *ctx, char *data, size_t count,
                                 loff_t offset, bool is_write)
{
    IdioServer *server = vfu_get_private(ctx);
    bool interrupted = idio_device_interrupts(&server->device);
    size_t i;

    if (server->state == VFU_MIGR_STATE_RESUME) {
        errno = EBUSY;
        return -1;
    }
    for (i = 0; i < count; i++) {
        if (is_write) {
            idio_device_write(&server->device, offset + i, data[i]);
        } else {
            data[i] = idio_device_read(&server->device, offset + i);
        }
    }
    if (!interrupted) {
        server_update_irq(ctx);
    }
    return count;
}

/* The library is back in the state RUNNING then, without a transition. */
static int server_reset(vfu_ctx_t *ctx, vfu_reset_type_t type)
{
    IdioServer *server = vfu_get_private(ctx);

    idio_device_reset(&server->device);
    if (type != VFU_RESET_PCI_FLR) {
        server->state = VFU_MIGR_STATE_RUNNING;
        server->irq_masked = false;
    }
    return 0;
}

/* Nothing happens between two accesses, so it is quiet whenever asked. */
static int server_quiesce(vfu_ctx_t *ctx)
{
    IdioServer *server = vfu_get_private(ctx);

    server->quiesces++;
    if (!server->quiesce_ms) {
        return 0;
    }
    errno = EBUSY;
    return -1;
}

static bool is_saving(vfu_migr_state_t state)
{
    return state == VFU_MIGR_STATE_PRE_COPY ||
           state == VFU_MIGR_STATE_STOP_AND_COPY;
}

static int server_transition(vfu_ctx_t *ctx, vfu_migr_state_t state)
{
    IdioServer *server = vfu_get_private(ctx);
    bool again = state == server->state;

    printf("state %d%s, quiesced %lu times\n", state, again ? " again" : "",
           server->quiesces);
    fflush(stdout);
    idio_saver_settle(&server->saver);
    if (again) {
        return 0;
    }
    if (server->state == VFU_MIGR_STATE_RESUME &&
        !idio_loader_finish(&server->loader, &server->device)) {
        errno = EINVAL;
        return -1;
    }
    if (state == VFU_MIGR_STATE_RESUME) {
        idio_loader_start(&server->loader);
    }
    if (is_saving(state) && !is_saving(server->state)) {
        idio_saver_start(&server->saver);
        server->changes_before = idio_device_changes(&server->device);
    }
    server->state = state;
    if (state == VFU_MIGR_STATE_RUNNING) {
        server_update_irq(ctx);
    }
    return 0;
}

static uint64_t server_pending_bytes(vfu_ctx_t *ctx)
{
    IdioServer *server = vfu_get_private(ctx);
    bool stopped = server->state == VFU_MIGR_STATE_STOP_AND_COPY;
    uint64_t changes = idio_device_changes(&server->device) -
                       server->changes_before;
    size_t pending;

    if (!is_saving(server->state)) {
        return 0;
    }
    pending = idio_saver_pending(&server->saver, &server->device, stopped);
    if (!pending && !stopped && changes < (uint64_t)server->changes_wanted) {
        idio_saver_repeat(&server->saver);
        pending = idio_saver_pending(&server->saver, &server->device, false);
    }
    return pending;
}

static int server_prepare_data(vfu_ctx_t *ctx, uint64_t *offset,
                               uint64_t *size)
{
    IdioServer *server = vfu_get_private(ctx);

    *offset = 0;
    if (!size) {
        idio_loader_prepare(&server->loader);
        return 0;
    }
    *size = idio_saver_prepare(&server->saver, &server->device,
                               server->state == VFU_MIGR_STATE_STOP_AND_COPY);
    if (!*size) {
        errno = EINVAL;
        return -1;
    }
    return 0;
}

static ssize_t server_read_data(vfu_ctx_t *ctx, void *data, uint64_t count,
                                uint64_t offset)
{
    IdioServer *server = vfu_get_private(ctx);

    if (!idio_saver_read(&server->saver, data, count, offset)) {
        errno = EINVAL;
        return -1;
    }
    return count;
}

static ssize_t server_write_data(vfu_ctx_t *ctx, void *data, uint64_t count,
                                 uint64_t offset)
{
    IdioServer *server = vfu_get_private(ctx);

    if (!idio_loader_write(&server->loader, data, count, offset)) {
        errno = EINVAL;
        return -1;
    }
    return count;
}

static int server_data_written(vfu_ctx_t *ctx, uint64_t count)
{
    IdioServer *server = vfu_get_private(ctx);

    if (!idio_loader_take(&server->loader, count)) {
        errno = EINVAL;
        return -1;
    }
    return 0;
}

/* Without DMA of its own; with it the library logs dirty pages. */
static void server_dma_register(vfu_ctx_t *ctx, vfu_dma_info_t *info)
{
    (void)ctx;
    (void)info;
}

static void server_set_up_migration(vfu_ctx_t *ctx)
{
    const vfu_migration_callbacks_t callbacks = {
        .version = VFU_MIGR_CALLBACKS_VERS,
        .transition = server_transition,
        .get_pending_bytes = server_pending_bytes,
        .prepare_data = server_prepare_data,
        .read_data = server_read_data,
        .write_data = server_write_data,
        .data_written = server_data_written,
    };

    server_set_up_region(ctx, &callbacks, sysconf(_SC_PAGE_SIZE));
}

static void server_set_up(vfu_ctx_t *ctx)
{
    must(vfu_setup_log(ctx, server_log, LOG_WARNING), "log");
    must(vfu_pci_init(ctx, VFU_PCI_TYPE_CONVENTIONAL, PCI_HEADER_TYPE_NORMAL,
                      0), "PCI");
    vfu_pci_set_id(ctx, VENDOR_ACCES, DEVICE_IDIO_16, 0, 0);
    must(vfu_setup_region(ctx, VFU_PCI_DEV_BAR2_REGION_IDX, IDIO_BAR_SIZE,
                          server_bar_access, VFU_REGION_FLAG_RW, NULL, 0, -1,
                          0), "BAR 2");
    must(vfu_setup_device_nr_irqs(ctx, VFU_DEV_INTX_IRQ, 1), "interrupts");
    must(vfu_setup_irq_state_callback(ctx, VFU_DEV_INTX_IRQ,
                                      server_irq_state), "interrupt masks");
    must(vfu_setup_device_dma(ctx, server_dma_register, server_dma_register),
         "DMA");
    must(vfu_setup_device_reset_cb(ctx, server_reset), "reset");
    vfu_setup_device_quiesce_cb(ctx, server_quiesce);
    server_set_up_migration(ctx);
    must(vfu_realize_ctx(ctx), "device");
}

/* Serve one client until it goes away. */
static void server_run(vfu_ctx_t *ctx)
{
    IdioServer *server = vfu_get_private(ctx);
    const struct timespec delay = {
        .tv_sec = server->quiesce_ms / 1000,
        .tv_nsec = server->quiesce_ms % 1000 * 1000000,
    };
    int ret;

    must(vfu_attach_ctx(ctx), "cannot attach");
    for (;;) {
        ret = vfu_run_ctx(ctx);
        if (ret < 0 && errno == EBUSY) {
            nanosleep(&delay, NULL);
            ret = vfu_device_quiesced(ctx, 0);
        }
        if (ret < 0 && errno == ENOTCONN) {
            return;
        }
        must(errno == EINTR ? 0 : ret, "cannot serve");
    }
}

int main(int argc, char **argv)
{
    IdioServer server = { .state = VFU_MIGR_STATE_RUNNING };
    vfu_ctx_t *ctx;
    int option;

    while ((option = getopt(argc, argv, "c:hq:")) != -1) {
        switch (option) {
        case 'c':
            server.changes_wanted = atol(optarg);
            break;
        case 'q':
            server.quiesce_ms = atol(optarg);
            break;
        default:
            fputs(usage, option == 'h' ? stdout : stderr);
            return option == 'h' ? EXIT_SUCCESS : EXIT_FAILURE;
        }
    }
    if (optind != argc - 1 || server.changes_wanted < 0 ||
        server.quiesce_ms < 0) {
        fputs(usage, stderr);
        return EXIT_FAILURE;
    }
    ctx = vfu_create_ctx(VFU_TRANS_SOCK, argv[optind], 0, &server,
                         VFU_DEV_TYPE_PCI);
    if (!ctx) {
        err(EXIT_FAILURE, "cannot make a device at %s", argv[optind]);
    }
    server_set_up(ctx);
    for (;;) {
        server_run(ctx);
    }
}
