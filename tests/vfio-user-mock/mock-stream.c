/*
 * The device data of a migration: head, generated body, tail; and the check of
 * what arrives at the other end. Every body byte follows from seed, generation
 * and position, so a lost, doubled or moved chunk is found where it is.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "mock-internal.h"
#include <string.h>

/*
 * head: magic, seed, generation; zeros up to MOCK_STREAM_HEAD
 * tail: magic, length of the stream, seed, generation, scratch registers,
 *       DMA address, length, pattern; zeros; check of the tail's other bytes.
 * The tail always is a chunk of its own. A head at the start of a chunk begins
 * the stream anew: that is what a source does whose pre-copy was interrupted.
 */
#define HEAD_MAGIC 0x3144414548434f4dull
#define TAIL_MAGIC 0x314c494154434f4dull

enum {
    TAIL_TOTAL = 8,
    TAIL_SEED = 16,
    TAIL_GENERATION = 24,
    TAIL_SCRATCH = 32,
    TAIL_DMA_ADDR = TAIL_SCRATCH + 8 * MOCK_NUM_SCRATCH,
    TAIL_DMA_LENGTH = TAIL_DMA_ADDR + 8,
    TAIL_DMA_PATTERN = TAIL_DMA_LENGTH + 4,
    TAIL_CHECK = MOCK_STREAM_TAIL - 8,
};

#define COMPARE_SIZE 65536u

