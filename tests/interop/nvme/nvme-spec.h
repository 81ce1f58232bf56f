/*
 * Numbers of the NVM Express base specification, as far as a small controller
 * needs them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NVME_SPEC_H
#define NVME_SPEC_H

#include <stdint.h>

#define NVME_PAGE 4096

/* Registers of BAR 0 */
enum {
    NVME_REG_CAP = 0x00,        /* 8 bytes */
    NVME_REG_VS = 0x08,
    NVME_REG_INTMS = 0x0c,
    NVME_REG_INTMC = 0x10,
    NVME_REG_CC = 0x14,
    NVME_REG_CSTS = 0x1c,
    NVME_REG_AQA = 0x24,
    NVME_REG_ASQ = 0x28,        /* 8 bytes */
    NVME_REG_ACQ = 0x30,        /* 8 bytes */
    NVME_REG_DOORBELLS = 0x1000,
};

#define NVME_VERSION 0x00010400

/* CAP: the low bits hold the largest number of a queue's last entry */
#define NVME_CAP_CONTIGUOUS (1ull << 16)
#define NVME_CAP_TIMEOUT_SHIFT 24       /* in units of half a second */
#define NVME_CAP_NVM_COMMANDS (1ull << 37)

#define NVME_CC_ENABLE 1u
#define NVME_CC_COMMAND_SET 0x70u       /* 0: NVM */
#define NVME_CC_PAGE_SIZE 0x780u        /* 0: 4 KiB */
#define NVME_CC_SHUTDOWN 0xc000u

#define NVME_CSTS_READY 1u
#define NVME_CSTS_FATAL 2u
#define NVME_CSTS_SHUT_DOWN 8u

enum {
    NVME_ADMIN_DELETE_SQ = 0x00,
    NVME_ADMIN_CREATE_SQ = 0x01,
    NVME_ADMIN_GET_LOG_PAGE = 0x02,
    NVME_ADMIN_DELETE_CQ = 0x04,
    NVME_ADMIN_CREATE_CQ = 0x05,
    NVME_ADMIN_IDENTIFY = 0x06,
    NVME_ADMIN_ABORT = 0x08,
    NVME_ADMIN_SET_FEATURES = 0x09,
    NVME_ADMIN_GET_FEATURES = 0x0a,
    NVME_ADMIN_ASYNC_EVENT = 0x0c,
};

enum {
    NVME_IO_FLUSH = 0x00,
    NVME_IO_WRITE = 0x01,
    NVME_IO_READ = 0x02,
};

/* What Identify is asked for (CNS) */
enum {
    NVME_IDENTIFY_NAMESPACE = 0,
    NVME_IDENTIFY_CONTROLLER = 1,
    NVME_IDENTIFY_LIST = 2,
    NVME_IDENTIFY_DESCRIPTORS = 3,
};

enum {
    NVME_FEATURE_LBA_RANGES = 3,
    NVME_FEATURE_QUEUES = 7,
    NVME_FEATURES = 0x0c,       /* those that any controller has */
};

enum {
    NVME_LOG_ERRORS = 1,
    NVME_LOG_HEALTH = 2,
    NVME_LOG_FIRMWARE = 3,
};

/* Status codes, with their type in bits 8 to 10 */
enum {
    NVME_SUCCESS = 0,
    NVME_INVALID_OPCODE = 0x01,
    NVME_INVALID_FIELD = 0x02,
    NVME_TRANSFER_ERROR = 0x04,
    NVME_INTERNAL_ERROR = 0x06,
    NVME_INVALID_NAMESPACE = 0x0b,
    NVME_INVALID_PRP_OFFSET = 0x13,
    NVME_LBA_OUT_OF_RANGE = 0x80,
    NVME_INVALID_CQ = 0x100,
    NVME_INVALID_QUEUE_ID = 0x101,
    NVME_INVALID_QUEUE_SIZE = 0x102,
    NVME_TOO_MANY_EVENTS = 0x105,
    NVME_INVALID_VECTOR = 0x108,
    NVME_INVALID_LOG_PAGE = 0x109,
    NVME_INVALID_DELETION = 0x10c,
};

#define NVME_CREATE_CONTIGUOUS 1u
#define NVME_CREATE_INTERRUPTS 2u

#define NVME_NAMESPACE 1        /* the only one */
#define NVME_ALL_NAMESPACES 0xffffffff

/* In the guest's memory numbers are little-endian, and taken as they are */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "byte order");

typedef struct NvmeCommand {
    uint8_t opcode;
    uint8_t flags;
    uint16_t id;
    uint32_t namespace;
    uint32_t reserved[2];
    uint64_t metadata;
    uint64_t prp1;
    uint64_t prp2;
    uint32_t dw10;
    uint32_t dw11;
    uint32_t dw12;
    uint32_t dw13;
    uint32_t dw14;
    uint32_t dw15;
} NvmeCommand;
_Static_assert(sizeof(NvmeCommand) == 64, "size of a command");

typedef struct NvmeCompletion {
    uint32_t result;
    uint32_t reserved;
    uint16_t head;              /* of the submission queue */
    uint16_t queue;
    uint16_t id;
    uint16_t status;            /* bit 0 is the phase */
} NvmeCompletion;
_Static_assert(sizeof(NvmeCompletion) == 16, "size of a completion");

#endif /* NVME_SPEC_H */
