/*
 * The fake KVM's interrupts: routes, lines, and a thread that takes what comes
 * of eventfds, as the kernel does without QEMU.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "fake-kernel.h"

#define MAX_IRQFDS 64
#define NUM_LINES 24

/* The kernel keeps the files, whatever becomes of QEMU's descriptors */
typedef struct Irqfd {
    bool used;
    int fd;                     /* QEMU's number */
    uint32_t gsi;
    int event;
    int resample;               /* -1: an edge */
} Irqfd;

/* All of these with the lock held */
static Irqfd irqfds[MAX_IRQFDS];
static struct kvm_irq_routing *routing;
static bool lines[NUM_LINES];
static int epoll_fd = -1;

/* --- routes and lines --- */

long fake_kernel_set_routing(const struct kvm_irq_routing *new)
{
    size_t size = sizeof(*new) + new->nr * sizeof(new->entries[0]);

    if (new->nr > FAKE_KERNEL_NUM_GSIS || new->flags) {
        return -EINVAL;
    }
    free(routing);
    routing = malloc(size);
    memcpy(routing, new, size);
    return 0;
}

/* An MSI by its message, as its number is QEMU's affair; or else a line */
static void journal_irq(const char *event, uint32_t gsi)
{
    uint32_t i;

    for (i = 0; routing && i < routing->nr; i++) {
        const struct kvm_irq_routing_entry *entry = &routing->entries[i];

        if (entry->gsi == gsi && entry->type == KVM_IRQ_ROUTING_MSI) {
            fake_kernel_journal("%s MSI %x=%x", event,
                                entry->u.msi.address_lo, entry->u.msi.data);
            return;
        }
    }
    fake_kernel_journal("%s LINE", event);
}

/* Timers and the like are not of interest, PCI's lines are */
long fake_kernel_irq_line(const struct kvm_irq_level *line)
{
    if (line->irq >= 16 && line->irq < NUM_LINES &&
        lines[line->irq] != !!line->level) {
        lines[line->irq] = line->level;
        fake_kernel_journal("QEMU LINE %u", !!line->level);
    }
    return 0;
}

/* --- irqfds --- */

/* The guest is done with a level as soon as it is up */
static void deliver(Irqfd *irqfd)
{
    uint64_t count;

    if (!irqfd->used ||
        read(irqfd->event, &count, sizeof(count)) != sizeof(count)) {
        return;
    }
    journal_irq("SEND", irqfd->gsi);
    count = 1;
    if (irqfd->resample >= 0 &&
        write(irqfd->resample, &count, sizeof(count)) != sizeof(count)) {
        fake_kernel_journal("BAD resample fd");
    }
}

static void *deliver_all(void *opaque)
{
    struct epoll_event event;

    for (;;) {
        if (epoll_wait(epoll_fd, &event, 1, -1) == 1) {
            fake_kernel_lock();
            deliver(&irqfds[event.data.u32]);
            fake_kernel_unlock();
        }
    }
    return NULL;
}

/* Signals are for QEMU's threads */
static void start_thread(void)
{
    sigset_t all, old;
    pthread_t thread;

    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    if (pthread_create(&thread, NULL, deliver_all, NULL)) {
        fake_kernel_journal("BAD thread");
    } else {
        pthread_detach(thread);
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static Irqfd *find(int fd, bool used)
{
    unsigned i;

    for (i = 0; i < MAX_IRQFDS; i++) {
        if (irqfds[i].used == used && (!used || irqfds[i].fd == fd)) {
            return &irqfds[i];
        }
    }
    return NULL;
}

static long assign(const struct kvm_irqfd *request)
{
    Irqfd *irqfd = find(-1, false);
    struct epoll_event event = { .events = EPOLLIN };

    if (!irqfd || find(request->fd, true)) {
        fake_kernel_journal("BAD irqfd");
        return -EBUSY;
    }
    if (epoll_fd < 0) {
        start_thread();
    }
    *irqfd = (Irqfd) {
        .used = true,
        .fd = request->fd,
        .gsi = request->gsi,
        .event = fcntl(request->fd, F_DUPFD_CLOEXEC, 0),
        .resample = request->flags & KVM_IRQFD_FLAG_RESAMPLE ?
                    fcntl(request->resamplefd, F_DUPFD_CLOEXEC, 0) : -1,
    };
    journal_irq(irqfd->resample >= 0 ? "ADD LEVEL" : "ADD", irqfd->gsi);
    event.data.u32 = irqfd - irqfds;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, irqfd->event, &event);
    return 0;
}

static long deassign(const struct kvm_irqfd *request)
{
    Irqfd *irqfd = find(request->fd, true);

    if (!irqfd || irqfd->gsi != request->gsi) {
        fake_kernel_journal("BAD removal");
        return 0;
    }
    journal_irq("REMOVE", irqfd->gsi);
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, irqfd->event, NULL);
    close(irqfd->event);
    if (irqfd->resample >= 0) {
        close(irqfd->resample);
    }
    irqfd->used = false;
    return 0;
}

long fake_kernel_irqfd(const struct kvm_irqfd *request)
{
    return request->flags & KVM_IRQFD_FLAG_DEASSIGN ? deassign(request) :
                                                      assign(request);
}
