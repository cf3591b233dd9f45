// Runs kernels on the CPU: the threads of a block as fibers, one block after another.
//
// Called by src/driver/emulated.rs through `emulation_launch`. A fiber gives way when it must wait for
// others; it is ready again when the last of them arrives. If nobody is ready and not all are done, the
// kernel would hang on a device: that, wrong arguments, writes beyond shared memory and a thread that
// leaves before a barrier are errors, with a message.

#include "prelude.h"
#include <sys/mman.h>
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace emulation {
thread_local Thread *current;
thread_local Index block_index, block_size, grid_size;
thread_local unsigned char *dynamic_shared;

namespace {
constexpr u32 MOST_THREADS = 1024, STACK = 128 * 1024, GUARD = 256;
constexpr u32 NAN_WORD = 0x7fc07fc0;

enum class State { ready, at_block, at_warp, done };

struct Copy {
    void *to;
    const void *from;
    u32 present;
};
struct Fiber {
    Thread thread;
    State state;
    u32 mask;
    u32 parity;
#if defined(__x86_64__)
    void *stack_pointer;
#else
    ucontext_t context;
#endif
    std::vector<std::vector<Copy>> groups;
    std::vector<Copy> open;
};
struct Warp {
    Exchange slots[2][32];
};

Kernel *kernels;

struct Runner {
    std::vector<Fiber> fibers{MOST_THREADS};
    std::vector<Warp> warps{MOST_THREADS / 32};
    unsigned char *stacks;
    u32 threads = 0, waiting = 0, done = 0;
    const Kernel *kernel = nullptr;
    void **arguments = nullptr;
    const char *failure = nullptr;
#if defined(__x86_64__)
    void *main_pointer = nullptr;
#else
    ucontext_t main_context;
#endif
    std::vector<unsigned char> shared;
    u64 launches = 0;

    Runner() {
        void *memory = mmap(nullptr, static_cast<size_t>(STACK) * MOST_THREADS, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) std::abort();
        stacks = static_cast<unsigned char *>(memory);
    }
    ~Runner() { munmap(stacks, static_cast<size_t>(STACK) * MOST_THREADS); }
};

Runner &runner() {
    static thread_local Runner one;
    return one;
}

Fiber &self() { return *reinterpret_cast<Fiber *>(current); }

} // namespace

#if defined(__x86_64__)
// Saves the registers that a call keeps and the stack pointer, and takes those of another stack.
extern "C" void emulation_switch(void **save, void *load);
asm(R"(
.text
.type emulation_switch, @function
emulation_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emulation_switch, .-emulation_switch
)");
#endif

namespace {
void give_way() {
    Runner &r = runner();
#if defined(__x86_64__)
    emulation_switch(&self().stack_pointer, r.main_pointer);
#else
    swapcontext(&self().context, &r.main_context);
#endif
}

void fiber_main() {
    Runner &r = runner();
    r.kernel->call(r.arguments);
    Fiber &fiber = self();
    fiber.state = State::done;
    r.done++;
    give_way();
    std::abort();
}

void prepare(Fiber &fiber, u32 index) {
    Runner &r = runner();
    unsigned char *stack = r.stacks + static_cast<size_t>(STACK) * index;
#if defined(__x86_64__)
    // As if fiber_main had been called: 16-aligned but for the return address.
    void **top = reinterpret_cast<void **>(stack + STACK - 64);
    *--top = nullptr;
    *--top = reinterpret_cast<void *>(&fiber_main);
    for (int i = 0; i < 6; i++) *--top = nullptr;
    fiber.stack_pointer = top;
#else
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = stack;
    fiber.context.uc_stack.ss_size = STACK;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, fiber_main, 0);
#endif
    fiber.state = State::ready;
    fiber.parity = 0;
    fiber.groups.clear();
    fiber.open.clear();
    fiber.thread.index = {index % block_size.x, index / block_size.x % block_size.y,
                          index / (block_size.x * block_size.y)};
    fiber.thread.lane = index % 32;
}

void run(Fiber &fiber) {
    Runner &r = runner();
    current = &fiber.thread;
#if defined(__x86_64__)
    emulation_switch(&r.main_pointer, fiber.stack_pointer);
#else
    swapcontext(&r.main_context, &fiber.context);
#endif
}

u32 index_of(const Fiber &fiber) {
    return static_cast<u32>(&fiber - runner().fibers.data());
}

void run_block(bool backwards) {
    Runner &r = runner();
    r.waiting = r.done = 0;
    for (u32 i = 0; i < r.threads; i++) prepare(r.fibers[i], i);
    u32 warps = (r.threads + 31) / 32;
    while (r.done < r.threads && !r.failure) {
        bool progress = false;
        for (u32 w = 0; w < warps && !r.failure; w++) {
            u32 warp = backwards ? warps - 1 - w : w;
            u32 lanes = min(32u, r.threads - warp * 32);
            for (bool again = true; again && !r.failure;) {
                again = false;
                for (u32 l = 0; l < lanes && !r.failure; l++) {
                    Fiber &fiber = r.fibers[warp * 32 + (backwards ? lanes - 1 - l : l)];
                    if (fiber.state == State::ready) {
                        run(fiber);
                        again = progress = true;
                    }
                }
            }
        }
        if (!progress && !r.failure) r.failure = "its threads wait for each other for ever";
    }
    current = nullptr;
}
} // namespace

