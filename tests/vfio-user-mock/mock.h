/*
 * Mock vfio-user server: a PCI device with migration (protocol v1) behind a
 * UNIX socket, a script of faults and a journal of every message.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef VFIO_USER_MOCK_H
#define VFIO_USER_MOCK_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "mock-numbers.h"
#include "mock-journal.h"
#include "mock-script.h"

/*
 * Threads: mock_start() makes one server thread. Every function below may be
 * called from any other thread unless it says otherwise; one internal lock
 * guards the device, the script and the journal. Timeouts are milliseconds.
 */

/*
 * What the device_state register accepts, and what a reset or a new connection
 * does to it.
 *
 * STRICT   the specification's table, self transitions refused; a reset in any
 *          state leads to RUNNING; a reconnect keeps the state
 * LVU1     libvfio-user v1 as measured: its table (with the slip in the
 *          pre-copy row), commands refused in STOP and STOP_COPY, only the
 *          migration region in STOP_COPY, a reset or reconnect leads to
 *          RUNNING, ERROR is for ever; after pending_bytes was 0 it stays so
 *          until the next write of device_state
 * RESET_TO_RUNNING  STRICT, but a reset is refused in STOP and STOP_COPY,
 *          otherwise it leads to RUNNING, and so does a reconnect, and a reset
 *          of the function by the guest (which keeps the state on the others)
 * STATE_KEPT        STRICT, but a reset is refused in STOP and STOP_COPY,
 *          otherwise it keeps the state, and so does a reconnect
 */
typedef enum MockBehaviour {
    MOCK_BEHAVIOUR_LVU1,
    MOCK_BEHAVIOUR_STRICT,
    MOCK_BEHAVIOUR_RESET_TO_RUNNING,
    MOCK_BEHAVIOUR_STATE_KEPT,
} MockBehaviour;

#define MOCK_NUM_BEHAVIOURS 4

/* "strict", "lvu1", "reset-to-running", "state-kept"; false: another name */
bool mock_behaviour_parse(const char *name, MockBehaviour *behaviour);

/* The same the other way round. */
const char *mock_behaviour_name(MockBehaviour behaviour);

typedef struct MockConfig {
    MockBehaviour behaviour;
    uint32_t initial_state;         /* device_state at mock_new() */
    bool refuse_when_stopped;       /* as LVU1 does, for any behaviour */

    /* PCI device */
    uint32_t config_size;           /* 256 or 4096 */
    uint64_t bar0_size;             /* region size as told to the client */
    uint64_t bar2_size;             /* 0: no BAR2 */
    unsigned bar2_areas;            /* mmap-able areas; 0: not mmap-able */
    uint16_t pci_device_id;
    bool msi;                       /* MSI capability with one vector */
    bool function_reset;            /* by advanced features, and by D3 to D0 */
    bool no_intx;
    bool no_msix;
    uint32_t num_regions;           /* as told by DEVICE_GET_INFO */
    uint32_t num_irqs;
    uint32_t num_msix_vectors;      /* as told by DEVICE_GET_IRQ_INFO */
    bool no_reset;                  /* no reset flag in DEVICE_GET_INFO */

    /* Version and limits */
    uint16_t version_major;
    uint16_t version_minor;         /* the highest offered */
    const char *capabilities;       /* sent instead of the real JSON */
    bool no_capabilities;           /* no JSON at all in the reply */
    uint32_t max_msg_fds;
    uint64_t max_data_xfer_size;
    uint64_t pgsize;                /* of the dirty log */
    unsigned max_dma_regions;       /* 0: no limit */
    /*
     * Commands of the server have a socket of their own, if the client offers
     * that: twin_socket in the version's capabilities
     */
    bool twin_socket;

    /* Migration region */
    bool no_migration;
    uint64_t migration_size;        /* bytes of device data; 0 or >= 512 */
    uint64_t window_size;           /* size of the data area */
    uint64_t chunk_size;            /* at most window_size */
    bool window_mmap;               /* data area mmap-able */
    unsigned precopy_rounds;        /* rounds of data offered in pre-copy */
    uint64_t precopy_round_size;    /* bytes of a round */
    /* Told as pending_bytes while a round has data; 0: what it has left */
    uint64_t precopy_pending;
    uint64_t seed;                  /* of the generated data */
    bool no_sum;                    /* no SHA-256 (benchmarks) */

    /* Journal and script */
    const char *journal_path;       /* NULL: in memory only */
    bool journal_no_memory;         /* do not keep entries (long runs) */
    const MockRule *rules;
    size_t num_rules;
} MockConfig;

/* Fill *config with the defaults: LVU1, 1 MiB of device data, no script. */
void mock_config_init(MockConfig *config);

/*
 * Make a server, not yet listening. Copies all that *config points to.
 * Returns NULL and sets *error when the configuration makes no sense or the
 * journal cannot be created. Free with mock_free().
 */
Mock *mock_new(const MockConfig *config, GError **error);

/*
 * Listen on a new UNIX socket at path and serve, one client at a time, in a
 * new thread. A path that is too long, exists and is served, or cannot be
 * bound: false and *error; a stale socket is replaced. mock_stop() unlinks it.
 */
bool mock_start(Mock *mock, const char *path, GError **error);

/*
 * Serve one connected stream socket in a new thread; the mock owns fd from now
 * on, on failure too. There is no second connection after it ends.
 */
bool mock_start_fd(Mock *mock, int fd, GError **error);

