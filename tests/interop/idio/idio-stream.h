/*
 * A PCI-IDIO-16's state as chunks of migration data: in pre-copy the blocks of
 * its image that have changed since they were sent, at the end the rest and a
 * checksum of all.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef IDIO_STREAM_H
#define IDIO_STREAM_H

#include "idio-device.h"

#define IDIO_BLOCKS (IDIO_IMAGE_SIZE / IDIO_BLOCK_SIZE)
#define IDIO_CHUNK_HEADER_SIZE 8
#define IDIO_CHUNK_SIZE (IDIO_CHUNK_HEADER_SIZE + IDIO_BLOCK_SIZE)

/* What has left; a chunk has when all of its bytes were read */
typedef struct IdioSaver {
    uint8_t sent[IDIO_IMAGE_SIZE];
    uint32_t sent_blocks;
    bool end_sent;
    uint8_t chunk[IDIO_CHUNK_SIZE];
    size_t chunk_size;          /* 0: none is prepared */
    size_t chunk_read;
    unsigned chunk_block;
} IdioSaver;

/* What has come */
typedef struct IdioLoader {
    uint8_t chunk[IDIO_CHUNK_SIZE];
    size_t chunk_size;
    uint8_t image[IDIO_IMAGE_SIZE];
    uint32_t blocks;
    bool complete;
} IdioLoader;

/* A new stream begins: nothing was sent. */
void idio_saver_start(IdioSaver *saver);

/* All blocks are to be sent again. */
void idio_saver_repeat(IdioSaver *saver);

/* The chunk that was prepared is done with, sent if it was read as a whole. */
void idio_saver_settle(IdioSaver *saver);

/*
 * Bytes of all chunks still to send of @device: when it is @stopped the end
 * is one of them.
 */
size_t idio_saver_pending(IdioSaver *saver, const IdioDevice *device,
                          bool stopped);

/* Make the next chunk; returns its size, 0 when there is nothing to send. */
size_t idio_saver_prepare(IdioSaver *saver, const IdioDevice *device,
                          bool stopped);

/* Part of the chunk; false if it does not lie within. */
bool idio_saver_read(IdioSaver *saver, void *data, size_t count,
                     size_t offset);

/* A stream is expected: nothing has come. */
void idio_loader_start(IdioLoader *loader);

/* A chunk is expected. */
void idio_loader_prepare(IdioLoader *loader);

/* Part of a chunk; false if it is longer than one can be. */
bool idio_loader_write(IdioLoader *loader, const void *data, size_t count,
                       size_t offset);

/* A chunk of @size has come; false if it makes no sense. */
bool idio_loader_take(IdioLoader *loader, size_t size);

/* The stream has ended: give it to @device, false if that cannot be. */
bool idio_loader_finish(IdioLoader *loader, IdioDevice *device);

#endif /* IDIO_STREAM_H */
