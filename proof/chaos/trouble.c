/* Loaded into a server before libc: its disk is slow, full, broken or stuck and its wall clock is
 * off, as a file of five 64-bit numbers says that is shared with the nemesis:
 *
 *   [0] milliseconds that every sync takes longer
 *   [1] 1: nothing can be written (ENOSPC)
 *   [2] 1: a sync fails (EIO)
 *   [3] seconds that CLOCK_REALTIME is ahead
 *   [4] 1: a sync does not return until this is 0 again
 *
 * Only files below a directory called var are touched, which is where a server's database is.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { SLOW_MS, FULL, BROKEN, AHEAD_S, STUCK, WORDS };

static const struct timespec a_moment = {0, 10 * 1000000};

static volatile int64_t *trouble;

__attribute__((constructor)) static void join(void)
{
    const char *path = getenv("CHAOS_TROUBLE");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *shared = mmap(NULL, WORDS * sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
    if (shared != MAP_FAILED)
        trouble = shared;
    close(fd);
}

static int64_t has(int word)
{
    return trouble ? trouble[word] : 0;
}

static int is_database(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    return strstr(path, "/var/") != NULL && strncmp(path, "/var/", 5) != 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int refuses_write(int fd)
{
    if (!has(FULL) || !is_database(fd))
        return 0;
    errno = ENOSPC;
    return 1;
}

static int refuses_sync(int fd)
{
    if (!has(SLOW_MS) && !has(BROKEN) && !has(STUCK))
        return 0;
    if (!is_database(fd))
        return 0;
    int64_t ms = has(SLOW_MS);
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
    while (has(STUCK))
        nanosleep(&a_moment, NULL);
    if (!has(BROKEN))
        return 0;
    errno = EIO;
    return 1;
}

int fsync(int fd) { return refuses_sync(fd) ? -1 : REAL(fsync)(fd); }

int fdatasync(int fd) { return refuses_sync(fd) ? -1 : REAL(fdatasync)(fd); }

ssize_t write(int fd, const void *data, size_t size)
{
    return refuses_write(fd) ? -1 : REAL(write)(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return refuses_write(fd) ? -1 : REAL(pwrite)(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    return refuses_write(fd) ? -1 : REAL(pwrite64)(fd, data, size, offset);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static __typeof__(&clock_gettime) real;
    if (!real)
        real = REAL(clock_gettime);
    int result = real(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME)
        now->tv_sec += has(AHEAD_S);
    return result;
}
