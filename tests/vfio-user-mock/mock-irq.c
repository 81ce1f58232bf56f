/*
 * The mock's interrupts: eventfds from the client, masking, triggering.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "mock-internal.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#define INFO_EVENTFD 1u

#define DATA_NONE 1u
#define DATA_BOOL 2u
#define DATA_EVENTFD 4u
#define DATA_TYPES 7u
#define ACTION_MASK 8u
#define ACTION_UNMASK 16u
#define ACTION_TRIGGER 32u

typedef struct IrqSet {
    uint32_t argsz;
    uint32_t flags;
    uint32_t index;
    uint32_t start;
    uint32_t count;
    const uint8_t *bools;
    size_t num_bools;
} IrqSet;

static void set_count(MockIrq *irq, uint32_t count)
{
    uint32_t i;

    irq->count = count;
    irq->unmask_fd = -1;
    irq->fds = g_new(int, count);
    for (i = 0; i < count; i++) {
        irq->fds[i] = -1;
    }
}

void mock_irq_init(Mock *mock)
{
    const MockConfig *config = &mock->config;

    set_count(&mock->irqs[MOCK_IRQ_INTX], !config->no_intx);
    set_count(&mock->irqs[MOCK_IRQ_MSI], config->msi);
    set_count(&mock->irqs[MOCK_IRQ_MSIX],
              config->no_msix ? 0 : config->num_msix_vectors);
    set_count(&mock->irqs[MOCK_IRQ_ERR], 1);
    set_count(&mock->irqs[MOCK_IRQ_REQ], 1);
}

static void replace_fd(int *old, int fd)
{
    if (*old >= 0) {
        close(*old);
    }
    *old = fd;
}

static void set_fd(MockIrq *irq, uint32_t vector, int fd)
{
    replace_fd(&irq->fds[vector], fd);
}

void mock_irq_drop_all(Mock *mock)
{
    unsigned index;
    uint32_t i;

    for (index = 0; index < MOCK_NUM_IRQS; index++) {
        for (i = 0; i < mock->irqs[index].count; i++) {
            set_fd(&mock->irqs[index], i, -1);
        }
        replace_fd(&mock->irqs[index].unmask_fd, -1);
        mock->irqs[index].masked = mock->irqs[index].pending = false;
    }
}

void mock_irq_destroy(Mock *mock)
{
    unsigned index;

    mock_irq_drop_all(mock);
    for (index = 0; index < MOCK_NUM_IRQS; index++) {
        g_free(mock->irqs[index].fds);
    }
}

int mock_irq_get_info(Mock *mock, MockMessage *command, MockMessage *reply)
{
    MockReader reader = mock_reader(command->body->data, command->body->len);
    uint32_t argsz = mock_get(&reader, 4);
    uint32_t index;

    mock_get(&reader, 4);
    index = mock_get(&reader, 4);
    mock_get(&reader, 4);
    if (reader.bad || argsz < 16 || index >= MOCK_NUM_IRQS) {
        return -EINVAL;
    }
    mock_put(reply->body, 16, 4);
    mock_put(reply->body, INFO_EVENTFD, 4);
    mock_put(reply->body, index, 4);
    mock_put(reply->body, mock->irqs[index].count, 4);
    return 0;
}

static int trigger(MockIrq *irq, uint32_t vector)
{
    uint64_t one = 1;

    if (irq->fds[vector] < 0) {
        return -ENOENT;
    }
    return write(irq->fds[vector], &one, sizeof(one)) == sizeof(one) ?
           0 : -errno;
}

static bool is_valid(Mock *mock, const IrqSet *set, unsigned num_fds)
{
    uint32_t data = set->flags & DATA_TYPES;
    uint32_t action = set->flags & ~DATA_TYPES;

    if (set->argsz < 20 || set->index >= MOCK_NUM_IRQS ||
        (data != DATA_NONE && data != DATA_BOOL && data != DATA_EVENTFD) ||
        (action != ACTION_MASK && action != ACTION_UNMASK &&
         action != ACTION_TRIGGER)) {
        return false;
    }
    if (set->start >= mock->irqs[set->index].count ||
        set->count > mock->irqs[set->index].count - set->start) {
        return false;
    }
    if (!set->count && (set->start || action != ACTION_TRIGGER ||
                        data != DATA_NONE)) {
        return false;
    }
    if ((set->index == MOCK_IRQ_ERR || set->index == MOCK_IRQ_REQ) &&
        action != ACTION_TRIGGER) {
        return false;
    }
    if (data == DATA_BOOL && set->num_bools != set->count) {
        return false;
    }
    return !num_fds || (data == DATA_EVENTFD && num_fds == set->count);
}

static void mask(MockIrq *irq, bool masked)
{
    irq->masked = masked;
    if (!masked && irq->pending) {
        irq->pending = false;
        trigger(irq, 0);
    }
}

/* An eventfd unmasks whenever it is written, not now */
static void set_mask(Mock *mock, const IrqSet *set, MockMessage *command)
{
    MockIrq *irq = &mock->irqs[set->index];

    if (set->index != MOCK_IRQ_INTX) {
        return;
    }
    if (!(set->flags & DATA_EVENTFD)) {
        mask(irq, set->flags & ACTION_MASK);
    } else if (set->flags & ACTION_UNMASK) {
        replace_fd(&irq->unmask_fd, command->num_fds ?
                                    mock_message_take_fd(command, 0) : -1);
    }
}

