/*
 * A vfio-user server that does as little as possible for each message, to
 * measure a client with.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_BENCH_VFIO_USER_BENCH_SERVER_H
#define TESTS_BENCH_VFIO_USER_BENCH_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_MAX_DATA (1u << 20)
#define BENCH_MAX_MESSAGE (BENCH_MAX_DATA + 4096)
#define BENCH_REPLY 0x01u
#define BENCH_NO_REPLY 0x10u
#define BENCH_ERROR 0x20u

typedef struct BenchHeader {
    uint16_t id;
    uint16_t command;
    uint32_t size;              /* of the whole message */
    uint32_t flags;
    uint32_t error;
} BenchHeader;

typedef struct BenchOptions {
    uint64_t bar_size;
    uint64_t max_data;          /* bytes of data in a message */
    uint64_t state_size;        /* bytes of device data */
    uint64_t window_size;       /* of the migration region's data area */
    uint64_t chunk_size;        /* data_size of one chunk */
    bool mapped;                /* the data area can be mapped */
    int64_t delay_dirty_us;     /* answer DIRTY_PAGES so much later */
    int64_t delay_state_us;     /* likewise a write of device_state */
    int64_t delay_map_us;       /* likewise DMA_MAP and DMA_UNMAP */
    int64_t delay_info_us;      /* likewise the queries of realize */
    int64_t delay_us;           /* likewise all others */
} BenchOptions;

/*
 * An answer.  head is copied by whoever sends it; data is constant and
 * borrowed, 0 bytes for none.
 */
typedef struct BenchReply {
    uint8_t head[256];
    size_t head_size;           /* with the header */
    const void *data;
    size_t data_size;
    int fd;                     /* to pass, -1 for none; stays the device's */
    int64_t delay_us;           /* from now until it is sent */
} BenchReply;

/* What a message was about, for the log */
typedef struct BenchAccess {
    bool has_region;
    bool has_value;
    uint32_t region;
    uint32_t count;
    uint64_t offset;
    uint64_t value;
} BenchAccess;

/* Set the device up; returns false, having said why, if that fails. */
bool bench_device_init(const BenchOptions *options);

/*
 * Execute the command @header with its @size bytes of payload, and fill in
 * @reply and @access.  An unknown command is answered with ENOTSUP, one that
 * is too short with EINVAL.
 */
void bench_device_execute(const BenchHeader *header, const uint8_t *payload,
                          size_t size, BenchReply *reply, BenchAccess *access);

/* Microseconds of the monotonic clock */
int64_t bench_now_us(void);

/* Remember one message; nothing is written before bench_log_write(). */
void bench_log_add(const BenchHeader *header, bool reply,
                   const BenchAccess *access);

/*
 * Write what was remembered to @path, as the mock server writes its journal;
 * returns false with errno set if that fails.
 */
bool bench_log_write(const char *path);

#endif /* TESTS_BENCH_VFIO_USER_BENCH_SERVER_H */
