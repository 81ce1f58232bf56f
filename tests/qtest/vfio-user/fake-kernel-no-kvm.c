/*
 * The fake kernel's KVM where the host is no x86: there is none.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>

#include "fake-kernel.h"

long fake_kernel_kvm_ioctl(unsigned long request, void *argument)
{
    return -ENOTTY;
}

long fake_kernel_vm_ioctl(unsigned long request, void *argument)
{
    return -ENOTTY;
}

long fake_kernel_vcpu_ioctl(unsigned long request, void *argument)
{
    return -ENOTTY;
}

long fake_kernel_vcpu_run(void)
{
    return -ENOTTY;
}
