/*
 * The fake kernel's system calls: stands before the C library's functions and
 * takes those calls that are about /dev/vfio and /dev/kvm, and a journal of
 * them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

/* open() and open64() are to be what they are called, and no inlines */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake-kernel.h"

/* Without this, QEMU asks so often that nothing else gets to run */
#define SLOW_MS 10

#define EXPORT __attribute__((visibility("default")))

/* The real function; @name is of a function that this file defines */
#define REAL(name) \
    ({ \
        static __typeof__(&name) real_; \
        if (!real_) { \
            real_ = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
        } \
        real_; \
    })

typedef enum FakeFile {
    FAKE_CONTAINER,
    FAKE_GROUP,
    FAKE_DEVICE,
    FAKE_KVM,
    FAKE_VM,
    FAKE_VCPU,
    FAKE_NUM_FILES,
    FAKE_NONE = FAKE_NUM_FILES,
} FakeFile;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Read without the lock: a file is QEMU's to use from open() to close() */
static int fds[FAKE_NUM_FILES] = { -1, -1, -1, -1, -1, -1 };
static bool group_attached;     /* guarded by lock */

static FakeFile file_of(int fd)
{
    FakeFile file;

    for (file = 0; fd >= 0 && file < FAKE_NUM_FILES; file++) {
        if (__atomic_load_n(&fds[file], __ATOMIC_ACQUIRE) == fd) {
            return file;
        }
    }
    return FAKE_NONE;
}

static void set_file(FakeFile file, int fd)
{
    __atomic_store_n(&fds[file], fd, __ATOMIC_RELEASE);
}

/* What a system call returns to its caller */
static long result(long ret)
{
    if (ret < 0) {
        errno = -ret;
        return -1;
    }
    return ret;
}

void fake_kernel_lock(void)
{
    pthread_mutex_lock(&lock);
}

void fake_kernel_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

/* One write for a line, so that a reader sees whole ones */
void fake_kernel_journal(const char *fmt, ...)
{
    static int fd = -1;
    char line[128];
    va_list list;
    int size;

    if (fd < 0) {
        fd = REAL(open)(getenv(FAKE_KERNEL_JOURNAL),
                        O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    va_start(list, fmt);
    size = vsnprintf(line, sizeof(line) - 1, fmt, list);
    va_end(list);
    if (size > (int)sizeof(line) - 2) {
        size = sizeof(line) - 2;
    }
    line[size++] = '\n';
    if (write(fd, line, size) != size) {
        perror("fake kernel: cannot write to the journal");
        _exit(1);
    }
}

bool fake_kernel_is_group(int fd)
{
    return file_of(fd) == FAKE_GROUP;
}

/* --- the group --- */

static long group_set_container(const int *fd)
{
    if (file_of(*fd) != FAKE_CONTAINER || group_attached) {
        return -EINVAL;
    }
    group_attached = true;
    fake_kernel_container_attach(true);
    return 0;
}

static long group_unset_container(void)
{
    if (!group_attached) {
        return -EINVAL;
    }
    group_attached = false;
    fake_kernel_container_attach(false);
    return 0;
}

static long group_get_device_fd(void)
{
    if (!fake_kernel_container_is_ready()) {
        return -EINVAL;
    }
    if (fds[FAKE_DEVICE] >= 0) {
        return -EBUSY;
    }
    set_file(FAKE_DEVICE, fake_kernel_device_open());
    return fds[FAKE_DEVICE];
}

static long group_get_status(struct vfio_group_status *status)
{
    if (status->argsz < sizeof(*status)) {
        return -EINVAL;
    }
    status->flags = VFIO_GROUP_FLAGS_VIABLE;
    if (group_attached) {
        status->flags |= VFIO_GROUP_FLAGS_CONTAINER_SET;
    }
    return 0;
}

static long group_ioctl(unsigned long request, void *argument)
{
    switch (request) {
    case VFIO_GROUP_GET_STATUS:
        return group_get_status(argument);
    case VFIO_GROUP_SET_CONTAINER:
        return group_set_container(argument);
    case VFIO_GROUP_UNSET_CONTAINER:
        return group_unset_container();
    case VFIO_GROUP_GET_DEVICE_FD:
        return group_get_device_fd();
    }
    fake_kernel_journal("BAD ioctl %lx of the group", request);
    return -ENOTTY;
}

/* --- KVM, and what it makes files for --- */

static long new_file(FakeFile file, size_t size)
{
    int fd;

    if (fds[file] >= 0) {
        return -EBUSY;
    }
    fd = memfd_create("fake-kernel", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, size)) {
        return -errno;
    }
    set_file(file, fd);
    return fd;
}

static long kvm_ioctl(unsigned long request, void *argument)
{
    return request == KVM_CREATE_VM ? new_file(FAKE_VM, 0) :
                                      fake_kernel_kvm_ioctl(request, argument);
}

static long vm_ioctl(unsigned long request, void *argument)
{
    return request == KVM_CREATE_VCPU ?
           new_file(FAKE_VCPU, FAKE_KERNEL_KVM_RUN_SIZE) :
           fake_kernel_vm_ioctl(request, argument);
}

/* --- the system calls --- */

/* Which of the files has this path? There are others only if nothing is set */
static FakeFile file_at(const char *path)
{
    char group[32];

    if (!strcmp(path, "/dev/kvm") && getenv(FAKE_KERNEL_KVM)) {
        return FAKE_KVM;
    }
    if (strncmp(path, "/dev/vfio/", 10) || !getenv(FAKE_KERNEL_JOURNAL)) {
        return FAKE_NONE;
    }
    snprintf(group, sizeof(group), "/dev/vfio/%d", FAKE_KERNEL_GROUP);
    return !strcmp(path, "/dev/vfio/vfio") ? FAKE_CONTAINER :
           !strcmp(path, group) ? FAKE_GROUP : FAKE_NONE;
}

static int open_file(FakeFile file)
{
    long ret;

    pthread_mutex_lock(&lock);
    ret = new_file(file, 0);
    pthread_mutex_unlock(&lock);
    return result(ret);
}

static mode_t mode_of(int flags, va_list list)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;
}