static void set_trigger(Mock *mock, const IrqSet *set, MockMessage *command)
{
    MockIrq *irq = &mock->irqs[set->index];
    uint32_t first = set->start, end = set->start + set->count, i;

    if (!set->count) {
        for (i = 0; i < irq->count; i++) {
            set_fd(irq, i, -1);
        }
        replace_fd(&irq->unmask_fd, -1);
    }
    for (i = first; i < end; i++) {
        if (set->flags & DATA_EVENTFD) {
            set_fd(irq, i, mock_message_take_fd(command, i - first));
        } else if (set->flags & DATA_NONE || set->bools[i - first]) {
            trigger(irq, i);
        }
    }
}

int mock_irq_set(Mock *mock, MockMessage *command)
{
    MockReader reader = mock_reader(command->body->data, command->body->len);
    IrqSet set;

    set.argsz = mock_get(&reader, 4);
    set.flags = mock_get(&reader, 4);
    set.index = mock_get(&reader, 4);
    set.start = mock_get(&reader, 4);
    set.count = mock_get(&reader, 4);
    set.bools = reader.data + reader.position;
    set.num_bools = mock_get_left(&reader);
    if (reader.bad || !is_valid(mock, &set, command->num_fds)) {
        return -EINVAL;
    }
    if (set.flags & ACTION_TRIGGER) {
        set_trigger(mock, &set, command);
    } else {
        set_mask(mock, &set, command);
    }
    g_cond_broadcast(&mock->changed);
    return 0;
}

int mock_irq_raise(Mock *mock, unsigned index, unsigned vector)
{
    if (index >= MOCK_NUM_IRQS || vector >= mock->irqs[index].count) {
        return -EINVAL;
    }
    if (index == MOCK_IRQ_INTX) {
        mock->device.intx_status = 1;
        if (mock->irqs[index].masked) {
            mock->irqs[index].pending = true;
            return 0;
        }
    }
    return trigger(&mock->irqs[index], vector);
}

int mock_raise_irq(Mock *mock, unsigned index, unsigned vector)
{
    MOCK_LOCK_GUARD(mock);

    return mock_irq_raise(mock, index, vector);
}

bool mock_wait_unmask(Mock *mock, unsigned timeout_ms)
{
    MockIrq *irq = &mock->irqs[MOCK_IRQ_INTX];
    struct pollfd unmask = { .events = POLLIN };
    uint64_t count;
    bool done;

    g_mutex_lock(&mock->lock);
    unmask.fd = irq->unmask_fd < 0 ? -1 :
                fcntl(irq->unmask_fd, F_DUPFD_CLOEXEC, 0);
    g_mutex_unlock(&mock->lock);
    if (unmask.fd < 0) {
        return false;
    }
    done = poll(&unmask, 1, timeout_ms) == 1 &&
           read(unmask.fd, &count, sizeof(count)) == sizeof(count);
    close(unmask.fd);
    if (done) {
        MOCK_LOCK_GUARD(mock);

        mask(irq, false);
    }
    return done;
}

unsigned mock_irq_count(Mock *mock, unsigned index)
{
    MOCK_LOCK_GUARD(mock);
    unsigned count = 0;
    uint32_t i;

    for (i = 0; index < MOCK_NUM_IRQS && i < mock->irqs[index].count; i++) {
        count += mock->irqs[index].fds[i] >= 0;
    }
    return count;
}
