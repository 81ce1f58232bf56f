/*
 * Stand-alone mock vfio-user server, with the options that the specification
 * asks of backend programs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "mock.h"
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static const char description[] =
    "A vfio-user server with a made-up PCI device, for tests: registers, DMA,\n"
    "interrupts, migration (protocol v1) with generated data, dirty log.\n"
    "SIGTERM and SIGINT end it, SIGUSR1 lets go what the script holds back.\n"
    "Exit status: 0 after an orderly end, 1 after an error.\n"
    "\n"
    "Script: a JSON array of rules; the first that applies acts. Which command:"
    "\n"
    "  command          \"REGION_WRITE\", ... or a number; absent: every one\n"
    "  nth              1: the first that matches, ...; absent: every one\n"
    "  region, offset, offset_from, count, value   integers to match\n"
    "What to do with it:\n"
    "  action           \"reply\" (data), \"error\" and \"error-after\" (errno),"
    "\n"
    "                   \"delay\" (ms), \"hold\", \"defer\", \"cut\" (bytes),\n"
    "                   \"dribble\" (bytes, ms), \"mangle\" (at, xor),\n"
    "                   \"truncate\" (bytes), \"extend\" (bytes),\n"
    "                   \"close-before\", \"close-after\", \"wrong-id\",\n"
    "                   \"wrong-command\" (reply_command), \"wrong-type\",\n"
    "                   \"no-reply\", \"duplicate\", \"extra-fd\", \"no-fds\",\n"
    "                   \"other-fds\" (fd)\n"
    "  data             payload in hexadecimal digits (reply, error,\n"
    "                   error-after, other-fds)\n"
    "Example: refuse the second write of device_state\n"
    "  [{\"command\": \"REGION_WRITE\", \"region\": 9, \"offset\": 0,\n"
    "    \"nth\": 2, \"action\": \"error\", \"errno\": 5}]\n"
    "\n"
    "Journal: one JSON object a line and message, with t (seconds), dir (c2s,\n"
    "s2c), type (command, reply), cmd, id, region, offset, count, value (data\n"
    "of up to 8 bytes), errno, fds.\n";

static char *socket_path;
static int socket_fd = -1;
static char *behaviour;
static char *script;
static gboolean print_sum;
static MockConfig config;

/* Where a number goes; all numbers are taken as 64 bits and narrowed later */
static gint64 initial_state, config_size, bar0_size, bar2_size, bar2_areas;
static gint64 num_regions, num_irqs, msix_vectors, version_major;
static gint64 version_minor, max_msg_fds, max_data_xfer_size, pgsize;
static gint64 max_dma_regions, migration_size, window_size, chunk_size;
static gint64 precopy_rounds, precopy_round_size, precopy_pending, seed;
static gboolean refuse_when_stopped, msi, no_intx, no_msix, no_reset;
static gboolean no_capabilities, no_migration, window_mmap, no_sum, twin_socket;
static char *capabilities, *journal;

#define NUMBER(name, variable, text) \
    { name, 0, 0, G_OPTION_ARG_INT64, &variable, text, "NUMBER" }
#define SWITCH(name, variable, text) \
    { name, 0, 0, G_OPTION_ARG_NONE, &variable, text, NULL }
#define STRING(name, variable, text, what) \
    { name, 0, 0, G_OPTION_ARG_STRING, &variable, text, what }
#define FILENAME(name, variable, text) \
    { name, 0, 0, G_OPTION_ARG_FILENAME, &variable, text, "FILE" }

static const GOptionEntry main_entries[] = {
    { "socket-path", 0, 0, G_OPTION_ARG_FILENAME, &socket_path,
      "Listen on this UNIX socket", "PATH" },
    { "fd", 0, 0, G_OPTION_ARG_INT, &socket_fd,
      "Serve this connected socket, then end", "N" },
    STRING("behaviour", behaviour,
           "strict, lvu1 (default), reset-to-running or state-kept", "NAME"),
    FILENAME("script", script, "Rules for faults (see below)"),
    FILENAME("journal", journal, "Write every message to this file"),
    SWITCH("print-sum", print_sum,
           "At the end print bytes and SHA-256 of saved and loaded data"),
    { .long_name = NULL }
};