void fail(const char *message) {
    runner().failure = message;
    give_way();
    std::abort();
}

void block_barrier() {
    Runner &r = runner();
    if (r.done) fail("a thread left before a barrier of the block");
    if (++r.waiting == r.threads) {
        r.waiting = 0;
        for (u32 i = 0; i < r.threads; i++)
            if (r.fibers[i].state == State::at_block) r.fibers[i].state = State::ready;
        return;
    }
    self().state = State::at_block;
    give_way();
}

void warp_barrier(u32 mask) {
    Runner &r = runner();
    Fiber &fiber = self();
    u32 first = index_of(fiber) / 32 * 32;
    if (!(mask >> fiber.thread.lane & 1)) fail("a lane is not in the mask of its own exchange");
    for (u32 lane = 0; lane < 32; lane++) {
        if (!(mask >> lane & 1) || lane == fiber.thread.lane) continue;
        if (first + lane >= r.threads) fail("an exchange names lanes that the block does not have");
        const Fiber &other = r.fibers[first + lane];
        if (other.state == State::done) fail("a lane left before an exchange of its warp");
        if (other.state == State::at_warp && other.mask != mask) fail("lanes of a warp exchange under different masks");
        if (other.state != State::at_warp) {
            fiber.state = State::at_warp;
            fiber.mask = mask;
            give_way();
            return;
        }
    }
    for (u32 lane = 0; lane < 32; lane++)
        if (mask >> lane & 1 && lane != fiber.thread.lane) r.fibers[first + lane].state = State::ready;
}

const Exchange *exchange(u32 mask, const void *bytes, u32 size) {
    Fiber &fiber = self();
    Warp &warp = runner().warps[index_of(fiber) / 32];
    Exchange *slots = warp.slots[fiber.parity];
    fiber.parity ^= 1;
    std::memcpy(slots[fiber.thread.lane].bytes, bytes, size);
    warp_barrier(mask);
    return slots;
}

void copy_later(void *to, const void *from, u32 present) {
    if (reinterpret_cast<uintptr_t>(to) % 16 || reinterpret_cast<uintptr_t>(from) % 16)
        fail("an asynchronous copy is not 16-aligned");
    // On its way: neither what was there nor what will be. Who still reads the one or reads the other too soon sees it.
    for (u32 i = 0; i < 16; i += 4) std::memcpy(static_cast<unsigned char *>(to) + i, &NAN_WORD, 4);
    self().open.push_back({to, from, present});
}
void commit() {
    Fiber &fiber = self();
    fiber.groups.push_back(std::move(fiber.open));
    fiber.open.clear();
}
void wait(u32 ahead) {
    auto &groups = self().groups;
    while (groups.size() > ahead) {
        for (const Copy &copy : groups.front()) {
            unsigned char bytes[16] = {};
            std::memcpy(bytes, copy.from, copy.present);
            std::memcpy(copy.to, bytes, 16);
        }
        groups.erase(groups.begin());
    }
}

void enroll(Kernel *kernel) {
    kernel->next = kernels;
    kernels = kernel;
}
} // namespace emulation

using namespace emulation;

// In the kernels' object: pulls it out of the archive.
extern "C" void emulation_kernels();

// The kernel of that name, or nothing.
extern "C" const Kernel *emulation_kernel(const char *name) {
    emulation_kernels();
    const Kernel *kernel = kernels;
    while (kernel && std::strcmp(kernel->name, name)) kernel = kernel->next;
    return kernel;
}