/* End the thread and the connection; idempotent. The journal stays readable. */
void mock_stop(Mock *mock);

/* mock_stop(), then free everything. NULL is fine. */
void mock_free(Mock *mock);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Mock, mock_free)

/*
 * End the present connection, if any, as a server does that goes away; the
 * next client is accepted. Returns once the socket is closed.
 */
void mock_disconnect(Mock *mock);

/*
 * Wait until a client is connected (or none is). True if so within timeout_ms.
 */
bool mock_wait_connected(Mock *mock, bool connected, unsigned timeout_ms);

/*
 * Wait until the thread has ended by itself, as it does after the connection
 * of mock_start_fd(). True if so within timeout_ms.
 */
bool mock_wait_finished(Mock *mock, unsigned timeout_ms);

uint32_t mock_device_state(Mock *mock);

/* Wait until device_state has this value; true if so within timeout_ms. */
bool mock_wait_device_state(Mock *mock, uint32_t device_state,
                            unsigned timeout_ms);

/* Scratch register 0..15 of BAR0. */
uint64_t mock_scratch_get(Mock *mock, unsigned index);
void mock_scratch_set(Mock *mock, unsigned index, uint64_t value);

/* Number of device resets seen (DEVICE_RESET executed). */
unsigned mock_reset_count(Mock *mock);

/*
 * Raise an interrupt by writing the eventfd the client gave for it. INTx sets
 * the status bit and stays silent while masked. 0; -ENOENT without eventfd;
 * -EINVAL for no such interrupt.
 */
int mock_raise_irq(Mock *mock, unsigned index, unsigned vector);

/*
 * Wait until the client writes the eventfd that it gave to unmask INTx, and
 * unmask it. True if so within timeout_ms; false at once if it gave none.
 */
bool mock_wait_unmask(Mock *mock, unsigned timeout_ms);

/* Number of vectors of this interrupt type that have an eventfd. */
unsigned mock_irq_count(Mock *mock, unsigned index);

/*
 * Write to or read from the client's memory through the mapping of the file
 * descriptor it sent. The range must lie in one mapped region that allows it;
 * a write marks its pages in the dirty log. 0; -ENOENT if nothing is mapped
 * there; -EACCES if the region's flags forbid it; -ENODEV if it has no fd.
 */
int mock_dma_write(Mock *mock, uint64_t iova, const void *buffer, size_t size);
int mock_dma_read(Mock *mock, uint64_t iova, void *buffer, size_t size);

/*
 * The same by DMA_WRITE and DMA_READ messages to the client, whatever is
 * mapped, in one message; waits for the reply while the server serves on.
 * Does not touch the dirty log (the client marks such pages itself). 0; the
 * client's -errno; -ETIMEDOUT; -ENOTCONN; -EPROTO for a malformed reply. Not
 * to be called by the server's own thread.
 */
int mock_dma_write_by_message(Mock *mock, uint64_t iova, const void *buffer,
                              size_t size, unsigned timeout_ms);
int mock_dma_read_by_message(Mock *mock, uint64_t iova, void *buffer,
                             size_t size, unsigned timeout_ms);

/*
 * Take the file behind a region that the client may map (BAR2, migration) so
 * that @size bytes of the region are left, by the file's length: the mock must
 * not reach the rest either any more. 0 or -errno.
 */
int mock_shrink_region(Mock *mock, uint32_t region, uint64_t size);

/* Empty the client's file that is mapped at @iova. 0 or -errno. */
int mock_shrink_memory(Mock *mock, uint64_t iova);

/*
 * Send a command of any number with any payload and wait for the reply. 0; the
 * client's -errno; -ETIMEDOUT; -ENOTCONN.
 */
int mock_ask(Mock *mock, uint16_t command, const void *body, size_t size,
             unsigned timeout_ms);

/*
 * @number times DMA_READ of @size bytes at @iova, with @window of them under
 * way at once, all within @timeout_ms. What does not fit the socket is sent
 * before answers are read. Returns how many have succeeded.
 */
unsigned mock_flood(Mock *mock, uint64_t iova, size_t size, unsigned number,
                    unsigned window, unsigned timeout_ms);

/* Number of DMA regions mapped now. */
unsigned mock_dma_region_count(Mock *mock);

/* True if exactly this range is mapped; *has_fd (may be NULL) tells how. */
bool mock_dma_is_mapped(Mock *mock, uint64_t iova, uint64_t size,
                        bool *has_fd);

/* True while the dirty log is on. */
bool mock_dirty_is_logging(Mock *mock);

/*
 * Migration data. Saved: what the client has read since the last transition
 * from RUNNING to a saving state (a chunk counts once all of it was read).
 * Loaded: what it has written since the last transition to RESUMING.
 * Returns the SHA-256 in hexadecimal (free with g_free(); NULL with no_sum);
 * *bytes (may be NULL) becomes the number of bytes, *chunks of chunks.
 */
char *mock_saved_sum(Mock *mock, uint64_t *bytes, unsigned *chunks);
char *mock_loaded_sum(Mock *mock, uint64_t *bytes, unsigned *chunks);

/*
 * True after a load that was complete and right (each byte as its source
 * generated it, the trailer there); otherwise *why, if not NULL, becomes a
 * text to be freed with g_free().
 */
bool mock_loaded_is_good(Mock *mock, char **why);

#endif /* VFIO_USER_MOCK_H */
