/*
 * What the mock's source files share. Not for users of the library.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef VFIO_USER_MOCK_INTERNAL_H
#define VFIO_USER_MOCK_INTERNAL_H

#include "mock.h"
#include "mock-codec.h"
#include "mock-socket.h"
#include <stdio.h>

/* --- mock-journal.c --- */

typedef struct MockJournal {
    GArray *entries;            /* of MockEntry */
    FILE *file;
    bool no_memory;
} MockJournal;

/* All of these with the lock held */
bool mock_journal_open(Mock *mock, GError **error);
void mock_journal_close(Mock *mock);
void mock_journal_append(Mock *mock, const MockEntry *entry);
bool mock_pattern_matches(const MockPattern *pattern, const MockEntry *entry);
int64_t mock_deadline(unsigned timeout_ms);

/* --- mock-script.c --- */

typedef struct MockScript {
    GPtrArray *rules;
    unsigned held;              /* commands held back or deferred now */
    unsigned generation;        /* of mock_release() */
} MockScript;

/* All of these with the lock held */
void mock_script_init(Mock *mock);
void mock_script_destroy(Mock *mock);
/*
 * The rule for this command: a copy without payload bytes, which go to *data
 * (a new reference). Action NONE if no rule applies.
 */
MockRule mock_script_match(Mock *mock, const MockEntry *entry, GBytes **data);
const char *mock_action_name(MockAction action);

/* --- mock-migration.c: device_state, generated data --- */

typedef struct MockSave {
    uint64_t generation;        /* of the data: one per saving session */
    uint64_t position;          /* bytes of the stream delivered */
    uint64_t stop_copy_start;
    uint64_t total;             /* length of the stream, once in STOP_COPY */
    unsigned rounds;            /* pre-copy rounds begun */
    uint64_t round_left;
    uint64_t chunk_size;        /* of the prepared chunk */
    uint64_t chunk_read;        /* of it, read without gap from its start */
    bool chunk_delivered;       /* all of it has reached the client */
    uint64_t pending;           /* last told */
    uint64_t bytes;
    unsigned chunks;
    GChecksum *sum;
} MockSave;

typedef struct MockLoad {
    uint64_t position;
    uint64_t seed;
    uint64_t generation;
    uint64_t bytes;
    unsigned chunks;
    bool started;
    bool complete;
    char *trouble;              /* first thing found wrong */
    uint8_t *trailer;           /* applied on the way to RUNNING */
    GChecksum *sum;
} MockLoad;

typedef enum MockIterator {
    MOCK_ITERATOR_INITIAL,
    MOCK_ITERATOR_STARTED,
    MOCK_ITERATOR_PREPARED,
    MOCK_ITERATOR_FINISHED,
} MockIterator;

typedef struct MockMigration {
    uint32_t state;
    MockIterator iterator;
    int fd;                     /* memfd behind the data area */
    uint8_t *window;
    MockSave save;
    MockLoad load;
} MockMigration;

/* All of these with the lock held; results are 0 or -errno */
bool mock_migration_init(Mock *mock, GError **error);
void mock_migration_destroy(Mock *mock);
int mock_migration_read(Mock *mock, uint64_t offset, uint8_t *data,
                        uint32_t count);
int mock_migration_write(Mock *mock, uint64_t offset, const uint8_t *data,
                         uint32_t count);
int mock_migration_reset(Mock *mock);
void mock_migration_function_reset(Mock *mock);
void mock_migration_reconnect(Mock *mock);
bool mock_migration_allows(Mock *mock, uint16_t command);
bool mock_migration_allows_region(Mock *mock, uint32_t region);
uint64_t mock_migration_region_size(const Mock *mock);

/* --- mock-stream.c: the bytes of generated device data --- */

#define MOCK_STREAM_HEAD 64
#define MOCK_STREAM_TAIL 256
#define MOCK_STREAM_MIN 512

/* With the lock held */
void mock_stream_generate(Mock *mock, uint64_t position, uint8_t *data,
                          uint64_t size);
