/*
 * A fake of the kernel's VFIO and KVM for tests: a library that is preloaded
 * into QEMU and answers for /dev/vfio and /dev/kvm. What a test needs to know
 * of it is in here.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VFIO_USER_FAKE_KERNEL_H
#define TESTS_QTEST_VFIO_USER_FAKE_KERNEL_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The environment of a QEMU with the fake.
 *
 * The journal is a file that gets one short line for each event: "R 1" (a read
 * of device_state, and what it gave), "W 2", "W 2!" (refused), "RESET", "BUS
 * RESET", "ERROR" (the device went there by itself), "SAVE 3/0" and "LOAD 3/0"
 * (a chunk of device data: the state that it was saved in, its number), "BAD
 * ..." (something that no client of the kernel should do). Without a journal
 * the library lets everything through to the real kernel.
 *
 * The gate is a FIFO; the pre-copy does not end before something is written to
 * it. Meanwhile the device has no data, and is slow to say so.
 *
 * The behaviour is a list of words, with commas between them; without any, a
 * kernel takes the changes of state that the specification allows, and a reset
 * leads to RUNNING from everywhere.
 *
 *   reset-keeps-state  a reset leaves device_state alone
 *   bus-reset-only     the function cannot be reset by itself
 *   may-cancel         PRE_COPY to RUNNING is taken, which is not specified
 *   error-on=N         the first write of N leads to ERROR
 *   error-in-data      the first data in STOP_COPY does
 *   reserved=BITS      these of bits 3-31 are set, and have to stay
 *   data-mappable      device data can be mapped
 *   no-migration       there is no migration region, as in today's kernels
 */
#define FAKE_KERNEL_JOURNAL "VFIO_FAKE_KERNEL_JOURNAL"
#define FAKE_KERNEL_GATE "VFIO_FAKE_KERNEL_GATE"
#define FAKE_KERNEL_BEHAVIOUR "VFIO_FAKE_KERNEL_BEHAVIOUR"

/*
 * If this is set, there is a fake of KVM, too, with interrupt controllers of
 * its own. Guest code never runs, and an interrupt is only noted:
 *
 *   ADD MSI 400000=100     KVM got an eventfd, for this message to this address
 *   ADD LEVEL LINE         the same for an INTx line, with one to resample
 *   REMOVE ...             and got rid of it
 *   SEND MSI 400000=101    the eventfd was written; here, to send this message
 *   SEND LINE              this one for a line; the guest answers at once
 *   QEMU LINE 1            QEMU itself sets a line that PCI devices use
 */
#define FAKE_KERNEL_KVM "VFIO_FAKE_KERNEL_KVM"

/* The group of the one device there is, and the device's bus in the host */
#define FAKE_KERNEL_GROUP 7
#define FAKE_KERNEL_BUS 0x5a

#define FAKE_KERNEL_VENDOR_ID 0xfa4e
#define FAKE_KERNEL_DEVICE_ID 0x0107
#define FAKE_KERNEL_MSIX_VECTORS 2

/*
 * BAR 0 is memory that can be mapped, and all zeros after a reset but for the
 * identifier; BAR 1 has the MSI-X table. A write of the doorbell, if it is made
 * by pwrite(), raises an interrupt: an MSI-X vector, or INTx.
 */
#define FAKE_KERNEL_BAR0_SIZE 0x4000
#define FAKE_KERNEL_BAR0_ID 0x0
#define FAKE_KERNEL_BAR0_ID_VALUE 0xfa4e1d00
#define FAKE_KERNEL_BAR0_DOORBELL 0x10
#define FAKE_KERNEL_DOORBELL_INTX 0x100

/*
 * The guest's memory that the device writes: one page in pre-copy, with chunk
 * number 1, and one before it stops for stop-and-copy.
 */
#define FAKE_KERNEL_PRE_COPY_PAGE 0x01000000
#define FAKE_KERNEL_PRE_COPY_BYTE 0xa3
#define FAKE_KERNEL_STOP_COPY_PAGE 0x01234000
#define FAKE_KERNEL_STOP_COPY_BYTE 0xa2

/*
 * Between the files of the library. ioctls return what the kernel's do, or
 * -errno; all but the preloaded functions run with one lock held.
 */

typedef struct FakeKernelBehaviour {
    bool reset_keeps_state;
    bool bus_reset_only;
    bool may_cancel;
    bool error_in_data;         /* until it has happened */
    bool data_mappable;
    bool no_migration;
    int error_on;               /* -1: never, or not any more */
    uint32_t reserved;
} FakeKernelBehaviour;

extern FakeKernelBehaviour fake_kernel_behaviour;

/* Get it from the environment. */
void fake_kernel_behaviour_read(void);

/* Is this the fd of the group? */
bool fake_kernel_is_group(int fd);

/* Add a line to the journal. */
void fake_kernel_journal(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

long fake_kernel_container_ioctl(unsigned long request, void *argument);
/* The container's fd was closed: mappings and dirty pages go. */
void fake_kernel_container_close(void);
/* Is there an IOMMU, so that a group's devices can be had? */
bool fake_kernel_container_is_ready(void);
/* The group came (true) or went. */
void fake_kernel_container_attach(bool attached);
/* DMA by the device: fill the page of guest memory at @iova with @byte. */
void fake_kernel_dma_fill(uint64_t iova, uint8_t byte);

/* Make the device's file, with its regions; returns the fd. */
int fake_kernel_device_open(void);
void fake_kernel_device_close(void);
long fake_kernel_device_ioctl(unsigned long request, void *argument);
/* Offsets are those of the file: the region's index is in the upper bits. */
ssize_t fake_kernel_device_read(void *data, size_t size, uint64_t offset);
ssize_t fake_kernel_device_write(const void *data, size_t size,
                                 uint64_t offset);

#define FAKE_KERNEL_MIGRATION_SIZE 0x200000
#define FAKE_KERNEL_MIGRATION_DATA 0x1000

/*
 * The migration region. @window is its data, FAKE_KERNEL_MIGRATION_DATA into
 * it, which clients may have mapped, too.
 */
void fake_kernel_migration_open(uint8_t *window);
void fake_kernel_migration_reset(void);
/* Was the last read one that takes its time? Asked once, then it is over. */
bool fake_kernel_migration_takes_time(void);
/* Is the gate open, or does it open within @ms? The lock need not be held. */
bool fake_kernel_gate_opens(int ms);
ssize_t fake_kernel_migration_read(void *data, size_t size, uint64_t offset);
ssize_t fake_kernel_migration_write(const void *data, size_t size,
                                    uint64_t offset);

#define FAKE_KERNEL_KVM_RUN_SIZE 0x3000
#define FAKE_KERNEL_NUM_GSIS 1024

/* The one lock, for a thread of the library's own. */
void fake_kernel_lock(void);
void fake_kernel_unlock(void);

/* Of /dev/kvm, of the virtual machine, and of its one vCPU. */
long fake_kernel_kvm_ioctl(unsigned long request, void *argument);
long fake_kernel_vm_ioctl(unsigned long request, void *argument);
long fake_kernel_vcpu_ioctl(unsigned long request, void *argument);
/* KVM_RUN: wait for a signal. Without the lock. */
long fake_kernel_vcpu_run(void);

/* KVM_SET_GSI_ROUTING, KVM_IRQ_LINE and KVM_IRQFD. */
long fake_kernel_set_routing(const struct kvm_irq_routing *new);
long fake_kernel_irq_line(const struct kvm_irq_level *line);
long fake_kernel_irqfd(const struct kvm_irqfd *request);

#endif /* TESTS_QTEST_VFIO_USER_FAKE_KERNEL_H */
