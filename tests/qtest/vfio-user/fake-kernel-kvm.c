/*
 * The fake kernel's KVM: a virtual machine with one vCPU that never runs, and
 * whose registers are all zeros. Interrupts are in fake-kernel-irqfd.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>

#include "fake-kernel.h"

/* The signals that end KVM_RUN; written by the vCPU's thread, before that */
static sigset_t run_signals;

/* What QEMU has to have, and what its interrupts need */
static long check_extension(long capability)
{
    switch (capability) {
    case KVM_CAP_USER_MEMORY:
    case KVM_CAP_DESTROY_MEMORY_REGION_WORKS:
    case KVM_CAP_JOIN_MEMORY_REGIONS_WORKS:
    case KVM_CAP_SYNC_MMU:
    case KVM_CAP_SET_TSS_ADDR:
    case KVM_CAP_EXT_CPUID:
    case KVM_CAP_MP_STATE:
    case KVM_CAP_IRQCHIP:
    case KVM_CAP_IRQFD:
    case KVM_CAP_IRQFD_RESAMPLE:
    case KVM_CAP_SIGNAL_MSI:
        return 1;
    case KVM_CAP_NR_MEMSLOTS:
        return 64;
    case KVM_CAP_IRQ_ROUTING:
        return FAKE_KERNEL_NUM_GSIS;
    }
    return 0;
}

/* Without a local APIC QEMU has no MSI; it takes what else there is */
static long get_supported_cpuid(struct kvm_cpuid2 *cpuid)
{
    if (cpuid->nent < 1) {
        return -E2BIG;
    }
    cpuid->nent = 1;
    memset(&cpuid->entries[0], 0, sizeof(cpuid->entries[0]));
    cpuid->entries[0].function = 1;
    cpuid->entries[0].edx = UINT32_MAX;
    return 0;
}

long fake_kernel_kvm_ioctl(unsigned long request, void *argument)
{
    switch (request) {
    case KVM_GET_API_VERSION:
        return KVM_API_VERSION;
    case KVM_CHECK_EXTENSION:
        return check_extension((long)argument);
    case KVM_GET_VCPU_MMAP_SIZE:
        return FAKE_KERNEL_KVM_RUN_SIZE;
    case KVM_GET_SUPPORTED_CPUID:
        return get_supported_cpuid(argument);
    case KVM_GET_MSR_INDEX_LIST:
        ((struct kvm_msr_list *)argument)->nmsrs = 0;
        return 0;
    }
    fake_kernel_journal("BAD ioctl %lx of KVM", request);
    return -ENOTTY;
}

/* No page is ever dirty by a vCPU, and memory is left to QEMU */
long fake_kernel_vm_ioctl(unsigned long request, void *argument)
{
    switch (request) {
    case KVM_CHECK_EXTENSION:
        return check_extension((long)argument);
    case KVM_CREATE_IRQCHIP:
    case KVM_CREATE_PIT:
    case KVM_SET_TSS_ADDR:
    case KVM_SET_USER_MEMORY_REGION:
    case KVM_GET_DIRTY_LOG:
    case KVM_SET_IRQCHIP:
    case KVM_SET_PIT:
    case KVM_SIGNAL_MSI:
        return 0;
    case KVM_GET_IRQCHIP:
        memset(&((struct kvm_irqchip *)argument)->chip, 0,
               sizeof(((struct kvm_irqchip *)argument)->chip));
        return 0;
    case KVM_GET_PIT:
        memset(argument, 0, sizeof(struct kvm_pit_state));
        return 0;
    case KVM_ENABLE_CAP:
    case KVM_IOEVENTFD:
        return -EINVAL;
    case KVM_IRQ_LINE:
        return fake_kernel_irq_line(argument);
    case KVM_SET_GSI_ROUTING:
        return fake_kernel_set_routing(argument);
    case KVM_IRQFD:
        return fake_kernel_irqfd(argument);
    }
    fake_kernel_journal("BAD ioctl %lx of the VM", request);
    return -ENOTTY;
}

/* Those which the thread blocks at other times; the kernel's mask is short */
static long set_signal_mask(const struct kvm_signal_mask *mask)
{
    sigset_t run_mask, blocked;
    int signal;

    if (mask->len != 8) {
        return -EINVAL;
    }
    sigemptyset(&run_mask);
    memcpy(&run_mask, mask->sigset, 8);
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    sigemptyset(&run_signals);
    for (signal = 1; signal < SIGRTMAX; signal++) {
        if (sigismember(&blocked, signal) && !sigismember(&run_mask, signal)) {
            sigaddset(&run_signals, signal);
        }
    }
    return 0;
}

long fake_kernel_vcpu_ioctl(unsigned long request, void *argument)
{
    switch (request) {
    case KVM_SET_SIGNAL_MASK:
        return set_signal_mask(argument);
    case KVM_GET_MSRS:
    case KVM_SET_MSRS:
        return ((struct kvm_msrs *)argument)->nmsrs;
    }
    if (_IOC_DIR(request) == _IOC_READ) {
        memset(argument, 0, _IOC_SIZE(request));
    }
    return 0;
}

long fake_kernel_vcpu_run(void)
{
    int signal;

    sigwait(&run_signals, &signal);
    return -EINTR;
}