void mock_stream_tail(Mock *mock, uint8_t *data);
void mock_stream_load(Mock *mock, const uint8_t *data, uint64_t size);
void mock_stream_apply(Mock *mock, const uint8_t *tail);
void mock_load_reset(Mock *mock);
/* NULL if the load may end; otherwise why not (static or owned by load) */
const char *mock_load_trouble(Mock *mock);

/* --- mock-dma.c: the client's memory --- */

typedef struct MockDmaRegion {
    uint64_t iova;
    uint64_t size;
    uint64_t offset;
    uint32_t flags;             /* 1 readable, 2 writable */
    int fd;                     /* -1: by message only */
    uint8_t *base;              /* of the mapping */
    size_t base_size;
    uint8_t *memory;            /* base plus the offset's low bits */
    uint64_t *dirty;            /* bitmap while logging, fd only */
} MockDmaRegion;

typedef struct MockDma {
    GPtrArray *regions;
    bool logging;
} MockDma;

/* All of these with the lock held; results are 0 or -errno */
void mock_dma_init(Mock *mock);
void mock_dma_destroy(Mock *mock);
void mock_dma_drop_all(Mock *mock);
int mock_dma_map(Mock *mock, MockMessage *command);
int mock_dma_unmap(Mock *mock, MockMessage *command, MockMessage *reply);
int mock_dirty_pages(Mock *mock, MockMessage *command, MockMessage *reply);
/*
 * The memory of a range: 0 and *memory, or -errno as for mock_dma_write().
 * For writing, the pages are logged as dirty.
 */
int mock_dma_translate(Mock *mock, uint64_t iova, uint64_t size, bool write,
                       uint8_t **memory);

/* --- mock-irq.c --- */

typedef struct MockIrq {
    uint32_t count;
    int *fds;
    int unmask_fd;              /* INTx only; -1: none */
    bool masked;                /* INTx only */
    bool pending;
} MockIrq;

/* All of these with the lock held; results are 0 or -errno */
void mock_irq_init(Mock *mock);
void mock_irq_destroy(Mock *mock);
void mock_irq_drop_all(Mock *mock);
int mock_irq_get_info(Mock *mock, MockMessage *command, MockMessage *reply);
int mock_irq_set(Mock *mock, MockMessage *command);
int mock_irq_raise(Mock *mock, unsigned index, unsigned vector);

/* --- mock-device.c --- */

/* A DMA operation that has to be done by message, outside the lock */
typedef struct MockDoorbell {
    bool wanted;
    bool write;
    uint64_t iova;
    uint32_t size;
    uint8_t pattern;
} MockDoorbell;

typedef struct MockDevice {
    uint8_t config[4096];
    uint8_t config_mask[4096];  /* bits the client may write */
    uint64_t scratch[MOCK_NUM_SCRATCH];
    uint64_t dma_addr;
    uint32_t dma_length;
    uint32_t dma_pattern;
    uint32_t dma_status;
    uint32_t dma_result;
    uint32_t intx_status;
    unsigned resets;
    uint8_t bar4[4096];
    int bar2_fd;
    uint8_t *bar2;
    MockDoorbell doorbell;
} MockDevice;

/* Where the mmap-able regions begin in their files: not at 0, on purpose */
#define MOCK_BAR2_FILE_OFFSET 0x10000u
#define MOCK_MIG_FILE_OFFSET 0x20000u

/* All of these with the lock held; results are 0 or -errno */
bool mock_device_init(Mock *mock, GError **error);
void mock_device_destroy(Mock *mock);
void mock_device_reset(Mock *mock);
int mock_region_read(Mock *mock, uint32_t region, uint64_t offset,
                     uint8_t *data, uint32_t count);
int mock_region_write(Mock *mock, uint32_t region, uint64_t offset,
                      const uint8_t *data, uint32_t count);
