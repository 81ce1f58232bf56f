/*
 * Life cycle of the mock: configuration, the server's thread, connections.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "mock-internal.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_AREAS 32u

static const char *const behaviour_names[MOCK_NUM_BEHAVIOURS] = {
    [MOCK_BEHAVIOUR_LVU1] = "lvu1",
    [MOCK_BEHAVIOUR_STRICT] = "strict",
    [MOCK_BEHAVIOUR_RESET_TO_RUNNING] = "reset-to-running",
    [MOCK_BEHAVIOUR_STATE_KEPT] = "state-kept",
};

bool mock_behaviour_parse(const char *name, MockBehaviour *behaviour)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(behaviour_names); i++) {
        if (!strcmp(behaviour_names[i], name)) {
            *behaviour = i;
            return true;
        }
    }
    return false;
}

const char *mock_behaviour_name(MockBehaviour behaviour)
{
    return behaviour_names[behaviour];
}

void mock_config_init(MockConfig *config)
{
    *config = (MockConfig) {
        .behaviour = MOCK_BEHAVIOUR_LVU1,
        .initial_state = MOCK_STATE_RUNNING,
        .config_size = 256,
        .bar0_size = 4096,
        .pci_device_id = MOCK_PCI_DEVICE_ID,
        .num_regions = MOCK_NUM_REGIONS,
        .num_irqs = MOCK_NUM_IRQS,
        .num_msix_vectors = MOCK_MSIX_VECTORS,
        .version_minor = 1,
        .max_msg_fds = 8,
        .max_data_xfer_size = 1 << 20,
        .pgsize = sysconf(_SC_PAGE_SIZE),
        .max_dma_regions = 0,
        .migration_size = 1 << 20,
        .window_size = 1 << 20,
        .chunk_size = 128 << 10,
        .precopy_rounds = 3,
        .precopy_round_size = 64 << 10,
        .seed = 1,
    };
}

static const char *config_trouble(const MockConfig *config)
{
    uint64_t page = sysconf(_SC_PAGE_SIZE);

    if (config->behaviour >= G_N_ELEMENTS(behaviour_names)) {
        return "there is no such behaviour";
    }
    if (config->initial_state > MOCK_STATE_RESUMING &&
        config->initial_state != MOCK_STATE_ERROR) {
        return "there is no such device_state";
    }
    if (config->config_size != 256 && config->config_size != 4096) {
        return "configuration space has 256 or 4096 bytes";
    }
    if (config->num_msix_vectors > 1 << 16) {
        return "more than 65536 MSI-X vectors";
    }
    if (config->bar2_size % page || config->bar2_areas > MAX_AREAS ||
        (config->bar2_areas &&
         config->bar2_size / page < config->bar2_areas + 1)) {
        return "BAR2 needs whole pages, one more than mmap-able areas, and "
               "at most 32 of those";
    }
    if (!config->pgsize || config->pgsize & (config->pgsize - 1) ||
        !config->max_data_xfer_size ||
        config->max_data_xfer_size > 1 << 30 || !config->max_msg_fds) {
        return "a limit of the version reply makes no sense";
    }
    if (config->no_migration) {
        return NULL;
    }
    if (config->migration_size && config->migration_size < MOCK_STREAM_MIN) {
        return "the device data has 0 or at least 512 bytes";
    }
    if (config->chunk_size < MOCK_STREAM_MIN ||
        config->chunk_size > config->window_size ||
        config->window_size % page ||
        config->precopy_round_size < MOCK_STREAM_HEAD) {
        return "chunks have at least 512 bytes and fit in the window, which "
               "has whole pages; rounds have at least 64 bytes";
    }
    return NULL;
}

/* What cannot fail comes first, so that mock_free() can undo a half of it */
static bool init_parts(Mock *mock, GError **error)
{
    mock_script_init(mock);
    mock_dma_init(mock);
    mock_irq_init(mock);
    mock->migration.fd = mock->device.bar2_fd = -1;
    return mock_journal_open(mock, error) &&
           mock_migration_init(mock, error) && mock_device_init(mock, error);
}

Mock *mock_new(const MockConfig *config, GError **error)
{
    const char *trouble = config_trouble(config);
    Mock *mock;

    if (trouble) {
        g_set_error_literal(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, trouble);
        return NULL;
    }
    mock = g_new0(Mock, 1);
    mock->config = *config;
    mock->config.capabilities = g_strdup(config->capabilities);
    mock->config.journal_path = g_strdup(config->journal_path);
    mock->config.rules = NULL;
    mock->config.refuse_when_stopped |=
        config->behaviour == MOCK_BEHAVIOUR_LVU1;
    g_mutex_init(&mock->lock);
    g_cond_init(&mock->changed);
    g_queue_init(&mock->backlog);
    g_queue_init(&mock->deferred);
    mock->requests = g_ptr_array_new();
    mock->connection.fd = mock->twin.fd = mock->listen_fd = -1;
    mock->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!init_parts(mock, error)) {
        mock_free(mock);
        return NULL;
    }
    mock_add_rules(mock, config->rules, config->num_rules);
    return mock;
}

void mock_wake(Mock *mock)
{
    uint64_t one = 1;
    ssize_t written = write(mock->wake_fd, &one, sizeof(one));

    /* Fails only when the counter is full, and then the thread is awake */
    (void)written;
}

static void begin_connection(Mock *mock, int fd)
{
    mock_connection_init(&mock->connection, fd);
    g_mutex_lock(&mock->lock);
    mock->connected = true;
    g_cond_broadcast(&mock->changed);
    g_mutex_unlock(&mock->lock);
}