// Runs a kernel; returns nothing, or what went wrong. `sizes` are those of the arguments.
extern "C" const char *emulation_launch(const char *name, const u32 *blocks, u32 threads, u32 shared,
                                        void **arguments, const u32 *sizes, u32 count) {
    Runner &r = runner();
    const Kernel *kernel = emulation_kernel(name);
    if (!kernel) return "there is no such kernel";
    if (count != kernel->count) return "wrong number of arguments";
    for (u32 i = 0; i < count; i++)
        if (sizes[i] != kernel->sizes[i]) {
            static thread_local char message[64];
            std::snprintf(message, sizeof message, "argument %u has %u bytes, not %u", i, sizes[i],
                          kernel->sizes[i]);
            return message;
        }
    if (threads == 0 || threads > kernel->threads) return "too many threads";
    if (shared > 227 * 1024) return "too much shared memory";
    if (blocks[1] > 65535 || blocks[2] > 65535) return "too many blocks in y or z";
    r.kernel = kernel;
    r.arguments = arguments;
    r.threads = threads;
    r.failure = nullptr;
    r.launches++;
    block_size = {threads, 1, 1};
    grid_size = {blocks[0], blocks[1], blocks[2]};
    r.shared.resize(shared + 2 * GUARD + 128);
    unsigned char *start = r.shared.data() + GUARD;
    start += (128 - reinterpret_cast<uintptr_t>(start) % 128) % 128;
    dynamic_shared = start;
    auto fill = [&](unsigned char *from, size_t bytes) {
        for (size_t i = 0; i + 4 <= bytes; i += 4) std::memcpy(from + i, &NAN_WORD, 4);
    };
    auto whole = [&](const unsigned char *from) {
        for (size_t i = 0; i < GUARD / 2; i += 4)
            if (std::memcmp(from + i, &NAN_WORD, 4)) return false;
        return true;
    };
    u32 rounded = (shared + 3) / 4 * 4;
    for (u32 z = 0; z < blocks[2]; z++)
        for (u32 y = 0; y < blocks[1]; y++)
            for (u32 x = 0; x < blocks[0]; x++) {
                block_index = {x, y, z};
                fill(start - GUARD / 2, GUARD / 2);
                fill(start, rounded);
                fill(start + rounded, GUARD / 2);
                run_block(r.launches % 2 == 0);
                if (r.failure) return r.failure;
                if (!whole(start - GUARD / 2) || !whole(start + rounded))
                    return "it wrote outside its shared memory";
            }
    return nullptr;
}

namespace {
float number(const void *base, u64 index, bool half) {
    if (half) return widen(static_cast<const bf16 *>(base)[index]);
    return static_cast<const float *>(base)[index];
}
} // namespace

// The column-major product of cuBLAS: C = alpha op(A) op(B) + beta C, sums in float.
extern "C" void emulation_product(u64 m, u64 n, u64 k, float alpha, float beta, const void *a, u64 lda,
                                  u32 transpose_a, const void *b, u64 ldb, u32 transpose_b, void *c, u64 ldc,
                                  u32 inputs_half, u32 output_half) {
    std::vector<float> left(k), right(n * k);
    for (u64 col = 0; col < n; col++)
        for (u64 depth = 0; depth < k; depth++)
            right[col * k + depth] = number(b, transpose_b ? depth * ldb + col : col * ldb + depth, inputs_half);
    for (u64 row = 0; row < m; row++) {
        for (u64 depth = 0; depth < k; depth++)
            left[depth] = number(a, transpose_a ? row * lda + depth : depth * lda + row, inputs_half);
        for (u64 col = 0; col < n; col++) {
            float lanes[8] = {};
            const float *other = &right[col * k];
            u64 depth = 0;
            for (; depth + 8 <= k; depth += 8)
                for (u64 lane = 0; lane < 8; lane++) lanes[lane] += left[depth + lane] * other[depth + lane];
            for (; depth < k; depth++) lanes[depth % 8] += left[depth] * other[depth];
            float sum = 0;
            for (float lane : lanes) sum += lane;
            u64 at = col * ldc + row;
            float value = alpha * sum;
            // cuBLAS does not read C when beta is 0.
            if (beta != 0) value += beta * number(c, at, output_half);
            if (output_half)
                static_cast<bf16 *>(c)[at] = narrow<bf16>(value);
            else
                static_cast<float *>(c)[at] = value;
        }
    }
}