EXPORT int open(const char *path, int flags, ...)
{
    FakeFile file = file_at(path);
    va_list list;
    mode_t mode;

    va_start(list, flags);
    mode = mode_of(flags, list);
    va_end(list);
    return file == FAKE_NONE ? REAL(open)(path, flags, mode) :
                               open_file(file);
}

EXPORT int open64(const char *path, int flags, ...)
{
    FakeFile file = file_at(path);
    va_list list;
    mode_t mode;

    va_start(list, flags);
    mode = mode_of(flags, list);
    va_end(list);
    return file == FAKE_NONE ? REAL(open64)(path, flags, mode) :
                               open_file(file);
}

EXPORT int close(int fd)
{
    FakeFile file = file_of(fd);

    if (file != FAKE_NONE) {
        pthread_mutex_lock(&lock);
        set_file(file, -1);
        if (file == FAKE_CONTAINER) {
            fake_kernel_container_close();
        } else if (file == FAKE_DEVICE) {
            fake_kernel_device_close();
        } else if (file == FAKE_GROUP && group_attached) {
            group_unset_container();
        }
        pthread_mutex_unlock(&lock);
    }
    return REAL(close)(fd);
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
    static long (*const ioctls[FAKE_NUM_FILES])(unsigned long, void *) = {
        [FAKE_CONTAINER] = fake_kernel_container_ioctl,
        [FAKE_GROUP] = group_ioctl,
        [FAKE_DEVICE] = fake_kernel_device_ioctl,
        [FAKE_KVM] = kvm_ioctl,
        [FAKE_VM] = vm_ioctl,
        [FAKE_VCPU] = fake_kernel_vcpu_ioctl,
    };
    FakeFile file = file_of(fd);
    void *argument;
    va_list list;
    long ret;

    va_start(list, request);
    argument = va_arg(list, void *);
    va_end(list);
    if (file == FAKE_NONE) {
        return REAL(ioctl)(fd, request, argument);
    }
    /* the number may come sign extended from an int */
    request = (unsigned int)request;
    if (file == FAKE_VCPU && request == KVM_RUN) {
        return result(fake_kernel_vcpu_run());
    }
    pthread_mutex_lock(&lock);
    ret = ioctls[file](request, argument);
    pthread_mutex_unlock(&lock);
    return result(ret);
}

static ssize_t device_read(void *data, size_t size, uint64_t offset)
{
    bool takes_time;
    ssize_t ret;

    pthread_mutex_lock(&lock);
    ret = fake_kernel_device_read(data, size, offset);
    takes_time = fake_kernel_migration_takes_time();
    pthread_mutex_unlock(&lock);
    if (takes_time) {
        fake_kernel_gate_opens(SLOW_MS);
    }
    return result(ret);
}

static ssize_t device_write(const void *data, size_t size, uint64_t offset)
{
    ssize_t ret;

    pthread_mutex_lock(&lock);
    ret = fake_kernel_device_write(data, size, offset);
    pthread_mutex_unlock(&lock);
    return result(ret);
}

EXPORT ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    return file_of(fd) == FAKE_DEVICE ? device_read(data, size, offset) :
                                        REAL(pread)(fd, data, size, offset);
}

EXPORT ssize_t pread64(int fd, void *data, size_t size, off64_t offset)
{
    return file_of(fd) == FAKE_DEVICE ? device_read(data, size, offset) :
                                        REAL(pread64)(fd, data, size, offset);
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return file_of(fd) == FAKE_DEVICE ? device_write(data, size, offset) :
                                        REAL(pwrite)(fd, data, size, offset);
}

EXPORT ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    return file_of(fd) == FAKE_DEVICE ? device_write(data, size, offset) :
                                        REAL(pwrite64)(fd, data, size, offset);
}
