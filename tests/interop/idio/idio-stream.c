/*
 * A PCI-IDIO-16's state as chunks of migration data. All numbers in them are
 * little-endian: u32 magic, u16 version, u16 number of the block, and its
 * bytes; or the number END, and a u32 checksum of the whole image.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "idio-stream.h"
#include <string.h>

#define MAGIC 0x4f494449        /* "IDIO" */
#define VERSION 1
#define END 0xffff
#define SUM_SIZE 4
#define ALL_BLOCKS ((1u << IDIO_BLOCKS) - 1)

_Static_assert(IDIO_IMAGE_SIZE % IDIO_BLOCK_SIZE == 0 && IDIO_BLOCKS < 32,
               "a bit for each block");

static void put_number(uint8_t *data, uint32_t value, size_t size)
{
    size_t i;

    for (i = 0; i < size; i++) {
        data[i] = value >> 8 * i;
    }
}

static uint32_t get_number(const uint8_t *data, size_t size)
{
    uint32_t value = 0;
    size_t i;

    for (i = 0; i < size; i++) {
        value |= (uint32_t)data[i] << 8 * i;
    }
    return value;
}

/* FNV-1a */
static uint32_t image_sum(const uint8_t image[IDIO_IMAGE_SIZE])
{
    uint32_t sum = 2166136261u;
    size_t i;

    for (i = 0; i < IDIO_IMAGE_SIZE; i++) {
        sum = (sum ^ image[i]) * 16777619u;
    }
    return sum;
}

void idio_saver_start(IdioSaver *saver)
{
    memset(saver, 0, sizeof(*saver));
}

void idio_saver_repeat(IdioSaver *saver)
{
    saver->sent_blocks = 0;
}

void idio_saver_settle(IdioSaver *saver)
{
    if (saver->chunk_size && saver->chunk_read == saver->chunk_size) {
        if (saver->chunk_block == END) {
            saver->end_sent = true;
        } else {
            memcpy(&saver->sent[saver->chunk_block * IDIO_BLOCK_SIZE],
                   &saver->chunk[IDIO_CHUNK_HEADER_SIZE], IDIO_BLOCK_SIZE);
            saver->sent_blocks |= 1u << saver->chunk_block;
        }
    }
    saver->chunk_size = saver->chunk_read = 0;
}

/* The blocks that have not been sent as they are, a bit each */
static uint32_t unsent_blocks(const IdioSaver *saver,
                              const uint8_t image[IDIO_IMAGE_SIZE])
{
    uint32_t unsent = ALL_BLOCKS & ~saver->sent_blocks;
    unsigned block;

    for (block = 0; block < IDIO_BLOCKS; block++) {
        size_t at = block * IDIO_BLOCK_SIZE;

        if (memcmp(&saver->sent[at], &image[at], IDIO_BLOCK_SIZE)) {
            unsent |= 1u << block;
        }
    }
    return unsent;
}

size_t idio_saver_pending(IdioSaver *saver, const IdioDevice *device,
                          bool stopped)
{
    uint8_t image[IDIO_IMAGE_SIZE];
    size_t chunks;

    idio_saver_settle(saver);
    idio_device_save(device, image);
    chunks = __builtin_popcount(unsent_blocks(saver, image));
    if (stopped && !saver->end_sent) {
        chunks++;
    }
    return chunks * IDIO_CHUNK_SIZE;
}

size_t idio_saver_prepare(IdioSaver *saver, const IdioDevice *device,
                          bool stopped)
{
    uint8_t *body = &saver->chunk[IDIO_CHUNK_HEADER_SIZE];
    uint8_t image[IDIO_IMAGE_SIZE];
    uint32_t unsent;

    idio_saver_settle(saver);
    idio_device_save(device, image);
    unsent = unsent_blocks(saver, image);
    if (unsent) {
        saver->chunk_block = __builtin_ctz(unsent);
        memcpy(body, &image[saver->chunk_block * IDIO_BLOCK_SIZE],
               IDIO_BLOCK_SIZE);
        saver->chunk_size = IDIO_CHUNK_SIZE;
    } else if (stopped && !saver->end_sent) {
        saver->chunk_block = END;
        put_number(body, image_sum(image), SUM_SIZE);
        saver->chunk_size = IDIO_CHUNK_HEADER_SIZE + SUM_SIZE;
    } else {
        return 0;
    }
    put_number(&saver->chunk[0], MAGIC, 4);
    put_number(&saver->chunk[4], VERSION, 2);
    put_number(&saver->chunk[6], saver->chunk_block, 2);
    return saver->chunk_size;
}

bool idio_saver_read(IdioSaver *saver, void *data, size_t count,
                     size_t offset)
{
    if (offset > saver->chunk_size || count > saver->chunk_size - offset) {
        return false;
    }
    memcpy(data, &saver->chunk[offset], count);
    if (offset <= saver->chunk_read && saver->chunk_read < offset + count) {
        saver->chunk_read = offset + count;
    }
    return true;
}

void idio_loader_start(IdioLoader *loader)
{
    memset(loader, 0, sizeof(*loader));
}

void idio_loader_prepare(IdioLoader *loader)
{
    loader->chunk_size = 0;
}

bool idio_loader_write(IdioLoader *loader, const void *data, size_t count,
                       size_t offset)
{
    if (offset != loader->chunk_size ||
        count > sizeof(loader->chunk) - offset) {
        return false;
    }
    memcpy(&loader->chunk[offset], data, count);
    loader->chunk_size += count;
    return true;
}

bool idio_loader_take(IdioLoader *loader, size_t size)
{
    const uint8_t *body = &loader->chunk[IDIO_CHUNK_HEADER_SIZE];
    uint32_t block;

    if (size != loader->chunk_size || size < IDIO_CHUNK_HEADER_SIZE ||
        get_number(&loader->chunk[0], 4) != MAGIC ||
        get_number(&loader->chunk[4], 2) != VERSION) {
        return false;
    }
    loader->chunk_size = 0;
    block = get_number(&loader->chunk[6], 2);
    size -= IDIO_CHUNK_HEADER_SIZE;
    if (block == END) {
        loader->complete = size == SUM_SIZE &&
                           loader->blocks == ALL_BLOCKS &&
                           get_number(body, SUM_SIZE) ==
                           image_sum(loader->image);
        return loader->complete;
    }
    if (block >= IDIO_BLOCKS || size != IDIO_BLOCK_SIZE) {
        return false;
    }
    memcpy(&loader->image[block * IDIO_BLOCK_SIZE], body, IDIO_BLOCK_SIZE);
    loader->blocks |= 1u << block;
    loader->complete = false;
    return true;
}

bool idio_loader_finish(IdioLoader *loader, IdioDevice *device)
{
    return loader->complete && idio_device_load(device, loader->image);
}
