// What every kernel builds on, for nvcc and NVRTC (no #include: NVRTC has no headers). The
// emulation (emulation/prelude.h) provides the same names on the CPU; kernels use these alone.
//
// bf16 values are bits; arithmetic is in float. A warp's exchanges name all 32 lanes, so threads
// must not leave a kernel before the last exchange or barrier.

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define DEVICE __device__ __forceinline__
#define DEVICE_METHOD __device__ __forceinline__
#define KERNEL(name, ...) extern "C" __global__ void name(__VA_ARGS__)
// As KERNEL; tells the compiler how many threads a block has and how many blocks should fit.
#define KERNEL_FOR(threads, blocks, name, ...) \
    extern "C" __global__ void __launch_bounds__(threads, blocks) name(__VA_ARGS__)
// Dynamic shared memory as an array.
#define DYNAMIC_SHARED(type, name)                                       \
    extern __shared__ __align__(128) unsigned char dynamic_shared_memory[]; \
    type *name = reinterpret_cast<type *>(dynamic_shared_memory)
#define FULL 0xffffffffu
#define UNROLL _Pragma("unroll")

struct bf16 {
    u16 bits;
};

DEVICE float minus_infinity() { return __uint_as_float(0xff800000u); }
DEVICE float widen(float x) { return x; }
DEVICE float widen(bf16 x) { return __uint_as_float(static_cast<u32>(x.bits) << 16); }

template <typename T> DEVICE T narrow(float x);
template <> DEVICE float narrow<float>(float x) { return x; }
template <> DEVICE bf16 narrow<bf16>(float x) {
    bf16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}

// Two floats as bf16 in one word, the first in the lower half.
DEVICE u32 pack(float low, float high) {
    u32 word;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
}

DEVICE float exp_fast(float x) { return __expf(x); }
DEVICE float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// D += A B of one warp: A 16 x 16 by rows, B 16 x 8 by columns, bf16; D 16 x 8, float. Lane l holds,
// with g = l / 4 and t = l % 4: of A the pairs (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8);
// of B the pairs (2t, g), (2t + 8, g) going down; of D (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
DEVICE void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

DEVICE u32 shared_address(const void *p) { return static_cast<u32>(__cvta_generic_to_shared(p)); }

// Four 8 x 8 matrices of bf16 from shared memory: lane l gives the address of row l % 8 (16 bytes,
// 16-aligned) of matrix l / 8, and gets of matrix i the pair (l / 4, 2 (l % 4)) in r[i].
DEVICE void load_matrices(u32 (&r)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// As load_matrices, each matrix transposed.
DEVICE void load_matrices_transposed(u32 (&r)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// Copies 16 bytes (of which the last 16 - present are zeros) into shared memory, some time before a
// wait. Both addresses 16-aligned.
DEVICE void copy_async(void *to, const void *from, u32 present) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
                 "r"(present)
                 : "memory");
}
DEVICE void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits for this thread's groups but the last `ahead`; a barrier shows them to the others.
template <int ahead> DEVICE void copy_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(ahead) : "memory"); }
