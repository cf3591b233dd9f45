// What each layer of a run costs, put on one at a time between vfork and exec: the floor that
// `run_cost` is held against. Prints CPU (user and system, this process and its children) and wall
// microseconds of one run; 7 rounds of 300 runs each, rows in turns.
//
//   g++ -O2 -static -o hello hello.cpp; gcc -O2 -o layers benches/layers.c; ./layers ./hello
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RUNS = 300, ROUNDS = 7, DENIED = 85, RULES = 12 };
enum { LIMITS = 1, USER = 2, LANDLOCK = 4, SECCOMP = 8, GROUP = 16, FILES = 32, SPAWN = 64 };

static const struct { const char *name; int layers; } ROWS[] = {
    {"posix_spawn", SPAWN},
    {"vfork, exec", 0},
    {"+ limits, session, folder", LIMITS},
    {"+ another user", USER},
    {"+ a control group joined", GROUP},
    {"+ input and outputs in memory", FILES},
    {"+ Landlock entered", LANDLOCK},
    {"+ seccomp installed", SECCOMP},
    {"all of these", LIMITS | USER | LANDLOCK | SECCOMP | GROUP | FILES},
    {"all but Landlock and seccomp", LIMITS | USER | GROUP | FILES},
};
enum { COUNT = sizeof ROWS / sizeof *ROWS };

static int layers, null, group, ruleset, standard[3];
static char *program;
static struct sock_filter code[2 * DENIED + 2];
static struct sock_fprog filter = {sizeof code / sizeof *code, code};
static char stack[1 << 16] __attribute__((aligned(16)));

static int child(void *unused) {
    if ((layers & GROUP) && write(group, "0", 1) != 1) _exit(90);
    for (int i = 0; i < 3; ++i) dup2(standard[i], i);
    if (layers & LIMITS) {
        setsid();
        syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC);
        if (chdir("/")) _exit(91);
        for (int resource = 0; resource < 8; ++resource) {
            struct rlimit limit;
            getrlimit(resource, &limit);
            setrlimit(resource, &limit);
        }
    }
    if (layers & USER) {
        syscall(SYS_setresgid, 12345, 12345, 12345);
        syscall(SYS_setresuid, 12345, 12345, 12345);
    }
    if (layers & (LANDLOCK | SECCOMP)) prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if ((layers & LANDLOCK) && syscall(SYS_landlock_restrict_self, ruleset, 0)) _exit(92);
    if ((layers & SECCOMP) && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter)) _exit(93);
    char *arguments[] = {"main", 0}, *environment[] = {"LC_ALL=C.UTF-8", 0};
    execve(program, arguments, environment);
    _exit(94);
}

static void run(void) {
    int status = 0;
    pid_t pid;
    if (layers & SPAWN) {
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        for (int i = 0; i < 3; ++i) posix_spawn_file_actions_addopen(&actions, i, "/dev/null", O_RDWR, 0);
        char *arguments[] = {"main", 0};
        posix_spawn(&pid, program, &actions, 0, arguments, environ);
        posix_spawn_file_actions_destroy(&actions);
    } else {
        for (int i = 0; i < 3; ++i) standard[i] = layers & FILES ? memfd_create("file", MFD_CLOEXEC) : null;
        pid = clone(child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, 0);
    }
    waitpid(pid, &status, 0);
    if (status) { printf("a run ended with %x\n", status); exit(1); }
    if (layers & FILES) {
        char line[64];
        if (pread(standard[1], line, sizeof line, 0) < 1) exit(1);
        for (int i = 0; i < 3; ++i) close(standard[i]);
    }
}

static double seconds(struct timeval t) { return t.tv_sec + t.tv_usec / 1e6; }

static double cpu(void) {
    struct rusage own, children;
    getrusage(RUSAGE_SELF, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    return seconds(own.ru_utime) + seconds(own.ru_stime) + seconds(children.ru_utime) + seconds(children.ru_stime);
}

static double wall(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int count, char **arguments) {
    program = count > 1 ? arguments[1] : "./hello";
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int at = 0;
    code[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < DENIED; ++i) {
        // Numbers that no program uses, one comparison each as in the sandbox's filter.
        code[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 600 + i, 0, 1);
        code[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1);
    }
    code[at] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct landlock_ruleset_attr handled = {.handled_access_fs = 0x1fff};
    ruleset = syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0);
    static const char *const READABLE[RULES] = {"/usr", "/bin", "/lib", "/lib64", "/tmp", "/proc",
                                                "/etc", "/dev", "/var", "/opt", "/home", "/root"};
    for (int i = 0; i < RULES; ++i) {
        struct landlock_path_beneath_attr rule = {.allowed_access = 0xd, .parent_fd = open(READABLE[i], O_PATH | O_CLOEXEC)};
        syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    }
    const char *folder = "/sys/fs/cgroup/memory/layers-bench";
    mkdir(folder, 0755);
    group = open("/sys/fs/cgroup/memory/layers-bench/cgroup.procs", O_WRONLY | O_CLOEXEC);
    static double cpus[COUNT][ROUNDS], walls[COUNT][ROUNDS];
    for (int round = 0; round < ROUNDS; ++round)
        for (int row = 0; row < COUNT; ++row) {
            layers = ROWS[row].layers;
            double c = cpu(), w = wall();
            for (int i = 0; i < RUNS; ++i) run();
            cpus[row][round] = (cpu() - c) / RUNS * 1e6;
            walls[row][round] = (wall() - w) / RUNS * 1e6;
        }
    rmdir(folder);
    printf("%-32s %8s %8s\n", "median of rounds, us", "CPU", "wall");
    for (int row = 0; row < COUNT; ++row) {
        qsort(cpus[row], ROUNDS, sizeof(double), ascending);
        qsort(walls[row], ROUNDS, sizeof(double), ascending);
        printf("%-32s %8.0f %8.0f\n", ROWS[row].name, cpus[row][ROUNDS / 2], walls[row][ROUNDS / 2]);
    }
}