/*
 * As servers do: what the client lent is given back, and the migration state
 * becomes what the behaviour says. libvfio-user forgets the dirty bits but
 * still logs what the next client maps.
 */
static void end_connection(Mock *mock)
{
    mock_connection_close(&mock->connection);
    if (mock->twin.fd >= 0) {
        mock_connection_close(&mock->twin);
    }
    while (!g_queue_is_empty(&mock->backlog)) {
        mock_message_free(g_queue_pop_head(&mock->backlog));
    }
    while (!g_queue_is_empty(&mock->deferred)) {
        mock_deferred_free(g_queue_pop_head(&mock->deferred));
    }
    g_mutex_lock(&mock->lock);
    mock->connected = mock->negotiated = mock->drop = false;
    mock->script.held = 0;
    mock->device.doorbell.wanted = false;
    mock_dma_drop_all(mock);
    mock_irq_drop_all(mock);
    if (mock->config.behaviour != MOCK_BEHAVIOUR_LVU1) {
        mock->dma.logging = false;
    }
    mock_migration_reconnect(mock);
    mock_request_fail_all(mock);
    g_cond_broadcast(&mock->changed);
    g_mutex_unlock(&mock->lock);
}

static MockIo run_connection(Mock *mock, int fd)
{
    MockIo io = MOCK_IO_OK;

    begin_connection(mock, fd);
    while (io == MOCK_IO_OK) {
        MockMessage *command = g_queue_pop_head(&mock->backlog);

        io = command ? mock_serve(mock, command) : mock_pump(mock, -1);
    }
    end_connection(mock);
    return io;
}

static void *server_thread(void *opaque)
{
    Mock *mock = opaque;
    MockIo io = MOCK_IO_OK;

    if (mock->listen_fd < 0) {
        io = run_connection(mock, mock->connection.fd);
    }
    while (mock->listen_fd >= 0 && io != MOCK_IO_STOP) {
        short revents;
        int fd;

        io = mock_wait_for(mock, mock->listen_fd, POLLIN, -1, &revents);
        if (io == MOCK_IO_STOP || !revents) {
            continue;
        }
        fd = accept4(mock->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            io = run_connection(mock, fd);
        }
    }
    g_mutex_lock(&mock->lock);
    mock->finished = true;
    g_cond_broadcast(&mock->changed);
    g_mutex_unlock(&mock->lock);
    return NULL;
}

bool mock_start(Mock *mock, const char *path, GError **error)
{
    if (mock->thread) {
        g_set_error_literal(error, G_FILE_ERROR, G_FILE_ERROR_EXIST,
                            "the server runs already");
        return false;
    }
    mock->listen_fd = mock_listen(path, error);
    if (mock->listen_fd < 0) {
        return false;
    }
    mock->path = g_strdup(path);
    mock->stop = mock->finished = false;
    mock->thread = g_thread_new("vfio-user-mock", server_thread, mock);
    return true;
}

bool mock_start_fd(Mock *mock, int fd, GError **error)
{
    socklen_t length = sizeof(int);
    int type = 0;

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) ||
        type != SOCK_STREAM || mock->thread) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    mock->thread ? "the server runs already" :
                    "file descriptor %d is no stream socket", fd);
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    mock->connection.fd = fd;
    mock->stop = mock->finished = false;
    mock->thread = g_thread_new("vfio-user-mock", server_thread, mock);
    return true;
}

void mock_stop(Mock *mock)
{
    if (!mock->thread) {
        return;
    }
    g_mutex_lock(&mock->lock);
    mock->stop = true;
    g_mutex_unlock(&mock->lock);
    mock_wake(mock);
    g_thread_join(g_steal_pointer(&mock->thread));
    if (mock->listen_fd >= 0) {
        close(mock->listen_fd);
        mock->listen_fd = -1;
        unlink(mock->path);
        g_clear_pointer(&mock->path, g_free);
    }
}

void mock_free(Mock *mock)
{
    if (!mock) {
        return;
    }
    mock_stop(mock);
    mock_device_destroy(mock);
    mock_migration_destroy(mock);
    mock_irq_destroy(mock);
    mock_dma_destroy(mock);
    mock_script_destroy(mock);
    mock_journal_close(mock);
    g_ptr_array_unref(mock->requests);
    close(mock->wake_fd);
    g_mutex_clear(&mock->lock);
    g_cond_clear(&mock->changed);
    g_free((char *)mock->config.capabilities);
    g_free((char *)mock->config.journal_path);
    g_free(mock);
}

void mock_disconnect(Mock *mock)
{
    g_mutex_lock(&mock->lock);
    if (mock->connected) {
        mock->drop = true;
        mock_wake(mock);
        while (mock->drop) {
            g_cond_wait(&mock->changed, &mock->lock);
        }
    }
    g_mutex_unlock(&mock->lock);
}

bool mock_wait_connected(Mock *mock, bool connected, unsigned timeout_ms)
{
    MOCK_LOCK_GUARD(mock);
    int64_t deadline = mock_deadline(timeout_ms);

    while (mock->connected != connected) {
        if (!g_cond_wait_until(&mock->changed, &mock->lock, deadline)) {
            return false;
        }
    }
    return true;
}

bool mock_wait_finished(Mock *mock, unsigned timeout_ms)
{
    MOCK_LOCK_GUARD(mock);
    int64_t deadline = mock_deadline(timeout_ms);

    while (!mock->finished) {
        if (!g_cond_wait_until(&mock->changed, &mock->lock, deadline)) {
            return false;
        }
    }
    return true;
}