static const GOptionEntry migration_entries[] = {
    SWITCH("no-migration", no_migration, "No migration region"),
    NUMBER("migration-size", migration_size,
           "Bytes of device data (0, or 512 and more)"),
    NUMBER("window-size", window_size, "Bytes of the data area"),
    NUMBER("chunk-size", chunk_size, "Bytes given at a time"),
    SWITCH("window-mmap", window_mmap, "The data area can be mapped"),
    NUMBER("precopy-rounds", precopy_rounds, "Rounds of data in pre-copy"),
    NUMBER("precopy-round-size", precopy_round_size, "Bytes of a round"),
    NUMBER("precopy-pending", precopy_pending,
           "pending_bytes told while a round has data (0: what is left)"),
    NUMBER("seed", seed, "Of the generated data"),
    NUMBER("initial-state", initial_state, "device_state at the start"),
    SWITCH("refuse-when-stopped", refuse_when_stopped,
           "Refuse most commands in STOP and STOP_COPY, as lvu1 does"),
    SWITCH("no-sum", no_sum, "No SHA-256 of the data"),
    { .long_name = NULL }
};

static const GOptionEntry device_entries[] = {
    NUMBER("config-size", config_size, "Configuration space: 256 or 4096"),
    NUMBER("bar0-size", bar0_size, "Size told for BAR0, any"),
    NUMBER("bar2-size", bar2_size, "Bytes of BAR2 (0: none)"),
    NUMBER("bar2-areas", bar2_areas, "Parts of BAR2 that can be mapped"),
    SWITCH("msi", msi, "MSI capability"),
    SWITCH("no-intx", no_intx, "No INTx"),
    SWITCH("no-msix", no_msix, "No MSI-X capability"),
    NUMBER("msix-vectors", msix_vectors, "Number of MSI-X vectors told"),
    SWITCH("no-reset", no_reset, "No reset flag"),
    NUMBER("num-regions", num_regions, "Number of regions told"),
    NUMBER("num-irqs", num_irqs, "Number of interrupt types told"),
    NUMBER("version-major", version_major, "Major version"),
    NUMBER("version-minor", version_minor, "Highest minor version"),
    STRING("capabilities", capabilities, "Version JSON sent as it is", "TEXT"),
    SWITCH("no-capabilities", no_capabilities, "No version JSON"),
    NUMBER("max-msg-fds", max_msg_fds, "Limit of fds in a message"),
    NUMBER("max-data-xfer-size", max_data_xfer_size, "Limit of data"),
    NUMBER("pgsize", pgsize, "Page size of the dirty log"),
    NUMBER("max-dma-regions", max_dma_regions, "Limit (0: none)"),
    SWITCH("twin-socket", twin_socket, "A socket for commands of its own"),
    { .long_name = NULL }
};

static void numbers_from_config(void)
{
    initial_state = config.initial_state;
    config_size = config.config_size;
    bar0_size = config.bar0_size;
    num_regions = config.num_regions;
    num_irqs = config.num_irqs;
    msix_vectors = config.num_msix_vectors;
    version_minor = config.version_minor;
    max_msg_fds = config.max_msg_fds;
    max_data_xfer_size = config.max_data_xfer_size;
    pgsize = config.pgsize;
    migration_size = config.migration_size;
    window_size = config.window_size;
    chunk_size = config.chunk_size;
    precopy_rounds = config.precopy_rounds;
    precopy_round_size = config.precopy_round_size;
    seed = config.seed;
}

static void numbers_to_config(void)
{
    config.initial_state = initial_state;
    config.config_size = config_size;
    config.bar0_size = bar0_size;
    config.bar2_size = bar2_size;
    config.bar2_areas = bar2_areas;
    config.num_regions = num_regions;
    config.num_irqs = num_irqs;
    config.num_msix_vectors = msix_vectors;
    config.version_major = version_major;
    config.version_minor = version_minor;
    config.max_msg_fds = max_msg_fds;
    config.max_data_xfer_size = max_data_xfer_size;
    config.pgsize = pgsize;
    config.max_dma_regions = max_dma_regions;
    config.migration_size = migration_size;
    config.window_size = window_size;
    config.chunk_size = chunk_size;
    config.precopy_rounds = precopy_rounds;
    config.precopy_round_size = precopy_round_size;
    config.precopy_pending = precopy_pending;
    config.seed = seed;
}

static void switches_to_config(void)
{
    config.refuse_when_stopped = refuse_when_stopped;
    config.msi = msi;
    config.no_intx = no_intx;
    config.twin_socket = twin_socket;
    config.no_msix = no_msix;
    config.no_reset = no_reset;
    config.capabilities = capabilities;
    config.no_capabilities = no_capabilities;
    config.no_migration = no_migration;
    config.window_mmap = window_mmap;
    config.no_sum = no_sum;
    config.journal_path = journal;
    config.journal_no_memory = true;
}

