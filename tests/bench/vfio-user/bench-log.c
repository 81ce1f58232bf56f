/*
 * What bench-server saw, kept in memory until the end.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "bench-server.h"
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include "../../vfio-user-mock/mock-numbers.h"

#define MOST_ENTRIES 100000

typedef struct Entry {
    int64_t time_us;
    BenchHeader header;
    BenchAccess access;
    bool reply;
} Entry;

static Entry entries[MOST_ENTRIES];
static size_t num_entries;

int64_t bench_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000ll + now.tv_nsec / 1000;
}

void bench_log_add(const BenchHeader *header, bool reply,
                   const BenchAccess *access)
{
    Entry *entry = &entries[num_entries];

    /* What is measured by the accesses themselves needs no log */
    if (num_entries == MOST_ENTRIES ||
        (access->has_region && access->region == MOCK_REGION_BAR0)) {
        return;
    }
    num_entries++;
    entry->time_us = bench_now_us();
    entry->header = *header;
    entry->access = *access;
    entry->reply = reply;
}

bool bench_log_write(const char *path)
{
    FILE *file = fopen(path, "w");
    size_t i;

    if (!file) {
        return false;
    }
    for (i = 0; i < num_entries; i++) {
        const Entry *entry = &entries[i];
        const BenchAccess *access = &entry->access;

        fprintf(file, "{\"t\": %" PRId64 ".%06" PRId64 ", \"dir\": \"%s\", "
                "\"type\": \"%s\", \"cmd\": \"%s\", \"id\": %u, "
                "\"errno\": %u",
                entry->time_us / 1000000, entry->time_us % 1000000,
                entry->reply ? "s2c" : "c2s",
                entry->reply ? "reply" : "command",
                mock_command_name(entry->header.command), entry->header.id,
                entry->header.error);
        if (access->has_region) {
            fprintf(file, ", \"region\": %u, \"offset\": %" PRIu64
                    ", \"count\": %u", access->region, access->offset,
                    access->count);
        }
        if (access->has_value) {
            fprintf(file, ", \"value\": %" PRIu64, access->value);
        }
        fputs("}\n", file);
    }
    return !fclose(file);
}