uint64_t mock_region_size(const Mock *mock, uint32_t region);
int mock_device_get_info(Mock *mock, MockMessage *command, MockMessage *reply);
int mock_region_get_info(Mock *mock, MockMessage *command, MockMessage *reply);
int mock_region_get_io_fds(Mock *mock, MockMessage *command,
                           MockMessage *reply);
/* A new memfd of this size, mapped at *memory from file offset `offset` on */
int mock_memory_new(const char *name, uint64_t offset, uint64_t size,
                    uint8_t **memory);

/* --- mock-config.c --- */

void mock_pci_config_init(Mock *mock);
int mock_pci_config_read(Mock *mock, uint64_t offset, uint8_t *data,
                         uint32_t count);
int mock_pci_config_write(Mock *mock, uint64_t offset, const uint8_t *data,
                          uint32_t count);

/* --- mock-execute.c --- */

/* Carry out a command; the reply gets its payload. Lock held. 0 or -errno. */
int mock_execute(Mock *mock, MockMessage *command, MockMessage *reply);

/* --- mock-request.c --- */

/* A command of the server to the client, and its reply */
typedef struct MockRequest {
    MockMessage *command;
    MockMessage *reply;
    bool sent;
    bool done;
    int result;                 /* 0 or -errno of the exchange itself */
} MockRequest;

/* A reply that waits for mock_release() */
typedef struct MockDeferred {
    MockMessage *reply;
    unsigned generation;        /* of MockScript when it was held back */
} MockDeferred;

struct Mock {
    MockConfig config;          /* constant after mock_new() */
    GMutex lock;
    GCond changed;              /* broadcast whenever something below changes */

    /* Guarded by lock */
    MockJournal journal;
    MockScript script;
    MockDevice device;
    MockDma dma;
    MockIrq irqs[MOCK_NUM_IRQS];
    MockMigration migration;
    bool stop;
    bool drop;                  /* end the present connection */
    bool connected;
    bool negotiated;
    bool finished;
    uint64_t client_max_data_xfer_size;
    uint64_t client_max_msg_fds;
    GPtrArray *requests;        /* of MockRequest, owned by who waits */
    uint16_t next_id;

    /* Constant while the thread runs */
    int wake_fd;
    int listen_fd;
    char *path;
    GThread *thread;

    /* Server thread only */
    MockConnection connection;
    MockConnection twin;        /* fd -1: there is none */
    GQueue backlog;             /* of MockMessage: received, not yet executed */
    GQueue deferred;            /* of MockDeferred */
};

/* --- mock-server.c --- */

/* Hold the lock until the end of the block */
#define MOCK_LOCK_GUARD(mock) \
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = \
        g_mutex_locker_new(&(mock)->lock)

/* Tell the server thread to look at its work; any thread, any lock state. */
void mock_wake(Mock *mock);

/* --- mock-serve.c --- */

/*
 * Server thread, lock not held: poll once, read at most what has arrived,
 * put commands into the backlog, hand replies to those who wait for them, send
 * what is due. Returns after something happened or at deadline_us.
 */
MockIo mock_pump(Mock *mock, int64_t deadline_us);

/*
 * Server thread, lock not held: carry out one command as the script wants it
 * and answer. Takes over command.
 */
MockIo mock_serve(Mock *mock, MockMessage *command);
void mock_deferred_free(MockDeferred *deferred);

/* --- mock-request.c --- */

/* Lock held */
void mock_request_dispatch(Mock *mock, MockMessage *reply);
void mock_request_fail_all(Mock *mock);
MockRequest *mock_request_new(Mock *mock, bool write, uint64_t iova,
                              const void *buffer, uint64_t size);
int mock_request_finish(Mock *mock, MockRequest *request, void *buffer,
                        uint64_t size);
/* Lock not held, server thread: send what has not been sent */
MockIo mock_request_send_all(Mock *mock);
/* Lock not held, server thread: carry out the doorbell's DMA by message */
MockIo mock_doorbell_by_message(Mock *mock);

#endif /* VFIO_USER_MOCK_INTERNAL_H */