/* The finalizer of the splitmix64 generator: well mixed, random access */
static uint64_t body_word(uint64_t key, uint64_t index)
{
    uint64_t z = key + (index + 1) * 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static void body_fill(uint64_t seed, uint64_t generation, uint64_t position,
                      uint8_t *data, uint64_t size)
{
    uint64_t key = seed ^ (generation << 40);
    uint64_t done = 0;

    while (done < size) {
        unsigned skip = (position + done) % 8;
        unsigned part = MIN(8 - skip, size - done);
        uint64_t word = body_word(key, (position + done) / 8);

        if (part == 8) {
            word = GUINT64_TO_LE(word);
            memcpy(data + done, &word, 8);
        } else {
            mock_store(data + done, word >> (8 * skip), part);
        }
        done += part;
    }
}

void mock_stream_generate(Mock *mock, uint64_t position, uint8_t *data,
                          uint64_t size)
{
    uint64_t generation = mock->migration.save.generation;

    body_fill(mock->config.seed, generation, position, data, size);
    if (!position) {
        memset(data, 0, MOCK_STREAM_HEAD);
        mock_store(data, HEAD_MAGIC, 8);
        mock_store(data + 8, mock->config.seed, 8);
        mock_store(data + 16, generation, 8);
    }
}

/* FNV-1a */
static uint64_t tail_check(const uint8_t *data)
{
    uint64_t hash = 0xcbf29ce484222325ull;
    unsigned i;

    for (i = 0; i < TAIL_CHECK; i++) {
        hash = (hash ^ data[i]) * 0x100000001b3ull;
    }
    return hash;
}

void mock_stream_tail(Mock *mock, uint8_t *data)
{
    const MockDevice *device = &mock->device;
    unsigned i;

    memset(data, 0, MOCK_STREAM_TAIL);
    mock_store(data, TAIL_MAGIC, 8);
    mock_store(data + TAIL_TOTAL, mock->migration.save.total, 8);
    mock_store(data + TAIL_SEED, mock->config.seed, 8);
    mock_store(data + TAIL_GENERATION, mock->migration.save.generation, 8);
    for (i = 0; i < MOCK_NUM_SCRATCH; i++) {
        mock_store(data + TAIL_SCRATCH + 8 * i, device->scratch[i], 8);
    }
    mock_store(data + TAIL_DMA_ADDR, device->dma_addr, 8);
    mock_store(data + TAIL_DMA_LENGTH, device->dma_length, 4);
    mock_store(data + TAIL_DMA_PATTERN, device->dma_pattern, 4);
    mock_store(data + TAIL_CHECK, tail_check(data), 8);
}

void mock_stream_apply(Mock *mock, const uint8_t *tail)
{
    MockDevice *device = &mock->device;
    unsigned i;

    for (i = 0; i < MOCK_NUM_SCRATCH; i++) {
        device->scratch[i] = mock_load(tail + TAIL_SCRATCH + 8 * i, 8);
    }
    device->dma_addr = mock_load(tail + TAIL_DMA_ADDR, 8);
    device->dma_length = mock_load(tail + TAIL_DMA_LENGTH, 4);
    device->dma_pattern = mock_load(tail + TAIL_DMA_PATTERN, 4);
}

static void G_GNUC_PRINTF(2, 3) trouble(MockLoad *load, const char *format,
                                        ...)
{
    va_list list;

    if (!load->trouble) {
        va_start(list, format);
        load->trouble = g_strdup_vprintf(format, list);
        va_end(list);
    }
}

void mock_load_reset(Mock *mock)
{
    MockLoad *load = &mock->migration.load;

    g_free(load->trouble);
    g_free(load->trailer);
    if (load->sum) {
        g_checksum_free(load->sum);
    }
    *load = (MockLoad) {
        .sum = mock->config.no_sum ? NULL : g_checksum_new(G_CHECKSUM_SHA256),
    };
}

static void load_head(MockLoad *load, const uint8_t *data)
{
    load->started = true;
    load->complete = false;
    load->position = MOCK_STREAM_HEAD;
    load->seed = mock_load(data + 8, 8);
    load->generation = mock_load(data + 16, 8);
    g_clear_pointer(&load->trouble, g_free);
    g_clear_pointer(&load->trailer, g_free);
}

static void load_tail(MockLoad *load, const uint8_t *data)
{
    load->position += MOCK_STREAM_TAIL;
    if (mock_load(data + TAIL_CHECK, 8) != tail_check(data)) {
        trouble(load, "the tail is damaged");
    } else if (mock_load(data + TAIL_SEED, 8) != load->seed ||
               mock_load(data + TAIL_GENERATION, 8) != load->generation) {
        trouble(load, "the tail belongs to another stream");
    } else if (mock_load(data + TAIL_TOTAL, 8) != load->position) {
        trouble(load, "%" G_GUINT64_FORMAT " bytes came, the source sent %"
                G_GUINT64_FORMAT, load->position,
                mock_load(data + TAIL_TOTAL, 8));
    } else {
        load->complete = true;
        load->trailer = g_malloc(MOCK_STREAM_TAIL);
        memcpy(load->trailer, data, MOCK_STREAM_TAIL);
    }
}

static void load_body(MockLoad *load, const uint8_t *data, uint64_t size)
{
    g_autofree uint8_t *expected = g_malloc(COMPARE_SIZE);

    while (size) {
        uint64_t part = MIN(size, COMPARE_SIZE), i;

        body_fill(load->seed, load->generation, load->position, expected,
                  part);
        if (memcmp(expected, data, part)) {
            for (i = 0; expected[i] == data[i]; i++) {
                continue;
            }
            trouble(load, "the byte at %" G_GUINT64_FORMAT " is wrong",
                    load->position + i);
        }
        load->position += part;
        data += part;
        size -= part;
    }
}

void mock_stream_load(Mock *mock, const uint8_t *data, uint64_t size)
{
    MockLoad *load = &mock->migration.load;

    load->bytes += size;
    load->chunks++;
    if (load->sum) {
        g_checksum_update(load->sum, data, size);
    }
    if (size >= MOCK_STREAM_HEAD && mock_load(data, 8) == HEAD_MAGIC) {
        load_head(load, data);
        data += MOCK_STREAM_HEAD;
        size -= MOCK_STREAM_HEAD;
    } else if (!load->started) {
        load->started = true;
        trouble(load, "the stream does not begin with a head");
        return;
    } else if (load->complete) {
        trouble(load, "%" G_GUINT64_FORMAT " bytes after the tail", size);
        return;
    } else if (size == MOCK_STREAM_TAIL && mock_load(data, 8) == TAIL_MAGIC) {
        load_tail(load, data);
        return;
    }
    load_body(load, data, size);
}

const char *mock_load_trouble(Mock *mock)
{
    const MockLoad *load = &mock->migration.load;

    if (load->trouble) {
        return load->trouble;
    }
    return load->started && !load->complete ? "the tail is missing" : NULL;
}