/* What only fits 16 or 32 bits in the configuration */
static bool check_narrow(GError **error)
{
    static const struct {
        const char *name;
        const gint64 *value;
        gint64 max;
    } narrow[] = {
        { "initial-state", &initial_state, UINT32_MAX },
        { "config-size", &config_size, UINT32_MAX },
        { "bar2-areas", &bar2_areas, UINT32_MAX },
        { "num-regions", &num_regions, UINT32_MAX },
        { "num-irqs", &num_irqs, UINT32_MAX },
        { "msix-vectors", &msix_vectors, UINT32_MAX },
        { "version-major", &version_major, UINT16_MAX },
        { "version-minor", &version_minor, UINT16_MAX },
        { "max-msg-fds", &max_msg_fds, UINT32_MAX },
        { "max-dma-regions", &max_dma_regions, UINT32_MAX },
        { "precopy-rounds", &precopy_rounds, UINT32_MAX },
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(narrow); i++) {
        if (*narrow[i].value < 0 || *narrow[i].value > narrow[i].max) {
            g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "--%s must be between 0 and %" G_GINT64_FORMAT,
                        narrow[i].name, narrow[i].max);
            return false;
        }
    }
    return true;
}

static void add_group(GOptionContext *context, const char *name,
                      const char *text, const GOptionEntry *entries)
{
    GOptionGroup *group = g_option_group_new(name, text, text, NULL, NULL);

    g_option_group_add_entries(group, entries);
    g_option_context_add_group(context, group);
}

static bool parse_options(int *argc, char ***argv, GError **error)
{
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);

    g_option_context_set_description(context, description);
    g_option_context_add_main_entries(context, main_entries, NULL);
    add_group(context, "migration", "Migration:", migration_entries);
    add_group(context, "device", "Device and limits:", device_entries);
    numbers_from_config();
    if (!g_option_context_parse(context, argc, argv, error) ||
        !check_narrow(error)) {
        return false;
    }
    if (*argc > 1) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "unexpected argument '%s'", (*argv)[1]);
        return false;
    }
    if (!socket_path == (socket_fd < 0)) {
        g_set_error_literal(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                            "give either --socket-path=PATH or --fd=N");
        return false;
    }
    if (behaviour && !mock_behaviour_parse(behaviour, &config.behaviour)) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "no such behaviour: '%s'", behaviour);
        return false;
    }
    numbers_to_config();
    switches_to_config();
    return true;
}

static gboolean on_end(void *opaque)
{
    g_main_loop_quit(opaque);
    return G_SOURCE_CONTINUE;
}

static gboolean on_release(void *opaque)
{
    mock_release(opaque);
    return G_SOURCE_CONTINUE;
}

typedef struct Watch {
    Mock *mock;
    GMainLoop *loop;
} Watch;

/*
 * The server ends by itself when the connection of --fd does. An idle source
 * waits for the loop to run, unlike g_main_loop_quit() from here.
 */
static void *watch_thread(void *opaque)
{
    Watch *watch = opaque;

    while (!mock_wait_finished(watch->mock, G_MAXUINT)) {
        continue;
    }
    g_idle_add(on_end, watch->loop);
    return NULL;
}

/* Signals are handled before the socket exists, so that it never stays */
static bool run(Mock *mock, GError **error)
{
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    Watch watch = { .mock = mock, .loop = loop };
    GThread *thread;

    g_unix_signal_add(SIGTERM, on_end, loop);
    g_unix_signal_add(SIGINT, on_end, loop);
    g_unix_signal_add(SIGUSR1, on_release, mock);
    if (!(socket_path ? mock_start(mock, socket_path, error) :
                        mock_start_fd(mock, socket_fd, error))) {
        return false;
    }
    thread = g_thread_new("watch", watch_thread, &watch);
    g_main_loop_run(loop);
    mock_stop(mock);
    g_thread_join(thread);
    return true;
}

static void print_sums(Mock *mock)
{
    uint64_t saved, loaded;
    g_autofree char *save = mock_saved_sum(mock, &saved, NULL);
    g_autofree char *load = mock_loaded_sum(mock, &loaded, NULL);
    g_autofree char *why = NULL;
    bool good = mock_loaded_is_good(mock, &why);

    printf("saved %" G_GUINT64_FORMAT " %s\n", saved, save ? save : "-");
    printf("loaded %" G_GUINT64_FORMAT " %s %s\n", loaded, load ? load : "-",
           good ? "good" : why);
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Mock) mock = NULL;

    g_set_prgname("vfio-user-mock");
    mock_config_init(&config);
    if (parse_options(&argc, &argv, &error)) {
        mock = mock_new(&config, &error);
    }
    if (!mock || (script && !mock_load_script(mock, script, &error)) ||
        !run(mock, &error)) {
        fprintf(stderr, "vfio-user-mock: %s\n", error->message);
        return EXIT_FAILURE;
    }
    if (print_sum) {
        print_sums(mock);
    }
    return EXIT_SUCCESS;
}
