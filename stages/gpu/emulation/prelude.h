// The CUDA model on the CPU: what kernels/prelude.cuh provides, for g++.
//
// The threads of a block are fibers on one CPU thread (runtime.cpp); each runs until a barrier or an
// exchange that it must wait for. Shared memory is filled with NaN before each block, a copy into it
// leaves NaN there until its wait, and the order of threads turns around with every launch, so that
// missing barriers and waits show. Everything a kernel may use is here; CUDA has more.

#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

namespace emulation {
struct Index {
    u32 x, y, z;
};
struct Exchange {
    alignas(16) unsigned char bytes[64];
};
// What the running thread sees.
struct Thread {
    Index index;
    u32 lane;
};
extern thread_local Thread *current;
extern thread_local Index block_index, block_size, grid_size;
extern thread_local unsigned char *dynamic_shared;

void block_barrier();
void warp_barrier(u32 mask);
// Publishes this lane's bytes, waits for all lanes of the mask, and returns all lanes' bytes, which
// stay until the exchange after the next.
const Exchange *exchange(u32 mask, const void *bytes, u32 size);
void copy_later(void *to, const void *from, u32 present);
void commit();
void wait(u32 ahead);
[[noreturn]] void fail(const char *message);

struct Kernel {
    const char *name;
    void (*call)(void **arguments);
    const u32 *sizes;
    u32 count;
    u32 threads;
    Kernel *next;
};
void enroll(Kernel *kernel);

template <typename F> struct Signature;
template <typename... A> struct Signature<void (*)(A...)> {
    static constexpr u32 count = sizeof...(A);
    static constexpr u32 sizes[sizeof...(A) + 1] = {sizeof(A)..., 0};
    template <void (*f)(A...), std::size_t... I>
    static void unpack(void **arguments, std::index_sequence<I...>) {
        f(*static_cast<std::decay_t<A> *>(arguments[I])...);
    }
    template <void (*f)(A...)> static void call(void **arguments) {
        unpack<f>(arguments, std::make_index_sequence<sizeof...(A)>());
    }
};
template <typename... A> constexpr u32 Signature<void (*)(A...)>::sizes[];
struct Enrolled {
    Kernel kernel;
    template <typename S> Enrolled(const char *name, void (*call)(void **), S, u32 threads)
        : kernel{name, call, S::sizes, S::count, threads, nullptr} {
        enroll(&kernel);
    }
};
} // namespace emulation

#define threadIdx (emulation::current->index)
#define blockIdx emulation::block_index
#define blockDim emulation::block_size
#define gridDim emulation::grid_size

#define DEVICE static inline
#define DEVICE_METHOD inline
#define KERNEL(name, ...) KERNEL_FOR(1024, 1, name, __VA_ARGS__)
#define KERNEL_FOR(threads, blocks, name, ...)                                              \
    extern "C" void name(__VA_ARGS__);                                                      \
    static emulation::Enrolled enrolled_##name(                                             \
        #name, &emulation::Signature<decltype(&name)>::call<&name>,                         \
        emulation::Signature<decltype(&name)>(), threads);                                  \
    extern "C" void name(__VA_ARGS__)
#define DYNAMIC_SHARED(type, name) type *name = reinterpret_cast<type *>(emulation::dynamic_shared)
#define FULL 0xffffffffu
#define UNROLL
#define __shared__ static thread_local
#define __restrict__ __restrict
#define __align__(n) alignas(n)

struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    u32 x, y, z, w;
};
struct alignas(8) uint2 {
    u32 x, y;
};
DEVICE uint4 make_uint4(u32 x, u32 y, u32 z, u32 w) { return uint4{x, y, z, w}; }
DEVICE float4 make_float4(float x, float y, float z, float w) { return float4{x, y, z, w}; }

template <typename T> DEVICE T min(T a, T b) { return b < a ? b : a; }
template <typename T> DEVICE T max(T a, T b) { return a < b ? b : a; }

DEVICE float __uint_as_float(u32 bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}
DEVICE u32 __float_as_uint(float x) {
    u32 bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}
DEVICE float rsqrtf(float x) { return 1.0f / sqrtf(x); }
DEVICE int __popc(u32 x) { return __builtin_popcount(x); }
DEVICE int __ffs(u32 x) { return __builtin_ffs(static_cast<int>(x)); }

DEVICE void __syncthreads() { emulation::block_barrier(); }
DEVICE void __syncwarp(u32 mask = FULL) { emulation::warp_barrier(mask); }
template <typename T> DEVICE T __shfl_sync(u32 mask, T value, int source) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffle moves 4 or 8 bytes");
    const emulation::Exchange *all = emulation::exchange(mask, &value, sizeof(T));
    T result;
    std::memcpy(&result, all[source & 31].bytes, sizeof(T));
    return result;
}
template <typename T> DEVICE T __shfl_xor_sync(u32 mask, T value, int other) {
    return __shfl_sync(mask, value, static_cast<int>(emulation::current->lane) ^ other);
}
template <typename T> DEVICE T __shfl_up_sync(u32 mask, T value, int by) {
    int lane = static_cast<int>(emulation::current->lane);
    return __shfl_sync(mask, value, lane < by ? lane : lane - by);
}
template <typename T> DEVICE T __shfl_down_sync(u32 mask, T value, int by) {
    int lane = static_cast<int>(emulation::current->lane);
    return __shfl_sync(mask, value, lane + by > 31 ? lane : lane + by);
}
DEVICE u32 __ballot_sync(u32 mask, int predicate) {
    u32 value = predicate != 0;
    const emulation::Exchange *all = emulation::exchange(mask, &value, sizeof value);
    u32 result = 0;
    for (u32 lane = 0; lane < 32; lane++)
        if (mask >> lane & 1) {
            std::memcpy(&value, all[lane].bytes, sizeof value);
            result |= value << lane;
        }
    return result;
}
// Blocks and threads run one after another, so plain operations are atomic.
template <typename T> DEVICE T atomicAdd(T *at, T value) {
    T old = *at;
    *at = old + value;
    return old;
}
DEVICE u32 atomicMax(u32 *at, u32 value) {
    u32 old = *at;
    *at = max(old, value);
    return old;
}
DEVICE u32 atomicMin(u32 *at, u32 value) {
    u32 old = *at;
    *at = min(old, value);
    return old;
}

struct bf16 {
    u16 bits;
};
DEVICE float minus_infinity() { return __uint_as_float(0xff800000u); }
DEVICE float widen(float x) { return x; }
DEVICE float widen(bf16 x) { return __uint_as_float(static_cast<u32>(x.bits) << 16); }
template <typename T> T narrow(float x);
template <> inline float narrow<float>(float x) { return x; }
template <> inline bf16 narrow<bf16>(float x) {
    u32 bits = __float_as_uint(x);
    if (std::isnan(x)) return bf16{0x7fff};
    return bf16{static_cast<u16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
DEVICE u32 pack(float low, float high) {
    return narrow<bf16>(low).bits | static_cast<u32>(narrow<bf16>(high).bits) << 16;
}
DEVICE float exp_fast(float x) { return expf(x); }
DEVICE float exp2_fast(float x) { return exp2f(x); }

DEVICE void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    u32 words[6] = {a[0], a[1], a[2], a[3], b0, b1};
    const emulation::Exchange *all = emulation::exchange(FULL, words, sizeof words);
    // Value (row, col) of A or (row, col) of B, from the lane and word that hold it.
    auto value = [&](u32 lane, u32 word, u32 half) {
        u16 bits;
        std::memcpy(&bits, all[lane].bytes + 4 * word + 2 * half, 2);
        return widen(bf16{bits});
    };
    u32 lane = emulation::current->lane, g = lane / 4, t = lane % 4;
    for (u32 i = 0; i < 4; i++) {
        u32 row = g + (i / 2) * 8, col = 2 * t + i % 2;
        float sum = 0;
        for (u32 k = 0; k < 16; k++) {
            float left = value(row % 8 * 4 + k % 8 / 2, row / 8 + k / 8 * 2, k % 2);
            float right = value(col * 4 + k % 8 / 2, 4 + k / 8, k % 2);
            sum += left * right;
        }
        d[i] += sum;
    }
}

// A row travels with the exchange: all reads are done before any lane goes on, as on the device.
DEVICE const emulation::Exchange *exchange_rows(const void *row) {
    if (reinterpret_cast<uintptr_t>(row) % 16) emulation::fail("a matrix row is not 16-aligned");
    return emulation::exchange(FULL, row, 16);
}
DEVICE void load_matrices(u32 (&r)[4], const void *row) {
    const emulation::Exchange *all = exchange_rows(row);
    u32 lane = emulation::current->lane;
    for (u32 i = 0; i < 4; i++) std::memcpy(&r[i], all[8 * i + lane / 4].bytes + 4 * (lane % 4), 4);
}
DEVICE void load_matrices_transposed(u32 (&r)[4], const void *row) {
    const emulation::Exchange *all = exchange_rows(row);
    u32 lane = emulation::current->lane;
    for (u32 i = 0; i < 4; i++)
        for (u32 half = 0; half < 2; half++)
            std::memcpy(reinterpret_cast<unsigned char *>(&r[i]) + 2 * half,
                        all[8 * i + 2 * (lane % 4) + half].bytes + 2 * (lane / 4), 2);
}

DEVICE void copy_async(void *to, const void *from, u32 present) { emulation::copy_later(to, from, present); }
DEVICE void copy_commit() { emulation::commit(); }
template <int ahead> void copy_wait() { emulation::wait(ahead); }
